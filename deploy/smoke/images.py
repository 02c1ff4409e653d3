"""Ten small images, and what superres makes of them on a CPU."""

from dataclasses import dataclass

import numpy as np

from superres.imaging.colour import Planes
from superres.imaging.decoding import DecodedImage, decode
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png_bytes
from superres.imaging.resample import reduce_planes
from superres.network.engine import fetch_weights, make_engine
from superres.network.restore import network_of
from superres.network.upscaling import upscale_image
from superres.pipeline.config import Processing, Settings
from superres.pipeline.recipe import recipe_of
from superres.pipeline.records import Mode

# Height, width, channels, bits: colour and grey, alpha, both depths, odd sizes, one wider than two
# tiles. Even entries are evaluated against their originals, odd ones upscaled as they are.
_SHAPES = (
    (96, 128, 3, 8),
    (64, 80, 3, 8),
    (91, 120, 3, 8),
    (75, 61, 1, 8),
    (64, 96, 1, 8),
    (48, 64, 3, 16),
    (80, 80, 3, 16),
    (40, 56, 4, 8),
    (64, 1200, 3, 8),
    (33, 47, 2, 8),
)
_LIMITS = Limits(1 << 24, 1 << 24)


@dataclass(frozen=True)
class SmokeImage:
    """An image to send: a PNG file and how to process it."""

    name: str
    content: bytes
    mode: Mode


def make_images(seed: int) -> list[SmokeImage]:
    """Returns ten images; the same seed makes the same bytes."""
    return [
        SmokeImage(
            f"smoke-{seed}-{number}.png",
            encode_png_bytes(_picture(seed + number, *shape)),
            "upscale" if number % 2 else "evaluate",
        )
        for number, shape in enumerate(_SHAPES)
    ]


def _picture(seed: int, height: int, width: int, channels: int, bits: int) -> Planes:
    """Slopes, edges and noise: what upscaling may get wrong."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    edges = (np.sin(40 * rows + 25 * columns) > 0) * 0.3
    noise = random.uniform(0, 0.2, (channels, height, width))
    slopes = random.uniform(0.1, 0.4, (channels, 1, 1)) * (rows + columns)
    levels = np.clip(slopes + edges + noise, 0, 1) * (2**bits - 1)
    planes: Planes = levels.astype(np.uint8 if bits == 8 else np.uint16)
    return planes


def expected_results(
    images: list[SmokeImage], processing: Processing, scale: int
) -> dict[str, Planes]:
    """Returns the upscaled samples of each image by name, computed here as on a node's CPU."""
    network = network_of(recipe_of(Settings(processing=processing), scale), None)
    engine = make_engine(fetch_weights(processing.checkpoint(scale, network), scale))
    return {
        image.name: np.concatenate(
            list(upscale_image(_low_resolution(image, scale), processing.patch_size, engine)),
            axis=1,
        )
        for image in images
    }


def _low_resolution(image: SmokeImage, scale: int) -> DecodedImage:
    decoded = decode(image.content, _LIMITS)
    if image.mode == "upscale":
        return decoded
    return decode(encode_png_bytes(reduce_planes(decoded.planes(), scale)), _LIMITS)


def largest_difference(content: bytes, expected: Planes) -> int | None:
    """Returns by how many levels a result differs at most; None where its shape does."""
    found = decode(content, _LIMITS).planes()
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return None
    return int(np.abs(found.astype(np.int32) - expected.astype(np.int32)).max())
