"""The networks that are part of the package: for each scale a file for clean input and for JPEG.

A JPEG's quality, 1 to 100 as libjpeg counts it, decides which network upscales it best; the bounds
are measured (docs/figures.md). Importing this loads no weights.
"""

from pathlib import Path

SCALES = (2, 3, 4)

CLEAN = "clean"
"""The network for input that did not go through JPEG, or hardly."""
_JPEG_NETWORKS = (  # with the highest quality that each is for
    (43, "jpeg-10-45"),
    (70, "jpeg-45-66"),
    (84, "jpeg-66-83"),
    (92, "jpeg-83-91"),
    (97, "jpeg-91-97"),
)
NETWORKS = (CLEAN, *(name for _, name in _JPEG_NETWORKS))
"""All names: those for JPEG say between which qualities the network was trained."""


def network_for(jpeg_quality: int | None) -> str:
    """The network for input that was saved as JPEG at this quality; None: it was not."""
    if jpeg_quality is None:
        return CLEAN
    return next((name for highest, name in _JPEG_NETWORKS if jpeg_quality <= highest), CLEAN)


def default_model_path(scale: int, network: str = CLEAN) -> Path:
    """The file with the weights for a scale, one of ``SCALES``, and a network of ``NETWORKS``."""
    suffix = "" if network == CLEAN else f"_{network}"
    return Path(__file__).with_name(f"fsrcnn_x{scale}{suffix}.safetensors")
