"""Images under a prefix in S3."""

from collections.abc import Iterator
from threading import Event

from ingestion.references import Wanted
from ingestion.sources.source import FailedUnit, LeftOutError, Seen
from superres.errors import StorageError
from superres.imaging.files import SUFFIXES, is_foreign_name, is_image_name
from superres.pipeline import storage
from superres.pipeline.input_folder import formats_left_out
from superres.pipeline.records import ImageReference
from superres.pipeline.source_path import source_path
from superres.pipeline.storage import StoredFile


class S3PrefixSource:
    """Units are objects whose names have the suffix of an image.

    When followed, the prefix is listed again and again, and only objects with a new key or content
    are yielded; ``Seen`` bounds the memory that this takes.

    Args:
        uri: ``s3://bucket/prefix``.
        wanted: how to process every image.
        follow_seconds: between two listings; None lists once.
    """

    def __init__(self, uri: str, wanted: Wanted, *, follow_seconds: float | None = None) -> None:
        self._uri = uri
        bucket, _, prefix = uri.removeprefix(storage.S3).partition("/")
        # Of a prefix that ends within a name, as in photos/2026-, the folder that it is in.
        self._folder = f"{storage.S3}{bucket}/{prefix.rpartition('/')[0]}"
        self._wanted = wanted
        self._follow_seconds = follow_seconds
        self._seen = Seen()

    def units(self, stop: Event) -> Iterator[StoredFile | FailedUnit]:
        """Objects by name; a listing that fails is reported, and retried when followed."""
        while not stop.is_set():
            try:
                found = storage.list_files(self._uri)
            except StorageError as error:
                yield FailedUnit(error)
            else:
                yield from self._left_out(found)
                yield from self._new([each for each in found if is_image_name(each.name)], stop)
            if self._follow_seconds is None or stop.wait(self._follow_seconds):
                return

    def references(self, unit: StoredFile | FailedUnit) -> list[ImageReference]:
        """The reference to one object; its ETag identifies the content."""
        if isinstance(unit, FailedUnit):
            raise unit.error
        reference = self._wanted.reference(
            canonical=f"s3:{unit.uri.removeprefix(storage.S3)}:{unit.etag}",
            url=unit.uri,
            source=unit.uri,
            path=source_path(unit.uri.removeprefix(self._folder)),
        )
        return [reference]

    def _left_out(self, found: list[StoredFile]) -> Iterator[FailedUnit]:
        foreign = [file.name for file in found if is_foreign_name(file.name)]
        remark = formats_left_out(self._uri, foreign)
        if foreign and self._seen.add(remark):
            yield FailedUnit(LeftOutError(remark))

    def _new(self, found: list[StoredFile], stop: Event) -> Iterator[StoredFile | FailedUnit]:
        follow = self._follow_seconds is not None
        if not found and not follow:
            kinds = ", ".join(sorted(SUFFIXES))
            reason = f"{self._uri}: no image under this prefix; looked for {kinds}"
            yield FailedUnit(StorageError(reason))
        for file in found:
            if stop.is_set():
                return
            if not follow or self._seen.add(f"{file.uri}:{file.etag}"):
                yield file
