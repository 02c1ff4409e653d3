"""What the pipeline makes of photographs that were saved as JPEG, against bicubic enlargement.

    .venv/bin/python benchmarks/jpeg.py Set5 Set14
    .venv/bin/python benchmarks/jpeg.py Set5 Set14 --scale 4 --quality 50 --restore off

Each image is reduced, saved as JPEG with halved colour (4:2:0), upscaled by ``superres run`` in
mode upscale, and compared with the original: PSNR over red, green and blue, and of luma.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import cast

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superres.imaging.colour import Planes, full_luma
from superres.imaging.resample import crop_to_multiple, reduce_planes
from superres.pipeline.input_folder import image_files
from superres.pipeline.records import Evaluation
from superres.quality.evaluation import bicubic_rows
from superres.quality.metrics import psnr_of

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def read_rgb(path: Path) -> Planes:
    """(3, h, w) samples of a file; grey becomes R = G = B."""
    with Image.open(path) as opened:
        return np.moveaxis(np.asarray(opened.convert("RGB")), -1, 0)


def save_low(original: Planes, scale: int, quality: int, path: Path) -> None:
    """Reduces (3, H, W) samples and saves them as JPEG with halved colour."""
    low = np.moveaxis(reduce_planes(original, scale), 0, -1)
    Image.fromarray(np.ascontiguousarray(low)).save(path, quality=quality, subsampling="4:2:0")


def upscaled(low: Path, data: Path, scale: int, restore: str) -> dict[str, Path]:
    """Runs the pipeline on a folder; returns the results by the name of their source."""
    command = [str(Path(sys.executable).with_name("superres")), "run", "--mode", "upscale"]
    command += ["--input", str(low), "--scale", str(scale), "--output", str(data), "--fused"]
    environment = os.environ | {"SUPERRES_PROCESSING__RESTORE": restore}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    records = [
        Evaluation.from_json(path.read_bytes()) for path in data.rglob("evaluations/**/*.json")
    ]
    return {record.source.removeprefix("folder:"): Path(record.result.uri) for record in records}


def psnr(truth: Planes, other: Planes, scale: int) -> tuple[float, float]:
    """PSNR over red, green and blue, and of luma, in dB; ``scale`` pixels are shaved."""
    inner = (slice(None), slice(scale, -scale), slice(scale, -scale))
    error = (other.astype(float) - truth)[inner]
    luma = full_luma(*error.astype(np.float32))
    return psnr_of(float(np.mean(error**2))), psnr_of(float(np.mean(luma**2)))


def gains(
    originals: dict[str, Planes], scale: int, quality: int, restore: str
) -> NDArray[np.float64]:
    """(images, 2): ours less bicubic in RGB-PSNR and Y-PSNR, dB."""
    with tempfile.TemporaryDirectory(prefix="superres-jpeg-") as name:
        low, data = Path(name, "low"), Path(name, "data")
        low.mkdir()
        for stem, original in originals.items():
            save_low(original, scale, quality, low / f"{stem}.jpg")
        results = upscaled(low, data, scale, restore)
        rows = []
        for stem, original in originals.items():
            small = read_rgb(low / f"{stem}.jpg")
            truth = cast(Planes, crop_to_multiple(original, scale))
            bicubic = bicubic_rows(small, scale, 0, truth.shape[1])
            ours = read_rgb(results[f"{stem}.jpg"])
            rows.append(np.subtract(psnr(truth, ours, scale), psnr(truth, bicubic, scale)))
    return np.array(rows)


@click.command()
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@click.option("--scale", "scales", multiple=True, type=click.IntRange(2, 4), default=[2])
@click.option("--quality", "qualities", multiple=True, type=click.IntRange(1, 100), default=[75])
@click.option("--restore", default="auto", show_default=True, help="As processing.restore.")
def main(
    folders: tuple[Path, ...], scales: tuple[int, ...], qualities: tuple[int, ...], restore: str
) -> None:
    """Measures the gain over bicubic enlargement on JPEG input, through the whole pipeline."""
    originals = {
        f"{folder.name}-{file.stem}": read_rgb(file)
        for folder in folders
        for file in image_files(folder)
    }
    click.echo(f"{len(originals)} images, restore {restore}; mean gain over bicubic, dB")
    for scale in scales:
        for quality in qualities:
            rgb, luma = gains(originals, scale, quality, restore).mean(axis=0)
            click.echo(f"×{scale} quality {quality}: RGB {rgb:+.2f}, Y {luma:+.2f}")


if __name__ == "__main__":
    main()
