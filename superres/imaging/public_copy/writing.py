"""Writes the public copy of an image file, without decoding a pixel."""

from collections.abc import Callable, Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

from superres.errors import ImageRejectedError
from superres.imaging.public_copy import jpeg, png, webp
from superres.imaging.public_copy.pieces import Content, Piece
from superres.imaging.signatures import SIGNATURE_BYTES, sniff

_BLOCK = 1 << 20
_PIECES: dict[str, Callable[[Content], Iterator[Piece]]] = {
    "JPEG": jpeg.public_pieces,
    "PNG": png.public_pieces,
    "WebP": webp.public_pieces,
}
COPIED_SUFFIXES = frozenset(["jpg", "png", "webp"])
"""Of the stored files that can be copied so; the others have to be converted."""


def write_public_copy(source: Path, target: Path) -> None:
    """Copies pixels, orientation, colour profile, camera and date of a JPEG, PNG or WebP.

    Compressed pixels are copied as they are. Needs memory for a block of a megabyte, whatever the
    size of the file.

    Raises:
        ImageRejectedError: it is none of these, or damaged.
        OSError: it cannot be read, or the copy not be written.
    """
    with source.open("rb") as stream:
        format_name = sniff(stream.read(SIGNATURE_BYTES))
        if format_name not in _PIECES:
            raise ImageRejectedError("its metadata cannot be removed from this format")
        with mmap(stream.fileno(), 0, access=ACCESS_READ) as data, target.open("wb") as copy:
            try:
                for piece in _PIECES[format_name](data):
                    _write(piece, data, copy)
            except ValueError as error:
                raise ImageRejectedError(f"the {format_name} is damaged: {error}") from None


def _write(piece: Piece, data: mmap, copy: BinaryIO) -> None:
    if isinstance(piece, bytes):
        copy.write(piece)
        return
    for start in range(piece.start, piece.stop, _BLOCK):
        copy.write(data[start : min(start + _BLOCK, piece.stop)])
