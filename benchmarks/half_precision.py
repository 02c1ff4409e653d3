"""What bfloat16 costs: mean Y-PSNR of folders in single precision and in bfloat16, by OpenVINO.

    .venv/bin/python benchmarks/half_precision.py Set5 Set14
    .venv/bin/python benchmarks/half_precision.py Set5 --scale 2 --model FILE --jpeg-quality 75

By the protocol of ``superres evaluate``. On a CPU without bfloat16 but with AVX-512, OpenVINO
computes the same values slowly; on others both columns are in single precision.
"""

from pathlib import Path

import click

from superres.models import SCALES, default_model_path
from superres.network.engine import Engine, cpu_engine, fetch_weights
from superres.pipeline.config import Processing
from superres.quality.folder_evaluation import evaluate_folder

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def mean_psnr(folder: Path, engine: Engine, jpeg_quality: int | None) -> float:
    """Mean Y-PSNR of the engine on the images of a folder, in dB."""
    quality = evaluate_folder(folder, engine, Processing().limits, jpeg_quality=jpeg_quality).ours
    if quality is None:
        raise click.ClickException(f"{folder}: no image could be measured")
    return quality.psnr


@click.command()
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@click.option("--scale", "scales", multiple=True, type=int, help="Repeatable.  [default: all]")
@click.option("--model", help="Weights of one scale.  [default: included weights]")
@click.option("--jpeg-quality", type=click.IntRange(1, 100))
def main(
    folders: tuple[Path, ...], scales: tuple[int, ...], model: str | None, jpeg_quality: int | None
) -> None:
    """Measures what half precision costs."""
    for scale in scales or SCALES:
        weights = fetch_weights(model or str(default_model_path(scale)), scale)
        single = cpu_engine(weights, "openvino")
        half = cpu_engine(weights, "openvino", bfloat16=True)
        for folder in folders:
            before, after = (mean_psnr(folder, each, jpeg_quality) for each in (single, half))
            click.echo(
                f"{folder.name} ×{scale}: single {before:.3f} dB, bfloat16 {after:.3f} dB, "
                f"difference {after - before:+.3f}"
            )


if __name__ == "__main__":
    main()
