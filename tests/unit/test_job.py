"""The jobs as programs: options, and errors before Spark starts."""

import runpy
import sys
from pathlib import Path

import pytest

from superres.cli.main import execute
from tests.support.paths import ROOT

FILES = ["mass_split", "batch_inference", "mass_reconstruct", "fused", "evaluate"]


@pytest.mark.parametrize("job", FILES)
def test_only_jobs_that_select_images_have_redo(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [job, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "jobs" / f"{job}.py"), run_name="__main__")
    assert ended.value.code == 0
    assert ("--redo" in capsys.readouterr().out) == (job in ("mass_split", "fused"))


@pytest.mark.parametrize("output", ["", "s3://", "s3a://bucket/x", "S3://bucket/x", "gs://bucket"])
def test_an_output_that_is_no_location_is_a_one_line_error(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["run", "--input", str(tmp_path), "--output", output]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"superres: {output!r}: expected a local path or s3://bucket/prefix"
    assert list(tmp_path.iterdir()) == []
