"""Fetches the images that references point to: from public addresses or allowed locations."""

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self
from urllib.parse import unquote_to_bytes, urlsplit

from ingestion.retries import FetchError, response_to
from superres.errors import ForbiddenUrlError, ImageRejectedError, StorageError
from superres.imaging.names import readable
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.redaction import SecretUrl
from superres.service.public_http import Client

_MAX_IN_MEMORY = 16 << 20  # bytes; a temporary file costs more than the memory of a usual image


@dataclass(frozen=True)
class Fetcher:
    """Fetches images from where references are allowed to point.

    ``file:`` URLs only under ``file_roots``, ``s3:`` only in ``buckets``; everything else must be
    http(s) and public. At most ``max_bytes`` and ``seconds`` per image.
    """

    client: Client
    file_roots: Sequence[Path]
    buckets: frozenset[str]
    max_bytes: int
    seconds: float

    @contextmanager
    def fetched(self, url: SecretUrl) -> Iterator[bytes | Path]:
        """The content of ``url``: in memory if it is small, else in a temporary file.

        Raises:
            ForbiddenUrlError: the reference points to a location that is not allowed.
            ImageRejectedError: the image is too large.
            FetchError: fetching failed; ``retryable`` says whether to try again later.
            StorageError: the disk for temporary files does not work.
        """
        scheme = url.full.partition(":")[0].lower()
        if scheme == "s3":
            with self._s3_copy(url) as path:
                yield path
            return
        with _Spill() as spill:
            if scheme == "file":
                self._read(self._allowed_file(url), spill)
            else:
                self._download(url, spill)
            yield spill.content()

    def _download(self, url: SecretUrl, spill: "_Spill") -> None:
        with response_to(self.client, url, self.seconds) as response:
            for chunk in response.chunks:
                self._check_size(spill.size + len(chunk))
                spill.write(chunk)

    def _allowed_file(self, url: SecretUrl) -> Path:
        try:
            parts = urlsplit(url.full)
            # Resolves links before the check, so that none leads out of the roots.
            path = Path(os.fsdecode(unquote_to_bytes(parts.path))).resolve()
        except (OSError, ValueError, RuntimeError):  # RuntimeError: circular links
            raise FetchError(f"{url}: no such file", retryable=False) from None
        if parts.netloc not in ("", "localhost"):
            raise ForbiddenUrlError(f"{url}: a file on another machine")
        # Checked before existence, so that a reference cannot probe for files elsewhere.
        if not any(path.is_relative_to(root.resolve()) for root in self.file_roots):
            raise ForbiddenUrlError(
                f"{url}: outside the folders that references may point to; add its folder to "
                "ingestion.file_roots, or use `superres ingest FOLDER`"
            )
        try:
            kind = path.stat().st_mode
        except (OSError, ValueError):
            raise FetchError(f"{url}: no such file", retryable=False) from None
        if not stat.S_ISREG(kind):
            raise FetchError(f"{url}: not a file", retryable=False)
        return path

    def _read(self, path: Path, spill: "_Spill") -> None:
        try:
            with path.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    self._check_size(spill.size + len(chunk))
                    spill.write(chunk)
        except OSError as error:
            name = readable(str(path))
            raise FetchError(f"{name}: {error.strerror or error}", retryable=True) from None

    @contextmanager
    def _s3_copy(self, url: SecretUrl) -> Iterator[Path]:
        if url.full.removeprefix(storage.S3).partition("/")[0] not in self.buckets:
            raise ForbiddenUrlError(f"{url}: not in a bucket of ingestion.s3_buckets")
        with ExitStack() as copies:
            try:
                size = storage.size_of(url.full)
                if size is None:
                    raise FetchError(f"{url}: no such object", retryable=False)
                self._check_size(size)
                path = copies.enter_context(storage.local_copy(url.full))
            except StorageError as error:
                if isinstance(error.__cause__, OSError):
                    raise  # the disk that the copy is for
                # A single unreadable object must not look like a storage failure.
                raise FetchError(str(error), retryable=True) from None
            yield path

    def _check_size(self, size: int) -> None:
        if size > self.max_bytes:
            raise ImageRejectedError(
                f"more than {self.max_bytes:,} bytes, the limit; send a smaller one or raise "
                "processing.max_megabytes"
            )


class _Spill:
    """Collects a body in memory, or in a temporary file once it is large."""

    def __init__(self) -> None:
        self.size = 0
        self._chunks: list[bytes] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, chunk: bytes) -> None:
        """Appends a chunk; raises ``StorageError`` when the disk is full."""
        self.size += len(chunk)
        try:
            if self._file is None and self.size > _MAX_IN_MEMORY:
                # __exit__ closes and thereby deletes it.
                self._file = tempfile.NamedTemporaryFile(prefix="superres-")  # noqa: SIM115
                self._file.writelines(self._chunks)
                self._chunks = []
            if self._file is None:
                self._chunks.append(chunk)
            else:
                self._file.write(chunk)
        except OSError as error:
            raise StorageError(
                f"{tempfile.gettempdir()}: cannot write: {error.strerror or error}"
            ) from error

    def content(self) -> bytes | Path:
        """The whole body."""
        if self._file is None:
            return b"".join(self._chunks)
        self._file.flush()
        return Path(self._file.name)


def fetcher_of(settings: Settings, client: Client) -> Fetcher:
    """A fetcher for the locations that the configuration allows; uploads are always allowed."""
    ingestion = settings.ingestion
    roots, buckets = [Path(root) for root in ingestion.file_roots], set(ingestion.s3_buckets)
    if storage.is_s3(ingestion.uploads_dir):
        buckets.add(storage.bucket_of(ingestion.uploads_dir))
    else:
        roots.append(Path(storage.absolute(ingestion.uploads_dir)))
    return Fetcher(
        client,
        tuple(roots),
        frozenset(buckets),
        settings.processing.limits.max_bytes,
        ingestion.fetch_seconds,
    )
