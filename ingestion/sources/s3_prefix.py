"""Images under a prefix in S3."""

from collections.abc import Iterator
from threading import Event

from ingestion.references import Wanted
from ingestion.sources.faults import Fault
from ingestion.sources.seen import Seen
from superres.errors import StorageError
from superres.imaging.files import SUFFIXES, is_image_name
from superres.pipeline import storage
from superres.pipeline.records import ImageReference
from superres.pipeline.storage import StoredFile


class S3PrefixSource:
    """Units are objects whose name ends like an image's.

    Followed, the prefix is listed again, and only what is new in key or content is given; ``Seen``
    bounds the memory that this takes.

    Args:
        uri: ``s3://bucket/prefix``.
        wanted: of every image.
        follow_seconds: between two listings; None lists once.
    """

    def __init__(self, uri: str, wanted: Wanted, *, follow_seconds: float | None = None) -> None:
        self._uri = uri
        self._wanted = wanted
        self._follow_seconds = follow_seconds
        self._seen = Seen()

    def units(self, stop: Event) -> Iterator[StoredFile | Fault]:
        """Objects by name; a listing that fails is told, and tried again when followed."""
        while not stop.is_set():
            try:
                found = [file for file in storage.list_files(self._uri) if is_image_name(file.name)]
            except StorageError as error:
                yield Fault(error)
            else:
                yield from self._new(found, stop)
            if self._follow_seconds is None or stop.wait(self._follow_seconds):
                return

    def references(self, unit: StoredFile | Fault) -> list[ImageReference]:
        """The reference to one object; its ETag tells its content."""
        if isinstance(unit, Fault):
            raise unit.error
        reference = self._wanted.reference(
            canonical=f"s3:{unit.uri.removeprefix(storage.S3)}:{unit.etag}",
            url=unit.uri,
            source=unit.uri,
        )
        return [reference]

    def _new(self, found: list[StoredFile], stop: Event) -> Iterator[StoredFile | Fault]:
        follow = self._follow_seconds is not None
        if not found and not follow:
            kinds = ", ".join(sorted(SUFFIXES))
            yield Fault(StorageError(f"{self._uri}: no image under it; looked for {kinds}"))
        for file in found:
            if stop.is_set():
                return
            if not follow or self._seen.add(f"{file.uri}:{file.etag}"):
                yield file
