"""The jobs as programs: their options, and `superres run` as a user meets it."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from superres.cli.main import execute
from tests.integration.test_jobs import photograph, write_photograph
from tests.support.paths import ROOT
from tests.support.required_tools import require

FILES = ["mass_split", "batch_inference", "mass_reconstruct", "fused", "evaluate"]


@pytest.mark.parametrize("job", FILES)
def test_only_those_that_choose_images_take_redo(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [job, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "jobs" / f"{job}.py"), run_name="__main__")
    assert ended.value.code == 0
    assert ("--redo" in capsys.readouterr().out) == (job in ("mass_split", "fused"))


@pytest.mark.parametrize("output", ["", "s3://", "s3a://bucket/x", "S3://bucket/x", "gs://bucket"])
def test_an_output_that_is_no_place_is_one_line(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["run", "--input", str(tmp_path), "--output", output]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"superres: {output!r}: expected a local path or s3://bucket/prefix"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.spark
@pytest.mark.slow
def test_run_returns_1_when_a_photograph_was_left_out_and_keeps_results_apart(
    tmp_path: Path,
) -> None:
    require("java", "make system-packages")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    write_photograph(inbox / "good.png", photograph(60, 50))
    superres = Path(sys.executable).with_name("superres")
    command = [str(superres), "run", "--input", str(inbox), "--output", str(tmp_path / "out")]
    command += ["--mode", "upscale", "--fused", "--master", "local[1]"]

    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, capture_output=True, text=True, timeout=240, cwd=tmp_path, check=False
        )

    done = run()
    assert done.returncode == 0, done.stderr
    assert "good.png" in done.stdout
    assert f"Results  {tmp_path}/out/results" in done.stdout
    assert "Spark took" not in done.stdout
    assert "Spark took" in done.stderr
    (inbox / "bad.png").write_bytes(b"not an image")
    done = run()
    assert done.returncode == 1, done.stderr
    assert "good.png" in done.stdout
    assert "bad.png" not in done.stdout
    assert "rejected bad.png: " in done.stderr
