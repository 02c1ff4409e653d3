"""Size, time and peak memory of `superres upscale` in each format of results.

    .venv/bin/python benchmarks/formats.py                  # 18 photographs of about 5 MB
    .venv/bin/python benchmarks/formats.py --large          # one of 12,000 x 9,000

Sources are mosaics of photographs as JPEG of quality 90, with EXIF; each result is opened by
another library than wrote it, which must find date and place.
"""

import os
import sys
import tempfile
from pathlib import Path

import click
from PIL import Image
from PIL.ExifTags import IFD, Base
from rich.console import Console
from rich.table import Table

from benchmarks.mosaics import JPEG_QUALITY, load_samples, mosaic
from superres.imaging.encoding.formats import FORMATS, FormatName

_LARGE = (12_000, 9_000)
_DATE = "2026:01:31 12:00:00"
_MB, _MIB_OF_KIB = 1e6, 1024
Image.MAX_IMAGE_PIXELS = None


def write_source(path: Path, size: tuple[int, int], seed: int) -> None:
    """A photograph with date, place and density."""
    exif = Image.Exif()
    exif[Base.DateTime] = _DATE
    place = exif.get_ifd(IFD.GPSInfo)
    place[1], place[2] = "N", (52.0, 31.0, 12.0)
    picture = Image.fromarray(mosaic(load_samples(), *size, seed))
    picture.save(path, quality=JPEG_QUALITY, subsampling="4:2:0", exif=exif, dpi=(300, 300))


def run(sources: Path, results: Path, name: FormatName, quality: int | None) -> tuple[float, float]:
    """Seconds of processors, and peak MiB, of the command."""
    program = Path(sys.executable).with_name("superres")
    command = [str(program), "upscale", str(sources), "-o", str(results), "--format", name]
    command += ["--quality", str(quality)] if quality else []
    process = os.posix_spawn(program, command, os.environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise click.ClickException(f"{name}: superres ended with status {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _MIB_OF_KIB


def has_metadata(path: Path) -> bool:
    """Whether Pillow finds date and place."""
    with Image.open(path) as picture:
        exif = picture.getexif()
        return exif.get(Base.DateTime) == _DATE and exif.get_ifd(IFD.GPSInfo)[1] == "N"


@click.command()
@click.option("--large", is_flag=True, help="One image of 12,000 x 9,000.")
@click.option("--images", default=18, show_default=True, help="Photographs, without --large.")
@click.option("--megapixels", default=18.0, show_default=True, help="Of each, likewise.")
@click.option("--formats", default="png,jpeg,tiff,webp,avif", show_default=True)
@click.option("--quality", type=int, help="Of the formats that have one.  [default: theirs]")
def main(large: bool, images: int, megapixels: float, formats: str, quality: int | None) -> None:
    """Measures each format in turn."""
    table = Table("format", "MB", "of the input", "CPU s / Mpx", "peak MiB", "date and place")
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "in"
        sources.mkdir()
        side = round((megapixels * 1e6 / 12) ** 0.5)
        size = _LARGE if large else (4 * side, 3 * side)
        count = 1 if large else images
        for seed in range(count):
            write_source(sources / f"{seed:02}.jpg", size, seed)
        before = sum(path.stat().st_size for path in sources.iterdir())
        written_megapixels = 4 * count * size[0] * size[1] / 1e6
        for name, kind in FORMATS.items():
            if name not in formats.split(","):
                continue
            out = Path(folder) / name
            seconds, peak = run(sources, out, name, quality if kind.default_quality else None)
            written = list(out.glob(f"*{kind.suffix}"))
            after = sum(path.stat().st_size for path in written)
            found = all(map(has_metadata, written))
            table.add_row(
                name,
                f"{after / _MB:.1f}",
                f"{after / before:.2f}",
                f"{seconds / written_megapixels:.3f}",
                f"{peak:,.0f}",
                "yes" if found and len(written) == count else "NO",
            )
            for path in written:
                path.unlink()
    Console(width=100).print(f"{count} of {before / _MB / count:.1f} MB", table)


if __name__ == "__main__":
    main()
