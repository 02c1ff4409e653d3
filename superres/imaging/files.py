"""Image files: by which names they are found in a folder, and under which names they are stored."""

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
"""What ``DecodedImage.suffix`` may be."""
SUFFIXES = frozenset({".jpeg", ".tiff", *(f".{suffix}" for suffix in SUFFIX_OF.values())})
"""What counts as an image in a folder; a file that is named itself may be called anything."""


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image; hidden ones are not."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name, without hidden ones.

    Raises ``ConfigError`` when there are none.
    """
    files = sorted(path for path in folder.iterdir() if is_image_name(path.name) and path.is_file())
    if not files:
        kinds = ", ".join(sorted(SUFFIXES))
        raise ConfigError(f"{folder}: no images there; give a folder of {kinds} files")
    return files
