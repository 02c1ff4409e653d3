"""Publishing to a real broker."""

import time
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from ingestion.producer import Pace, Published, publish
from ingestion.references import Wanted
from superres.pipeline.config import Kafka
from superres.pipeline.records import ImageReference
from tests.support.ingestion_processes import all_messages
from tests.support.source_reading import NumberedSource

pytestmark = pytest.mark.kafka


class SlowSource(NumberedSource):
    """One whose units after the first arrive after a while, all at once."""

    def units(self, stop: Event) -> Iterator[int]:
        yield 0
        stop.wait(2.5)
        yield from range(1, self.count)


@pytest.fixture
def kafka(broker: Any) -> Kafka:
    topic = broker.create_topic(partitions=1)
    return Kafka(bootstrap_servers=broker.bootstrap, topic=topic, dead_letter_topic=topic)


def test_every_reference_is_published_with_its_image_id_as_key(broker, kafka):
    counts: list[int] = []
    done = publish(
        NumberedSource(50),
        kafka,
        4,
        Event(),
        on_progress=lambda so_far: counts.append(so_far.references),
    )
    assert (done.references, done.acknowledged, done.failed) == (50, 50, 0)
    messages = all_messages(broker, kafka.topic, 1)
    found = [ImageReference.from_json(message.value() or b"") for message in messages]
    assert [each.url.full for each in found] == [f"https://example.org/{n}.jpg" for n in range(50)]
    keys = [message.key() for message in messages]
    assert keys == [reference.image_id.encode() for reference in found]
    assert counts[-1] == 50


def test_failed_units_are_counted_and_the_first_reported(broker, kafka):
    done = publish(NumberedSource(60, failing=range(10, 50)), kafka, 4, Event())
    assert (done.references, done.acknowledged, done.failed) == (20, 20, 40)
    assert done.failures == [f"unit {number} is broken" for number in range(10, 30)]


def test_a_limit_is_met_exactly(broker, kafka):
    stop = Event()
    source = NumberedSource(50, endless=True)
    assert publish(source, kafka, 4, stop, Pace(limit=7)).acknowledged == 7
    assert stop.is_set()
    assert len(all_messages(broker, kafka.topic, 1)) == 7


def test_a_rate_is_not_exceeded(kafka):
    start = time.monotonic()
    assert publish(NumberedSource(21), kafka, 4, Event(), Pace(rate=20)).acknowledged == 21
    assert 0.99 <= time.monotonic() - start < 5


def test_a_slow_source_is_not_caught_up_with_in_a_burst(kafka):
    start = time.monotonic()
    assert publish(SlowSource(41), kafka, 4, Event(), Pace(rate=20)).acknowledged == 41
    assert time.monotonic() - start >= 3.4


def test_a_stop_ends_an_endless_source(kafka):
    stop = Event()

    def stop_after_ten(so_far: Published) -> None:
        if so_far.references == 10:
            stop.set()

    source = NumberedSource(10, endless=True)
    assert publish(source, kafka, 4, stop, on_progress=stop_after_ten).acknowledged == 10


def test_a_url_that_is_too_long_is_reported_and_the_others_are_published(broker, kafka):
    class Large(NumberedSource):
        def references(self, unit: int) -> list[ImageReference]:
            url = f"https://example.org/{'x' * (2_000_000 if unit == 1 else 1)}"
            return [Wanted("upscale", 2).reference(f"{unit}", url, "test")]

    done = publish(Large(3), kafka, 2, Event())
    assert (done.acknowledged, done.failed) == (2, 1)
    assert done.failures == ["test: url: longer than 65,536 characters"]
