"""Importing a module loads no heavy library that it does not need."""

import ast
import subprocess
import sys

import pytest

from tests.support.paths import ROOT


def loaded_by(program: str, *libraries: str) -> list[str]:
    """Runs ``program`` in a fresh interpreter; which of ``libraries`` it has loaded at its end."""
    program += f"\nimport sys; print([name for name in {libraries} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    listed: list[str] = ast.literal_eval(done.stdout.splitlines()[-1])
    return listed


@pytest.mark.parametrize(
    "module", ["superres.pipeline.config", "superres.imaging.limits", "deploy.__main__"]
)
def test_configuration_and_deployment_load_no_numpy_libvips_or_network(module: str) -> None:
    program = f"import {module}"
    assert loaded_by(program, "numpy", "pyvips", "onnxruntime", "torch") == []


def test_help_loads_no_library_of_any_command() -> None:
    program = "from superres.cli.main import execute; execute(['--help'])"
    heavy = ("numpy", "torch", "onnxruntime", "pyvips", "pydantic", "rich", "boto3")
    of_other_packages = ("pyspark", "flask", "confluent_kafka")
    assert loaded_by(program, *heavy, *of_other_packages) == []


def test_the_check_finds_a_library_that_is_loaded() -> None:
    assert loaded_by("import superres.imaging.png", "numpy", "torch") == ["numpy"]
