"""The weights that are part of the package, a file for each scale. Importing this loads none."""

from pathlib import Path

SCALES = (2, 3, 4)


def default_model_path(scale: int) -> Path:
    """The file with the weights for a scale, one of ``SCALES``."""
    return Path(__file__).with_name(f"fsrcnn_x{scale}.safetensors")
