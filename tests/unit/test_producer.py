"""The producer without a broker."""

import re
import time
from threading import Event

from ingestion import producer
from ingestion.producer import Published, publish
from superres.pipeline.config import Kafka
from superres.service.supervisor import free_port
from tests.support.source_reading import NumberedSource


def test_only_the_first_failures_are_kept():
    published = Published()
    for number in range(10_000):
        published.add_failure(f"{number}")
    assert published.failed == 10_000
    assert published.failures == [f"{number}" for number in range(20)]


def test_only_the_first_remarks_are_kept_and_none_is_a_failure():
    published = Published()
    for number in range(10_000):
        published.add_remark(f"{number}")
    assert (published.failed, published.failures) == (0, [])
    assert published.remarks == [f"{number}" for number in range(20)]


def test_without_a_broker_a_stop_takes_effect_soon(monkeypatch):
    monkeypatch.setattr(producer, "_FLUSH_SECONDS_AT_STOP", 0.3)
    stop = Event()

    def stop_after_three(so_far: Published) -> None:
        if so_far.references == 3:
            stop.set()

    port = free_port()
    nowhere = Kafka(bootstrap_servers=f"127.0.0.1:{port}")
    start = time.monotonic()
    source = NumberedSource(3, endless=True)
    done = publish(source, nowhere, 2, stop, on_progress=stop_after_three)
    assert time.monotonic() - start < 10
    assert (done.acknowledged, done.failed) == (0, 3)
    (line,) = done.failures
    assert re.fullmatch(
        rf"3 references were not acknowledged \(.*127\.0\.0\.1:{port}.*refused.*\); "
        "produce them again",
        line,
    )
