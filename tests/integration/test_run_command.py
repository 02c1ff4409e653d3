"""`superres run` as a program: exit codes, standard output and standard error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.job_images import read_planes, textured_planes, write_png
from tests.support.required_tools import require

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def test_run_makes_a_result_for_each_recipe_and_none_twice(tmp_path: Path) -> None:
    require("java", "make system-packages")
    write_png(tmp_path / "photo.png", textured_planes(60, 50))
    superres = Path(sys.executable).with_name("superres")
    command = [str(superres), "run", "--input", "photo.png", "--output", "out"]
    command += ["--mode", "upscale", "--fused", "--master", "local[1]"]

    def run(grayscale: str) -> str:
        environment = os.environ | {"SUPERRES_PROCESSING__GRAYSCALE": grayscale}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=240, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    for grayscale in ("false", "true"):
        output = run(grayscale)
        assert ("Recipe   grayscale" in output) == (grayscale == "true")
        assert "finished before" not in output
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/results/**/*.png")}
    images = sorted(path for path in written if "images" in path.parts)
    assert [read_planes(str(path)).shape[0] for path in images] == [3, 1]
    assert "recipe=" in str(images[1])
    assert images[0].name == images[1].name
    assert len(written) == 4  # and a comparison for each
    assert "1 of these images were finished before" in run("true")
    assert all(path.stat().st_mtime_ns == written[path] for path in images)


def test_run_returns_3_for_a_rejected_image_and_prints_only_results_to_stdout(
    tmp_path: Path,
) -> None:
    require("java", "make system-packages")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "Süd" / "Tag 1").mkdir(parents=True)
    write_png(inbox / "good.png", textured_planes(60, 50))
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
    write_png(inbox / "Süd" / "Tag 1" / "写真.png", textured_planes(40, 50))
    command += ["--collect", str(tmp_path / "named")]
    done = run()
    assert done.returncode == 3, done.stderr
    assert "good.png" in done.stdout
    assert "bad.png" not in done.stdout
    assert "rejected bad.png: " in done.stderr
    assert f"Results  {tmp_path}/named\n" in done.stdout
    named = sorted(path.relative_to(tmp_path / "named") for path in tmp_path.glob("named/**/*.png"))
    assert [str(path) for path in named] == ["Süd/Tag 1/写真.png", "good.png"]
