"""File names of images: which ones count as images in a folder, and the suffixes in storage."""

from pathlib import Path

from superres.errors import ConfigError

SUFFIX_OF = {
    "JPEG": "jpg",
    "PNG": "png",
    "WebP": "webp",
    "TIFF": "tif",
    "BMP": "bmp",
    "GIF": "gif",
}
"""The file name suffix of each accepted format."""
STORED_SUFFIXES = tuple(SUFFIX_OF.values())
"""The values of ``DecodedImage.suffix``."""
SUFFIXES = frozenset({".jpeg", ".tiff", *(f".{suffix}" for suffix in SUFFIX_OF.values())})
"""Suffixes that count as images in a folder; a file that is given itself may have any name."""


def is_image_name(name: str) -> bool:
    """Whether a file in a folder counts as an image by its name; hidden files do not."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted by name, without hidden files.

    Raises ``ConfigError`` when there are none.
    """
    files = sorted(path for path in folder.iterdir() if is_image_name(path.name) and path.is_file())
    if not files:
        kinds = ", ".join(sorted(SUFFIXES))
        raise ConfigError(f"{folder}: no images there; use a folder of {kinds} files")
    return files
