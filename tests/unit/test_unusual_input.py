"""Commands other than upscale with unusual names and with what is no file."""

from pathlib import Path

import pytest

from superres.cli.main import execute
from superres.training.data import read_luma
from tests.support.image_files import photo, pillow
from tests.support.unusual_files import NO_FILES, NOT_UTF8, make_no_files

PNG = pillow(photo(40, 40), "PNG")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A folder to work in, with an image whose name is not UTF-8, and with no files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / NOT_UTF8).write_bytes(PNG)
    make_no_files(tmp_path)
    return tmp_path


def test_compare_takes_any_name(capsys):
    assert execute(["compare", NOT_UTF8, "--as-original"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(r"caf\xe9_x2.html (")
    page = Path(NOT_UTF8.replace(".jpg", "_x2.html")).read_text("utf-8")
    assert r"<title>caf\xe9.jpg ×2</title>" in page


def test_compare_reads_only_files(capsys):
    assert execute(["compare", "pipe.jpg"]) == 1
    assert "cannot read pipe.jpg: a pipe, not a file; check" in capsys.readouterr().err
    assert execute(["compare", NOT_UTF8, "--original", "device.jpg"]) == 1
    assert "cannot read device.jpg: a device, not a file; check" in capsys.readouterr().err


def test_evaluate_takes_any_name_and_says_what_is_left_out(capsys):
    assert execute(["evaluate", ".", "--scale", "2", "--details"]) == 0
    printed = capsys.readouterr()
    assert r"caf\xe9.jpg" in printed.out
    assert printed.err.splitlines() == [
        f"superres: {name}: left out: {reason}" for name, reason in NO_FILES.items()
    ]


def test_training_takes_any_name(folder):
    assert read_luma(folder / NOT_UTF8).shape == (40, 40)
