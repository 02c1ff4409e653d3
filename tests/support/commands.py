"""Files that commands read and write, and what `superres upscale` should make of them."""

from pathlib import Path

import numpy as np

from superres.cli.networks import Engines
from superres.imaging.decoding import decode_file
from superres.imaging.limits import Limits
from superres.network.upscaling import upscale_image
from superres.pipeline.config import Processing
from superres.pipeline.records import Scale
from tests.support.image_files import photo, pillow

LIMITS = Limits(1 << 28, 100_000_000)


def make(name: str, height: int = 24, width: int = 31, channels: int = 3, seed: int = 0) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {".gif": "GIF", ".bmp": "BMP", ".png": "PNG"}.get(path.suffix.lower(), "JPEG")
    path.write_bytes(pillow(photo(height, width, channels, seed=seed), kind))
    return path


def pixels(path: str | Path) -> np.ndarray:
    return decode_file(Path(path), LIMITS).planes()


def files(path: str = ".") -> list[str]:
    """All files below a folder, without the manifest of results and its lock."""
    return sorted(
        str(file.relative_to(path))
        for file in Path(path).rglob("*")
        if file.is_file() and "superres-results" not in file.name
    )


def upscaled(path: Path, scale: Scale, patch_size: int = 512) -> np.ndarray:
    engine = Engines(Processing(upscale_factor=scale)).for_file(path)
    strips = upscale_image(decode_file(path, LIMITS), patch_size, engine)
    return np.concatenate(list(strips), axis=1)
