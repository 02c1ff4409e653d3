"""``superres export``: the network as an ONNX file for other programs."""

from pathlib import Path

import click

from superres.cli.networks import weights_for
from superres.cli.options import PATH, config_option, model_option, processing_of, scale_option
from superres.models import CLEAN, network_for
from superres.network.onnx_graph import build_samples_onnx
from superres.network.restore import network_of
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.recipe import recipe_of


@click.command(epilog="Example: superres export --scale 2 --output fsrcnn_x2_rgb.onnx")
@scale_option("configured")
@click.option(
    "--output",
    type=PATH,
    metavar="FILE",
    help="File to write.  [default: one named after the network, in the current folder]",
)
@model_option
@click.option(
    "--jpeg-quality",
    type=click.IntRange(1, 100),
    help="Write the network for photographs that were saved as JPEG at this quality.",
)
@config_option
def export(
    scale: int | None,
    output: Path | None,
    model: str | None,
    jpeg_quality: int | None,
    config: str | None,
) -> None:
    """Write the network as ONNX: RGB in, RGB out.

    The input "low" is uint8 (N, 3, height, width), the output "high" uint8 (N, 3, SCALE*height,
    SCALE*width). Luma, network, colour and rounding are inside, so the pixels are those of
    `superres upscale`.
    """
    processing = processing_of(config, scale=scale, model=model)
    recipe = recipe_of(Settings(processing=processing), processing.upscale_factor)
    if jpeg_quality and recipe.model_path:
        raise click.UsageError(
            "--jpeg-quality cannot be combined with a model (--model, model_path)"
        )
    network = network_for(jpeg_quality) if jpeg_quality else network_of(recipe, None)
    weights = weights_for(processing, network)
    kind = "" if network == CLEAN else f"_{network}"
    target = output or Path(f"fsrcnn_x{weights.scale}{kind}_rgb.onnx")
    graph = build_samples_onnx(weights, channels=3, bit_depth=8, whole_images=True)
    storage.write_bytes(str(target), graph.SerializeToString())
    click.echo(str(target))
