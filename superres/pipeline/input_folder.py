"""What is in a folder that somebody gives us: images, and what we leave out and say so."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from superres.imaging.decoding import ACCEPTED
from superres.imaging.files import is_foreign_name, is_image_name, no_images, why_no_file
from superres.imaging.names import located, readable
from superres.imaging.signatures import SIGNATURE_BYTES, sniff
from superres.pipeline.output_folder import MANIFEST_NAME, is_result, results_in

_NAMED = 10
# Formats whose signature is long enough, and not that of cameras' raw files, as TIFF's is.
_RECOGNISED = frozenset({"JPEG", "PNG", "WebP", "GIF"})


@dataclass(frozen=True)
class Listing:
    """What is directly in a folder, by name.

    Attributes:
        images: names of the files to read.
        folders: names of the folders, without hidden ones.
        remarks: one line for each file, or kind of file, that looks like an image and is left out.
    """

    images: list[str]
    folders: list[str]
    remarks: list[str]


def listed(folder: Path) -> Listing:
    """Lists a folder. A link to a file or folder counts as that; hidden files do not count.

    Left out are images in formats that are not accepted, results of our own, and what is no file:
    pipes, devices, links to nothing. An accepted image counts whatever it is called, if its name is
    that of an image at all.

    Raises ``OSError`` when the folder cannot be listed, and ``RecordError`` when its manifest of
    results cannot be read.
    """
    results = results_in(folder)
    images, folders, foreign, own, remarks = [], [], [], [], []
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = entry.name
        if name.startswith("."):
            continue
        if _is_folder(entry):
            folders.append(name)
        elif is_result(name, results):
            own.append(name)
        elif is_image_name(name) or is_foreign_name(name):
            reason = None if entry.is_file(follow_symlinks=False) else why_no_file(folder / name)
            if reason:
                remarks.append(f"{readable(str(folder / name))}: left out: {reason}")
            elif is_image_name(name) or _has_accepted_content(folder / name):
                images.append(name)
            else:
                foreign.append(name)
    if foreign:
        remarks.append(formats_left_out(str(folder), foreign))
    if own:
        remarks.append(_results_left_out(folder, own))
    return Listing(images, folders, remarks)


def image_files(folder: Path) -> list[Path]:
    """The images directly in a folder, as in ``listed``.

    Raises ``ConfigError`` when there are none.
    """
    files = [folder / name for name in listed(folder).images]
    if not files:
        raise no_images(folder)
    return files


def images_of(inputs: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The given files, and the images directly in the given folders, each once; and remarks.

    A given file may be anything, but no result of our own, and not the manifest of results.

    Raises ``ConfigError`` when a folder has nothing that looks like an image, and else as
    ``listed``.
    """
    found: dict[Path, Path] = {}
    remarks: list[str] = []
    given_by_folder: dict[Path, list[str]] = {}
    for given in inputs:
        if os.path.isdir(given):  # noqa: PTH112  # Path.is_dir raises where it may not look
            listing = listed(given)
            if not listing.images and not listing.remarks:
                raise no_images(given)
            found |= {located(given / name): given / name for name in listing.images}
            remarks += listing.remarks
        else:
            found.setdefault(located(given), given)
            given_by_folder.setdefault(given.parent, []).append(given.name)
    for folder, names in given_by_folder.items():
        results = results_in(folder)
        own = [name for name in names if is_result(name, results)]
        for name in [*own, MANIFEST_NAME]:
            found.pop(located(folder / name), None)
        if own:
            remarks.append(_results_left_out(folder, own))
    return list(found.values()), remarks


def formats_left_out(folder: str, names: list[str]) -> str:
    """The remark about images in formats that are not accepted."""
    return (
        f"{readable(folder)}: left out, because only {ACCEPTED} can be read; convert these:"
        f" {_some(names)}"
    )


def _results_left_out(folder: Path, names: list[str]) -> str:
    return (
        f"{readable(str(folder))}: left out, because {MANIFEST_NAME} there lists them as results:"
        f" {_some(names)}"
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself, say
        return False


def _has_accepted_content(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return sniff(stream.read(SIGNATURE_BYTES)) in _RECOGNISED
    except OSError:
        return False


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return readable(", ".join(names[:_NAMED])) + more
