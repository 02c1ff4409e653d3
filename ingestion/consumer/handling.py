"""Handles one message: the image is fetched and stored, rejected with a reason, or retried later.

Runs in the threads of the consumer, or without a broker of ``ingestion.direct``; partitions and
offsets are the consumer's concern.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Protocol

import structlog

from ingestion.consumer.fetching import Fetcher
from ingestion.consumer.messages import Header, ReceivedMessage
from ingestion.consumer.outcomes import Abandoned, Finished, Outcome, RetryLater
from ingestion.consumer.prometheus_metrics import Metrics
from ingestion.consumer.recent_images import RecentImages
from ingestion.consumer.storage_retries import (
    AbandonedError,
    Result,
    StorageHealth,
    until_storage_works,
)
from ingestion.retries import FetchError, backoff_seconds
from superres.errors import ForbiddenUrlError, ImageRejectedError, RecordError
from superres.imaging.files import STORED_SUFFIXES
from superres.pipeline import storage
from superres.pipeline.arrival import reject_arrival, store_image
from superres.pipeline.config import Settings
from superres.pipeline.layout import Layout, layout_on
from superres.pipeline.records import ImageReference, RejectedImage, image_id_of

_log = structlog.get_logger()
_MAX_REASON_LENGTH = 1000  # a reason may quote what a stranger sent
_layout_on = lru_cache(64)(layout_on)  # saves a tenth of a millisecond per image


class Letters(Protocol):
    """Where rejected messages go, besides their records in storage."""

    def ready(self) -> str:
        """Why nothing can be sent at the moment; empty when it can."""

    def send(
        self,
        key: bytes | None,
        value: bytes,
        headers: Sequence[Header],
        record: RejectedImage,
        origin: str,
    ) -> bool:
        """Sends a rejected message; False when stopped before it was acknowledged."""


@dataclass(frozen=True)
class Handler:
    """Handles messages; the threads of a consumer share one."""

    settings: Settings
    fetcher: Fetcher
    dead_letters: Letters
    metrics: Metrics
    stop: Event
    storage_health: StorageHealth = field(default_factory=StorageHealth)
    stored: RecentImages = field(default_factory=RecentImages)

    def handle(self, message: ReceivedMessage) -> Outcome:
        """Handles a message; never raises."""
        if message.assignment.ending.is_set():
            return Abandoned()
        try:
            if message.attempt > self.settings.ingestion.attempts:
                return self._reject_message(message, "unexpected error; see the consumer log")
            return self._handle(message)
        except AbandonedError:
            return Abandoned()
        except Exception:
            # A bug or a lack of memory: it must neither block other messages nor lose this one.
            where = {"partition": message.partition, "offset": message.offset}
            _log.exception("unexpected_error", attempt=message.attempt, **where)
            self.metrics.retries.inc()
            return RetryLater(backoff_seconds(min(message.attempt + 1, 8)))

    def _handle(self, message: ReceivedMessage) -> Outcome:
        try:
            reference = _reference_in(message.value)
        except RecordError as error:
            return self._reject_message(message, str(error))
        if _stored_key(reference) in self.stored:
            self.metrics.repeated.inc()
            return Finished()
        try:
            return self._fetch_and_store(message, reference)
        except (ForbiddenUrlError, ImageRejectedError) as error:
            return self._reject(message, reference, str(error))
        except FetchError as error:
            if error.retryable and message.attempt < self.settings.ingestion.attempts:
                self.metrics.retries.inc()
                return RetryLater(backoff_seconds(message.attempt + 1, error.retry_after))
            tried = f" (tried {message.attempt} times)" if message.attempt > 1 else ""
            return self._reject(message, reference, f"{error}{tried}")

    def _fetch_and_store(self, message: ReceivedMessage, reference: ImageReference) -> Outcome:
        start = monotonic()
        with ExitStack() as fetched:
            content = self._retrying(message, lambda: self._fetch(reference, fetched))
            size = content.stat().st_size if isinstance(content, Path) else len(content)
            self._retrying(message, lambda: self._store(content, reference))
        self.stored.add(_stored_key(reference))
        self.metrics.bytes.inc(size)
        self.metrics.seconds.observe(monotonic() - start)
        self.metrics.stored.inc()
        _log.info("stored", image_id=reference.image_id, source=reference.source, bytes=size)
        return Finished()

    def _fetch(self, reference: ImageReference, fetched: ExitStack) -> bytes | Path:
        """The image, which lasts until the stack is closed."""
        try:
            return fetched.enter_context(self.fetcher.fetched(reference.url))
        except FetchError:
            if storage.is_s3(reference.url.full):
                # If storage fails as a whole, this raises, and the image is not rejected.
                self._is_stored(reference)
            raise

    def _store(self, content: bytes | Path, reference: ImageReference) -> None:
        store_image(content, reference, self._layout(reference), self.settings.processing)

    def _reject(self, message: ReceivedMessage, reference: ImageReference, reason: str) -> Outcome:
        if self._retrying(message, lambda: self._is_stored(reference)):
            # An earlier message for the same image succeeded, which is what counts.
            _log.info("stored_before", image_id=reference.image_id, reason=reason)
            return Finished()
        layout, source, path = self._layout(reference), reference.source, reference.path
        return self._record_rejection(message, reference.image_id, source, reason, layout, path)

    def _reject_message(self, message: ReceivedMessage, reason: str) -> Outcome:
        """Rejects a message that is not a reference; its image_id is made from its content."""
        scale = self.settings.processing.upscale_factor
        mode = self.settings.ingestion.mode
        image_id = image_id_of(mode, scale, f"message:{message.value.hex()}")
        layout = _layout_on(self.settings.dataset, message.sent_at.date(), scale)
        return self._record_rejection(message, image_id, self._origin(message), reason, layout)

    def _record_rejection(
        self,
        message: ReceivedMessage,
        image_id: str,
        source: str,
        reason: str,
        layout: Layout,
        path: str | None = None,
    ) -> Outcome:
        if len(reason) > _MAX_REASON_LENGTH:
            reason = f"{reason[:_MAX_REASON_LENGTH]}…"
        record = self._retrying(
            message, lambda: reject_arrival(image_id, source, reason, layout, path)
        )
        if not self.dead_letters.send(
            message.key, message.value, message.headers, record, self._origin(message)
        ):
            return Abandoned()
        self.metrics.rejected.inc()
        _log.warning("rejected", image_id=image_id, source=record.source, reason=record.reason)
        return Finished()

    def _origin(self, message: ReceivedMessage) -> str:
        return f"{self.settings.kafka.topic}/{message.partition}/{message.offset}"

    def _layout(self, reference: ImageReference) -> Layout:
        return _layout_on(self.settings.dataset, reference.ingest_date, reference.scale)

    def _is_stored(self, reference: ImageReference) -> bool:
        low = self._layout(reference).low_resolution_of(reference)
        return any(storage.exists(f"{low}.{suffix}") for suffix in STORED_SUFFIXES)

    def _retrying(self, message: ReceivedMessage, action: Callable[[], Result]) -> Result:
        return until_storage_works(action, message, self.storage_health, self.stop)


def _reference_in(value: bytes) -> ImageReference:
    reference = ImageReference.from_json(value)
    try:
        _ = reference.ingest_date
    except OverflowError:
        moment = reference.requested_at.isoformat()
        raise RecordError(f"requested_at: {moment} has no date in UTC") from None
    return reference


def _stored_key(reference: ImageReference) -> str:
    """Includes the date: an image requested again on another day is stored for that day, too."""
    return f"{reference.ingest_date}/{reference.image_id}"
