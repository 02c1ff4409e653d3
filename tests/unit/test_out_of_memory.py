"""A lack of memory rejects the image that needs it, by name, and no other."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from superres.cli.main import execute
from superres.errors import ImageRejectedError
from superres.imaging import with_pillow
from superres.imaging.colour import Planes
from superres.imaging.decoding import check, decode
from superres.imaging.info import ImageInfo
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png
from tests.support import image_files
from tests.support.hostile_files import flat_png, flat_webp
from tests.support.paths import ROOT

LIMITS = Limits(max_bytes=10**9, max_pixels=10**9)
SMALL = image_files.photo(16, 16)


def lacking(*_: Any, **__: Any) -> Any:
    raise MemoryError


def test_the_array_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    image = decode(image_files.png(SMALL), LIMITS)
    monkeypatch.setattr("superres.imaging.decoding.np.empty", lacking)
    reason = (
        "decoding the PNG of 16 × 16 pixels takes 1 MiB, and there is not enough memory; use a"
        " smaller image or a machine with more"
    )
    for read in (image.planes, lambda: list(image.strips(4))):
        with pytest.raises(ImageRejectedError) as caught:
            read()
        assert str(caught.value) == reason


def test_what_pillow_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = image_files.pillow(SMALL, "BMP")
    monkeypatch.setattr(with_pillow, "read_picture", lacking)
    with pytest.raises(ImageRejectedError, match="decoding the BMP of 16 × 16 pixels takes 1 MiB"):
        decode(data, LIMITS)


def test_the_structure_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("superres.imaging.headers.binary", lacking)
    with pytest.raises(ImageRejectedError, match="decoding the PNG there is not enough memory"):
        check(image_files.png(SMALL), LIMITS)


def test_making_a_result(tmp_path: Path) -> None:
    def strips() -> Iterator[Planes]:
        yield np.zeros((3, 8, 1_000), np.uint8)
        raise MemoryError

    with pytest.raises(ImageRejectedError) as caught:
        encode_png(strips(), ImageInfo(1_000, 700, 3, 8), tmp_path / "result.png")
    assert str(caught.value) == (
        "making a result of 1,000 × 700 pixels takes 3 MiB, and there is not enough memory; use a"
        " smaller image or a machine with more"
    )
    assert not list(tmp_path.iterdir())


def test_the_other_files_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first.gif", "second.png"):
        Image.fromarray(SMALL).save(tmp_path / name)
    monkeypatch.setattr(with_pillow, "read_picture", lacking)
    files = [str(tmp_path / name) for name in ("first.gif", "second.png")]
    assert execute(["upscale", *files, "--output", str(tmp_path / "large")]) == 3
    printed = capsys.readouterr().err
    assert "first.gif: decoding the GIF of 16 × 16 pixels takes 1 MiB, and there" in printed
    assert "1 image upscaled" in printed
    assert "1 left out" in printed
    assert [path.name for path in (tmp_path / "large").glob("*.png")] == ["second_x2.png"]


PROBE = """
import re, resource, sys
from pathlib import Path
from superres.errors import ImageRejectedError
from superres.imaging.decoding import decode_file
from superres.imaging.limits import Limits
limits = Limits(10**9, 10**9)
small, *large = map(Path, sys.argv[1:])
decode_file(small, limits).planes()
used = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
for path in large:
    try:
        decode_file(path, limits).planes()
    except ImageRejectedError as error:
        print(error)
decode_file(small, limits).planes()
"""


@pytest.mark.slow
def test_memory_that_is_really_lacking(tmp_path: Path) -> None:
    """In a process of its own, which may have 100 MiB more than it has at first."""
    flat = Image.new("RGB", (6_000, 6_000))
    files = {
        "small.png": image_files.png(SMALL),
        "flat.png": flat_png(6_000, 6_000, 6, 8, interlaced=False),
        "interlaced.png": flat_png(6_000, 6_000, 6, 8, interlaced=True),
        "flat.webp": flat_webp(6_000, 6_000),
        "flat.bmp": image_files.pillow(flat, "BMP"),
        "flat.gif": image_files.pillow(flat.convert("P"), "GIF"),
        "progressive.jpg": image_files.pillow(flat, "JPEG", progressive=True),
        "zstd.tif": image_files.pillow(flat, "TIFF", compression="zstd"),
    }
    paths = image_files.write_all(files, tmp_path)
    command = [sys.executable, "-c", PROBE, *map(str, paths)]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    lines = run.stdout.splitlines()
    assert len(lines) == len(files) - 1, run.stdout
    for line in lines:
        assert "of 6,000 × 6,000 pixels takes" in line
        assert "there is not enough memory; use a smaller image" in line
