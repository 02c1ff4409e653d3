"""Which files count as images in a folder, and what is no file to read at all."""

import errno
import hashlib
import stat
from pathlib import Path

from superres.errors import ConfigError, StorageError
from superres.imaging.names import HIDDEN, readable

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
SUFFIXES = frozenset(
    {
        *(f".{suffix}" for suffix in SUFFIX_OF.values()),
        *(".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp"),  # the last three: browsers on Windows
        ".tiff",
    }
)
"""Suffixes that count as images in a folder; a file that is given itself may have any name."""

_PHONES_AND_WEB = "heic heif hif avif jxl jp2 j2k jpf jpx jxr wdp svg svgz ico"
_PROGRAMS = "psd psb xcf kra eps tga pcx dds exr hdr qoi ppm pgm pbm pnm pam icns"
_CAMERAS = "3fr arw cr2 cr3 crw dng iiq kdc mrw nef nrw orf pef raf raw rw2 rwl sr2 srw x3f"
FOREIGN_SUFFIXES = frozenset(
    f".{suffix}" for suffix in f"{_PHONES_AND_WEB} {_PROGRAMS} {_CAMERAS}".split()
)
"""Suffixes of images in formats that are not accepted: a folder's are named, not just skipped."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def is_image_name(name: str) -> bool:
    """Whether a file in a folder counts as an image by its name; hidden files do not."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def is_foreign_name(name: str) -> bool:
    """Whether a name is that of an image in a format that is not accepted; hidden ones are not."""
    return not name.startswith(".") and Path(name).suffix.lower() in FOREIGN_SUFFIXES


def no_images(folder: Path) -> ConfigError:
    """The error for a folder without images."""
    kinds = ", ".join(sorted(SUFFIXES))
    return ConfigError(f"{folder}: no images there; use a folder of {kinds} files")


def why_no_file(path: Path) -> str | None:
    """Why a path is no file that can be read at once, as in "a pipe, not a file"; None if it is.

    Opening a pipe waits for whoever writes to it, perhaps for ever; a device may never end.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except OSError as error:
        return _why_no_status(path, error)
    return None if kind == stat.S_IFREG else f"{_KINDS.get(kind, 'something else')}, not a file"


def check_file(path: Path) -> None:
    """Raises ``StorageError`` with one line for what is no file, as in ``why_no_file``."""
    if reason := why_no_file(path):
        raise _unreadable(path, reason)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex.

    Raises ``StorageError`` with one line when it is no file, as in ``why_no_file``, or unreadable.
    """
    check_file(path)
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None


def remedy_for(error: OSError) -> str:
    """What to do where a file could not be written; empty where its reason says all."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space and run it again"
    if error.errno == errno.EFBIG:
        return "raise the limit for files (ulimit -f), or choose another file system"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT):
        return "check the folder and its permissions"
    return ""


def unwritable(folder: Path, error: OSError) -> StorageError:
    """The error for a folder that cannot be written to: one line, with what to do.

    For a working folder of ours, which nobody has to know, it names the folder that has it.
    """
    if folder.name.startswith(HIDDEN):
        folder = folder.parent
    remedy = remedy_for(error) or "check the folder and its permissions"
    return StorageError(
        f"cannot write to {readable(str(folder))}: {error.strerror or error}; {remedy}"
    )


def _unreadable(path: Path, reason: str) -> StorageError:
    return StorageError(
        f"cannot read {readable(str(path))}: {reason}; check the path and its permissions"
    )


def _why_no_status(path: Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a link that leads back to itself"
    if error.errno == errno.ENOENT and path.is_symlink():
        return f"a link to {readable(str(path.readlink()))}, which does not exist"
    return error.strerror or str(error)
