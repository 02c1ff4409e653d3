"""Which results to lay out where, with the names and folders that their images came with."""

import csv
import hashlib
import io
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from superres.errors import RecordError
from superres.pipeline import storage
from superres.pipeline.layout import Layout
from superres.pipeline.records import Evaluation, RejectedImage, name_of
from superres.pipeline.source_path import source_path
from superres.pipeline.storage import StoredFile

Record = TypeVar("Record", Evaluation, RejectedImage)

_REQUESTS_AT_ONCE = 16
_NAME_BYTES = 255  # of one part of a path, on every common file system
_FORMULA = ("=", "+", "-", "@", "\t")  # how a cell begins that a spreadsheet would compute


class CollectedImage(BaseModel):
    """A line of the manifest: an image, and its result or the reason why there is none.

    ``result`` is the path of the result below the destination. PSNR is in dB.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    result: str | None = None
    outcome: Literal["finished", "rejected"]
    reason: str | None = None
    source: str
    image_id: str
    scale: int
    width: int | None = None
    height: int | None = None
    psnr: float | None = None
    psnr_bicubic: float | None = None
    ssim: float | None = None
    ssim_bicubic: float | None = None
    network: str | None = None
    network_digest: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Collection:
    """The results of a day, scale and recipe.

    Attributes:
        images: the lines of the manifest, by path.
        results: the URI of each result, by its path below the destination.
        unreadable: a line for each record that cannot be read.
    """

    images: list[CollectedImage]
    results: dict[str, str]
    unreadable: list[str]


def collect(layout: Layout, among: Set[str] | None = None) -> Collection:
    """Reads what became of the images of the layout's day, scale and recipe.

    ``among`` are the image_ids to read; None: all.
    """
    unreadable: list[str] = []
    finished = _read(layout.evaluations, Evaluation.from_json, among, unreadable)
    done = {record.image_id for record in finished}
    rejected = {
        record.image_id: record
        for folder in dict.fromkeys((layout.arrival_rejections, layout.rejections))
        for record in _read(folder, RejectedImage.from_json, among, unreadable)
        if record.image_id not in done
    }
    names = result_names(finished)
    images = [_finished(each, names[each.image_id]) for each in finished]
    images += [_rejected(each, layout.scale) for each in rejected.values()]
    images.sort(key=lambda each: (each.path, each.image_id))
    results = {names[each.image_id]: each.result.uri for each in finished}
    return Collection(images, results, unreadable)


def _read(
    folder: str,
    from_json: Callable[[bytes, str], Record],
    among: Set[str] | None,
    unreadable: list[str],
) -> list[Record]:
    def read(file: StoredFile) -> Record | RecordError:
        try:
            return from_json(storage.read_bytes(file.uri), file.uri)
        except RecordError as error:
            return error

    files = storage.list_files(folder, nested=False)
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        found = list(
            pool.map(read, [each for each in files if among is None or each.stem in among])
        )
    unreadable += [str(each) for each in found if isinstance(each, RecordError)]
    return [each for each in found if not isinstance(each, RecordError)]


def result_names(finished: Sequence[Evaluation]) -> dict[str, str]:
    """The path of each image's result below the destination, by image_id; no two are the same.

    ``day 1/photo.jpg`` gives ``day 1/photo.png``. Where several images would have that,
    they give ``day 1/photo.jpg.png``, and where that is still the same,
    ``day 1/photo.jpg-1f2e3d4c.png``, with a part of the image_id. Names that differ in case
    only, or in how Unicode composes them, count as the same.
    """
    names: dict[str, str] = {}
    left = list(finished)
    for form in (_plain_name, _whole_name, _unique_name):
        proposed = {each.image_id: form(each) for each in left}
        counts = Counter(map(_folded, [*names.values(), *proposed.values()]))
        fitting = {key: name for key, name in proposed.items() if counts[_folded(name)] == 1}
        names |= fitting
        left = [each for each in left if each.image_id not in fitting]
    return names


def _original_path(record: Evaluation | RejectedImage) -> str:
    """Older records have no path, but a source that ends in the name."""
    return record.path or source_path(name_of(record.source)) or record.image_id


def _plain_name(record: Evaluation) -> str:
    path = PurePosixPath(_original_path(record))
    return _fitting(str(path.parent), path.stem, _suffix(record))


def _whole_name(record: Evaluation) -> str:
    path = PurePosixPath(_original_path(record))
    return _fitting(str(path.parent), path.name, _suffix(record))


def _unique_name(record: Evaluation) -> str:
    path = PurePosixPath(_original_path(record))
    ending = f"-{record.image_id[:8]}{_suffix(record)}"
    return _fitting(str(path.parent), path.name, ending)


def _suffix(record: Evaluation) -> str:
    return PurePosixPath(record.result.uri).suffix


def _fitting(folder: str, base: str, ending: str) -> str:
    if len(os.fsencode(base + ending)) > _NAME_BYTES:
        ending = f"-{hashlib.sha256(base.encode()).hexdigest()[:8]}{ending}"
        while len(os.fsencode(base + ending)) > _NAME_BYTES:
            base = base[:-1]
    return base + ending if folder == "." else f"{folder}/{base}{ending}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _finished(record: Evaluation, result: str) -> CollectedImage:
    ours, bicubic = record.ours, record.bicubic
    return CollectedImage(
        path=_original_path(record),
        result=result,
        outcome="finished",
        source=record.source,
        image_id=record.image_id,
        scale=record.scale,
        width=record.result.width,
        height=record.result.height,
        psnr=ours and ours.psnr,
        psnr_bicubic=bicubic and bicubic.psnr,
        ssim=ours and ours.ssim,
        ssim_bicubic=bicubic and bicubic.ssim,
        network=record.model_name,
        network_digest=record.model_digest,
        run_id=record.run_id,
    )


def _rejected(record: RejectedImage, scale: int) -> CollectedImage:
    return CollectedImage(
        path=_original_path(record),
        outcome="rejected",
        reason=record.reason,
        source=record.source,
        image_id=record.image_id,
        scale=scale,
        run_id=record.run_id,
    )


def as_csv(images: Sequence[CollectedImage]) -> str:
    """The manifest as a table with a heading; a cell that looks like a formula begins with '."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CollectedImage.model_fields)
    writer.writeheader()
    for image in images:
        writer.writerow({name: _cell(value) for name, value in image.model_dump().items()})
    return stream.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
