"""What happens to one message: fetched and stored, or rejected with its reason, or tried later.

Runs in the consumer's threads and knows nothing of partitions and offsets.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import count
from pathlib import Path
from threading import Event, Lock
from time import monotonic

import structlog

from ingestion.consumer.dead_letters import DeadLetters, Header
from ingestion.consumer.fetching import Fetcher
from ingestion.consumer.prometheus_metrics import Metrics
from ingestion.retries import FetchError, wait_before
from superres.errors import ForbiddenUrlError, ImageRejectedError, RecordError, StorageError
from superres.imaging.files import STORED_SUFFIXES
from superres.pipeline import storage
from superres.pipeline.arrival import reject_arrival, store_image
from superres.pipeline.config import Settings
from superres.pipeline.layout import Layout, layout_on
from superres.pipeline.records import ImageReference, RejectedImage, image_id_of

_log = structlog.get_logger()
_STORAGE_RETRY_SECONDS = 5.0  # the most between two tries of a storage that fails
_REMEMBERED = 4096
_REASON_LETTERS = 1000  # a reason may quote what a stranger sent
_layout_on = lru_cache(64)(layout_on)  # a tenth of a millisecond, for every image


@dataclass(frozen=True)
class Assignment:
    """The time for which a partition is this consumer's, as its threads see it.

    ``ending``: nothing new is begun; what is begun may finish. ``over``: results count no more.
    """

    ending: Event = field(default_factory=Event)
    over: Event = field(default_factory=Event)


@dataclass(frozen=True)
class Delivery:
    """A message as it came, with the number of this attempt at it."""

    assignment: Assignment
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    sent_at: datetime
    headers: tuple[Header, ...] = ()
    attempt: int = 1

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about."""
        more = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value) + more


@dataclass(frozen=True)
class Finished:
    """Stored or rejected; its offset may be committed."""


@dataclass(frozen=True)
class Later:
    """To be tried again after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Dropped:
    """Given up without a result: the partition has gone, or the consumer stops."""


Outcome = Finished | Later | Dropped


class StorageHealth:
    """Whether storage works; while it does not, the consumer takes no more messages."""

    def __init__(self) -> None:
        self.failing = ""

    def failed(self, reason: str) -> None:
        """A write failed."""
        self.failing = reason

    def worked(self) -> None:
        """A write worked."""
        self.failing = ""


class Remembered:
    """The images stored last, so that a message that comes again at once costs nothing."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def add(self, image_id: str) -> None:
        """Remembers an image and forgets the oldest."""
        with self._lock:
            self._ids[image_id] = None
            if len(self._ids) > self._most:
                self._ids.popitem(last=False)

    def __contains__(self, image_id: str) -> bool:
        with self._lock:
            return image_id in self._ids


@dataclass(frozen=True)
class Handler:
    """Handles messages; one for all threads of a consumer."""

    settings: Settings
    fetcher: Fetcher
    dead_letters: DeadLetters
    metrics: Metrics
    stop: Event
    storage_health: StorageHealth = field(default_factory=StorageHealth)
    stored: Remembered = field(default_factory=Remembered)

    def handle(self, delivery: Delivery) -> Outcome:
        """Does what there is to do about a message; never raises."""
        if delivery.assignment.ending.is_set():
            return Dropped()
        try:
            if delivery.attempt > self.settings.ingestion.attempts:
                return self._reject_message(delivery, "it fails unexpectedly; the log tells how")
            return self._handle(delivery)
        except Exception:
            # A bug, or no memory left: this message must hold up no other, nor be lost.
            place = {"partition": delivery.partition, "offset": delivery.offset}
            _log.exception("unexpected", attempt=delivery.attempt, **place)
            self.metrics.retries.inc()
            return Later(wait_before(min(delivery.attempt + 1, 8), None))

    def _handle(self, delivery: Delivery) -> Outcome:
        try:
            reference = _reference_in(delivery.value)
        except RecordError as error:
            return self._reject_message(delivery, str(error))
        if _place(reference) in self.stored:
            self.metrics.repeated.inc()
            return Finished()
        try:
            return self._take(delivery, reference)
        except (ForbiddenUrlError, ImageRejectedError) as error:
            return self._reject(delivery, reference, str(error))
        except FetchError as error:
            if error.again and delivery.attempt < self.settings.ingestion.attempts:
                self.metrics.retries.inc()
                return Later(wait_before(delivery.attempt + 1, error.after))
            tried = f" (tried {delivery.attempt} times)" if delivery.attempt > 1 else ""
            return self._reject(delivery, reference, f"{error}{tried}")

    def _take(self, delivery: Delivery, reference: ImageReference) -> Outcome:
        began = monotonic()
        layout = self._layout(reference)
        size, done = 0, False

        def fetch_and_store() -> None:
            nonlocal size, done
            try:
                with self.fetcher.fetched(reference.url) as content:
                    size = content.stat().st_size if isinstance(content, Path) else len(content)
                    # Insists in here too: that storage fails is no reason to ask the source again.
                    done = self._insist(
                        delivery,
                        lambda: store_image(content, reference, layout, self.settings.processing),
                    )
            except FetchError:
                if storage.is_s3(reference.url):
                    # Where storage fails altogether, the image in it is not at fault.
                    _is_stored(reference, layout)
                raise

        if not (self._insist(delivery, fetch_and_store) and done):
            return Dropped()
        self.stored.add(_place(reference))
        self.metrics.bytes.inc(size)
        self.metrics.seconds.observe(monotonic() - began)
        self.metrics.stored.inc()
        _log.info("stored", image_id=reference.image_id, source=reference.source, bytes=size)
        return Finished()

    def _reject(self, delivery: Delivery, reference: ImageReference, reason: str) -> Outcome:
        layout = self._layout(reference)
        found: list[bool] = []
        if not self._insist(delivery, lambda: found.append(_is_stored(reference, layout))):
            return Dropped()
        if found[-1]:
            # An earlier delivery of the same image went well, and that is what counts.
            _log.info("stored_before", image_id=reference.image_id, reason=reason)
            return Finished()
        return self._write_off(delivery, reference.image_id, reference.source, reason, layout)

    def _reject_message(self, delivery: Delivery, reason: str) -> Outcome:
        """A message that is no reference has a name too, by its content."""
        scale = self.settings.processing.upscale_factor
        mode = self.settings.ingestion.mode
        image_id = image_id_of(mode, scale, f"message:{delivery.value.hex()}")
        layout = _layout_on(self.settings.dataset, delivery.sent_at.date(), scale)
        return self._write_off(delivery, image_id, self._origin(delivery), reason, layout)

    def _write_off(
        self, delivery: Delivery, image_id: str, source: str, reason: str, layout: Layout
    ) -> Outcome:
        if len(reason) > _REASON_LETTERS:
            reason = f"{reason[:_REASON_LETTERS]}…"
        written: list[RejectedImage] = []
        if not self._insist(
            delivery,
            lambda: written.append(reject_arrival(image_id, source, reason, layout)),
        ):
            return Dropped()
        if not self.dead_letters.send(
            delivery.key, delivery.value, delivery.headers, written[-1], self._origin(delivery)
        ):
            return Dropped()
        self.metrics.rejected.inc()
        _log.warning("rejected", image_id=image_id, source=source, reason=reason)
        return Finished()

    def _origin(self, delivery: Delivery) -> str:
        return f"{self.settings.kafka.topic}/{delivery.partition}/{delivery.offset}"

    def _layout(self, reference: ImageReference) -> Layout:
        return _layout_on(self.settings.dataset, reference.ingest_date, reference.scale)

    def _insist(self, delivery: Delivery, action: Callable[[], None]) -> bool:
        """Tries until storage works; False when given up before."""
        for attempt in count(2):
            if self._given_up(delivery):
                return False
            try:
                action()
            except (StorageError, OSError) as error:  # OSError: no room for temporary files
                if self._given_up(delivery):
                    return False
                self.storage_health.failed(str(error))
                _log.error("storage_failed", reason=str(error), attempt=attempt - 1)
                self.stop.wait(min(_STORAGE_RETRY_SECONDS, wait_before(min(attempt, 8), None)))
                continue
            self.storage_health.worked()
            return True
        return False

    def _given_up(self, delivery: Delivery) -> bool:
        return delivery.assignment.over.is_set() or self.stop.is_set()


def _reference_in(value: bytes) -> ImageReference:
    reference = ImageReference.from_json(value)
    try:
        _ = reference.ingest_date
    except OverflowError:
        moment = reference.requested_at.isoformat()
        raise RecordError(f"requested_at: {moment} has no date in UTC") from None
    return reference


def _place(reference: ImageReference) -> str:
    """An image sent again on another day belongs to that day as well."""
    return f"{reference.ingest_date}/{reference.image_id}"


def _is_stored(reference: ImageReference, layout: Layout) -> bool:
    low = storage.join(layout.low_resolution, reference.image_id)
    return any(storage.exists(f"{low}.{suffix}") for suffix in STORED_SUFFIXES)
