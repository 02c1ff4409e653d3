"""Ingestion under realistic conditions: `superres` processes, a real broker, a real HTTP server.

A `World` has its own topic and consumer group. As long as it exists, a thread keeps checking that
no offset is committed for a message whose image is neither stored nor rejected.
"""

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from superres.errors import RecordError, StorageError
from superres.imaging.decoding import decode
from superres.imaging.limits import Limits
from superres.imaging.resample import reduce_planes
from superres.pipeline import storage
from superres.pipeline.arrival import reference_of
from superres.pipeline.config import Settings
from superres.pipeline.config_file import validated
from superres.pipeline.layout import Layout, default_run_id, layout_of
from superres.pipeline.records import ImageReference, Mode, RejectedImage, Scale, image_id_of
from tests.support.http_server import HttpServer, until
from tests.support.image_files import photo, pillow
from tests.support.kafka_broker import PATIENCE, Broker
from tests.support.processes import Service
from tests.support.source_reading import NOON

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

PARTITIONS = 3
SETTLED_SECONDS = 60.0
_LIMITS = Limits(1 << 30, 1 << 30)
Headers = Sequence[tuple[str, str | bytes | None]]


@dataclass
class World:
    """A topic, a group, an HTTP server and a folder for images; processes end with the block.

    Attributes:
        base: the folder or ``s3://`` URI for everything that is stored.
        good: the images that must be stored in the end, by image_id.
        bad: the images that must be rejected, each with a part of the reason.
    """

    broker: Broker
    base: str
    scratch: Path
    options: dict[str, str] = field(default_factory=dict)
    good: dict[str, tuple[ImageReference, bytes]] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.topic = self.broker.create_topic(partitions=PARTITIONS)
        self.dead_topic = self.broker.create_topic(f"{self.topic}-dead-letter", partitions=1)
        self.source = HttpServer()
        self.source.__enter__()
        (self.scratch / "tmp").mkdir(parents=True)
        self.watch = Watch(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for service in self.services:
            service.kill()
        self.watch.end()
        self.source.__exit__(kind, error, traceback)
        if error is None:
            assert not self.watch.violations, self.watch.violations[:3]

    # ---- processes

    @property
    def environment(self) -> dict[str, str]:
        base = self.base
        given = {
            "KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap,
            "KAFKA__TOPIC": self.topic,
            "KAFKA__DEAD_LETTER_TOPIC": self.dead_topic,
            "KAFKA__GROUP": self.topic,
            "KAFKA__SESSION_SECONDS": "6",
            "DATASET__HIGH_RESOLUTION_DIR": f"{base}/high",
            "DATASET__LOW_RESOLUTION_DIR": f"{base}/low",
            "DATASET__RECONSTRUCTED_IMAGES_DIR": f"{base}/results",
            "INGESTION__UPLOADS_DIR": str(self.scratch / "uploads"),
            "INGESTION__ALLOWED_HOSTS": f"[{json.dumps(self.source.host)}]",
            "INGESTION__CONSUMER_PORT": "0",
            "INGESTION__THREADS": "4",
            "INGESTION__ATTEMPTS": "3",
        } | self.options
        own = {"TMPDIR": str(self.scratch / "tmp"), "PYTHONUNBUFFERED": "1"}
        return own | {f"SUPERRES_{name}": value for name, value in given.items()}

    def start(self, *arguments: str) -> Service:
        """Starts a `superres` command."""
        folder = self.scratch / f"process-{len(self.services)}"
        service = Service(arguments, self.environment, folder)
        self.services.append(service)
        return service

    def consumer(self) -> Service:
        return self.start("consume")

    # ---- messages

    def reference(self, url: str, mode: Mode = "upscale", scale: Scale = 2) -> ImageReference:
        return ImageReference(
            image_id=image_id_of(mode, scale, url),
            url=url,
            source=url,
            mode=mode,
            scale=scale,
            requested_at=NOON,
        )

    def offer(
        self,
        count: int = 1,
        name: str = "good",
        mode: Mode = "upscale",
        scale: Scale = 2,
        **how: Any,
    ) -> list[ImageReference]:
        """References to so many good images, which the HTTP server serves from now on."""
        offered = []
        for number in range(count):
            seed = len(self.good)
            content = pillow(photo(40 + seed % 7, 48, seed=seed), "PNG")
            url = self.source.serve(f"/{name}-{number}.png", content, **how)
            reference = self.reference(url, mode, scale)
            self.good[reference.image_id] = reference, content
            offered.append(reference)
        return offered

    def publish(self, *references: ImageReference, times: int = 1) -> None:
        """Publishes references as the producer does."""
        for _ in range(times):
            self.send(
                *((each.image_id.encode(), each.to_message().encode()) for each in references)
            )

    def send(self, *messages: tuple[bytes | None, bytes | None], headers: Headers = ()) -> None:
        """Sends arbitrary messages to the topic and waits until all are acknowledged."""
        from confluent_kafka import Producer

        failures: list[object] = []
        conf = {"bootstrap.servers": self.broker.bootstrap, "acks": "all"}
        producer = Producer(conf | {"message.max.bytes": 2 << 20})
        for key, value in messages:
            producer.produce(
                self.topic,
                value,
                key,
                headers=list(headers),
                on_delivery=lambda error, _: failures.append(error) if error else None,
            )
        left = producer.flush(PATIENCE)
        assert (failures, left) == ([], 0)

    def sent(self) -> list["Message"]:
        """Every message of the topic."""
        return all_messages(self.broker, self.topic, PARTITIONS)

    def dead_letters(self) -> list["Message"]:
        """Every message of the dead-letter topic."""
        return all_messages(self.broker, self.dead_topic, 1)

    # ---- results

    @property
    def settings(self) -> Settings:
        dataset = {
            "high_resolution_dir": f"{self.base}/high",
            "low_resolution_dir": f"{self.base}/low",
            "reconstructed_images_dir": f"{self.base}/results",
        }
        return validated({"dataset": dataset}, "test")

    def layout(self, reference: ImageReference) -> Layout:
        date, scale = reference.ingest_date, reference.scale
        return layout_of(self.settings.dataset, default_run_id(date, scale), scale, date)

    def stored(self) -> set[str]:
        """The image_ids that are stored completely."""
        files: set[str] = set()
        for folder in ("low", "low-aside"):
            with suppress(StorageError):  # a test may have replaced the folder with a file
                files |= {file.name for file in storage.list_files(f"{self.base}/{folder}")}
        stems = {name.partition(".")[0] for name in files if not name.endswith(".json")}
        if storage.is_s3(self.base):  # where the reference is in the metadata of the image
            return stems
        return {stem for stem in stems if f"{stem}.json" in files}

    def rejected(self) -> dict[str, RejectedImage]:
        """The records of rejected images, by image_id."""
        files = storage.list_files(f"{self.base}/results/rejected")
        records = (RejectedImage.from_json(storage.read_bytes(file.uri)) for file in files)
        return {record.image_id: record for record in records}

    def settle(self, seconds: float = SETTLED_SECONDS) -> None:
        """Waits until every message is committed, and checks what is stored and rejected."""

        def all_committed() -> bool:
            try:
                committed, ends = self.watch.committed(), self.watch.ends()
            except self.watch.failure:
                return False
            return all(committed.get(number, 0) == end for number, end in ends.items())

        until(all_committed, seconds)
        self.watch.check()
        assert not self.watch.violations, self.watch.violations[:3]
        assert self.watch.checks > 0
        self._check_stored()
        rejected = self.rejected()
        assert rejected.keys() == self.bad.keys(), rejected
        for image_id, reason in self.bad.items():
            assert reason in rejected[image_id].reason, rejected[image_id]
            assert rejected[image_id].stage == "ingest"

    def _check_stored(self) -> None:
        """Checks that each image is stored once, unchanged and with its reference, and no more."""
        wanted = {}
        for reference, content in self.good.values():
            layout, name = self.layout(reference), reference.image_id
            low = storage.join(layout.low_resolution, name)
            assert reference_of(f"{low}.png") == reference
            if not storage.is_s3(self.base):
                wanted[f"{low}.json"] = reference.to_json().encode()
            if reference.mode == "upscale":
                wanted[f"{low}.png"] = content
            else:
                wanted[storage.join(layout.high_resolution, f"{name}.png")] = content
                planes = reduce_planes(decode(content, _LIMITS).planes(), reference.scale)
                wanted[f"{low}.png"] = planes.tobytes()
        found = {
            file.uri
            for folder in ("low", "high")
            for file in storage.list_files(f"{self.base}/{folder}", hidden=True)
        }
        assert found == wanted.keys(), found ^ wanted.keys()
        for uri, content in wanted.items():
            stored = storage.read_bytes(uri)
            if stored != content:
                assert uri.endswith(".png")
                assert "/low/" in uri
                reduced = np.ascontiguousarray(decode(stored, _LIMITS).planes())
                assert reduced.tobytes() == content
        results = storage.list_files(f"{self.base}/results", hidden=True)
        assert {file.name.partition(".")[0] for file in results} == self.bad.keys()

    def temporary_files(self) -> list[str]:
        """The temporary files that processes left behind."""
        return sorted(path.name for path in (self.scratch / "tmp").iterdir())


class Watch:
    """Checks that committed offsets are never ahead of what is stored.

    Reads the committed offsets first and storage second, so that an image that is finished in
    between is no violation.
    """

    def __init__(self, world: World, interval: float = 0.2) -> None:
        from confluent_kafka import Consumer, KafkaException

        self.failure = KafkaException
        self.violations: list[str] = []
        self.checks = 0
        self._world = world
        self._interval = interval
        conf = {"bootstrap.servers": world.broker.bootstrap, "group.id": world.topic}
        self._outsider = Consumer(conf | {"log_level": 2})
        self._ids: defaultdict[int, list[str]] = defaultdict(list)
        self._ended = Event()
        self._thread = Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._outsider.close()

    def committed(self) -> dict[int, int]:
        """The group's committed offset of each partition that has one."""
        from confluent_kafka import TopicPartition

        # With a consumer that has not joined: the AdminClient of confluent-kafka 2.16 crashes the
        # process when the broker dies during list_consumer_group_offsets.
        asked = [TopicPartition(self._world.topic, number) for number in range(PARTITIONS)]
        found = self._outsider.committed(asked, timeout=5)
        return {each.partition: each.offset for each in found if each.offset >= 0}

    def ends(self) -> dict[int, int]:
        """The offset after the last message of each partition."""
        return ends_of(self._outsider, self._world.topic, PARTITIONS)

    def check(self) -> None:
        """Checks once; raises KafkaException while the broker does not answer."""
        committed = self.committed()
        finished = self._world.stored()
        finished |= {
            file.stem for file in storage.list_files(f"{self._world.base}/results/rejected")
        }
        if any(len(self._ids[number]) < offset for number, offset in committed.items()):
            self._read()
        for number, end in committed.items():
            assert len(self._ids[number]) >= end
            for offset, image_id in enumerate(self._ids[number][:end]):
                if image_id not in finished:
                    message = f"{number}/{offset} ({image_id})"
                    self.violations.append(f"{message} is committed (up to {end}), not stored")
        self.checks += 1

    def _read(self) -> None:
        ids: defaultdict[int, list[str]] = defaultdict(list)
        for message in self._world.sent():
            number, offset = message.partition(), message.offset()
            assert number is not None
            assert offset == len(ids[number])  # the topics of these tests have no gaps
            ids[number].append(_image_id(message.value() or b""))
        self._ids = ids

    def _watch(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                self.check()
            except (self.failure, TimeoutError):
                continue  # the test has stopped the broker
            except BaseException as error:
                self.violations.append(f"the watch failed: {error!r}")
                return


def _image_id(value: bytes) -> str:
    try:
        reference = ImageReference.from_json(value)
        _ = reference.ingest_date
        return reference.image_id
    except (RecordError, OverflowError):  # OverflowError: no such date in UTC
        return unreadable_id(value)


def unreadable_id(value: bytes) -> str:
    """The image_id of the rejection of a message that is not a reference."""
    return image_id_of("evaluate", 2, f"message:{value.hex()}")


def ends_of(consumer: "Consumer", topic: str, partitions: int) -> dict[int, int]:
    """The offset after the last message of each partition."""
    from confluent_kafka import TopicPartition

    asked = [TopicPartition(topic, number) for number in range(partitions)]
    return {
        each.partition: consumer.get_watermark_offsets(each, timeout=5, cached=False)[1]
        for each in asked
    }


def all_messages(broker: Broker, topic: str, partitions: int) -> list["Message"]:
    """Every message of a topic; in order within a partition."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    conf = {"bootstrap.servers": broker.bootstrap, "group.id": "none", "enable.auto.commit": False}
    consumer = Consumer(conf | {"log_level": 2})
    found: list[Message] = []
    try:
        ends = ends_of(consumer, topic, partitions)
        left = {number: end for number, end in ends.items() if end}
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in left])
        deadline = time.monotonic() + PATIENCE
        while left:
            message = consumer.poll(0.2)
            assert time.monotonic() < deadline, f"{topic} could not be read to its end"
            if message is None or message.error() is not None:
                continue
            number, offset = message.partition(), message.offset()
            assert number is not None
            assert offset is not None
            found.append(message)
            if number in left and offset + 1 >= left[number]:
                del left[number]
        return found
    finally:
        consumer.close()
