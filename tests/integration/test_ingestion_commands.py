"""Publishing to a real broker, and what the commands of ingestion say and return."""

import json
import os
import pty
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from ingestion import producer
from ingestion.producer import Pace, Published, publish
from ingestion.references import Wanted
from superres.errors import SuperresError
from superres.pipeline import storage
from superres.pipeline.config import Kafka
from superres.pipeline.records import ImageReference
from tests.support.http_server import HttpServer, until
from tests.support.image_files import photo, pillow
from tests.support.ingestion_processes import all_messages
from tests.support.kafka_broker import PATIENCE, free_port
from tests.support.processes import SUPERRES, Service
from tests.support.source_reading import WANTED

# ---- publishing


class Listed:
    """A source of so many references, of which some units fail."""

    def __init__(self, count: int, failing: Sequence[int] = (), endless: bool = False) -> None:
        self.count, self.failing, self.endless = count, failing, endless

    def units(self, stop: Event) -> Iterator[int]:
        yield from range(self.count)
        while self.endless and not stop.wait(0.05):
            pass

    def references(self, unit: int) -> list[ImageReference]:
        if unit in self.failing:
            raise SuperresError(f"unit {unit} is broken")
        return [WANTED.reference(f"{unit}", f"https://example.org/{unit}.jpg", "test")]


class Slow(Listed):
    """One whose units after the first come after a while, all at once."""

    def units(self, stop: Event) -> Iterator[int]:
        yield 0
        stop.wait(2.5)
        yield from range(1, self.count)


@pytest.fixture
def kafka(broker: Any) -> Kafka:
    topic = broker.create_topic(partitions=1)
    return Kafka(bootstrap_servers=broker.bootstrap, topic=topic, dead_letter_topic=topic)


@pytest.mark.kafka
def test_every_reference_is_published_under_its_id(broker, kafka):
    told: list[int] = []
    done = publish(
        Listed(50), kafka, 4, Event(), told=lambda so_far: told.append(so_far.references)
    )
    assert (done.references, done.acknowledged, done.failed) == (50, 50, 0)
    messages = all_messages(broker, kafka.topic, 1)
    found = [ImageReference.from_json(message.value() or b"") for message in messages]
    assert [each.url for each in found] == [f"https://example.org/{n}.jpg" for n in range(50)]
    keys = [message.key() for message in messages]
    assert keys == [reference.image_id.encode() for reference in found]
    assert told[-1] == 50


@pytest.mark.kafka
def test_units_that_fail_are_counted_and_the_first_told(broker, kafka):
    done = publish(Listed(60, failing=range(10, 50)), kafka, 4, Event())
    assert (done.references, done.acknowledged, done.failed) == (20, 20, 40)
    assert done.failures == [f"unit {number} is broken" for number in range(10, 30)]


def test_what_is_kept_of_failures_is_bounded():
    published = Published()
    for number in range(10_000):
        published.fail(f"{number}")
    assert published.failed == 10_000
    assert published.failures == [f"{number}" for number in range(20)]


@pytest.mark.kafka
def test_a_limit_ends_it_exactly(broker, kafka):
    stop = Event()
    assert publish(Listed(50, endless=True), kafka, 4, stop, Pace(limit=7)).acknowledged == 7
    assert stop.is_set()
    assert len(all_messages(broker, kafka.topic, 1)) == 7


@pytest.mark.kafka
def test_a_rate_bounds_what_is_published(kafka):
    began = time.monotonic()
    assert publish(Listed(21), kafka, 4, Event(), Pace(rate=20)).acknowledged == 21
    assert 0.99 <= time.monotonic() - began < 5


@pytest.mark.kafka
def test_time_that_a_source_let_pass_makes_no_burst(kafka):
    began = time.monotonic()
    assert publish(Slow(41), kafka, 4, Event(), Pace(rate=20)).acknowledged == 41
    assert time.monotonic() - began >= 3.4


@pytest.mark.kafka
def test_a_stop_ends_a_source_without_end(kafka):
    stop = Event()

    def told(so_far: Published) -> None:
        if so_far.references == 10:
            stop.set()

    assert publish(Listed(10, endless=True), kafka, 4, stop, told=told).acknowledged == 10


@pytest.mark.kafka
def test_a_reference_too_large_for_kafka_is_told_and_the_others_go(broker, kafka):
    class Large(Listed):
        def references(self, unit: int) -> list[ImageReference]:
            url = f"https://example.org/{'x' * (2_000_000 if unit == 1 else 1)}"
            return [Wanted("upscale", 2).reference(f"{unit}", url, "test")]

    done = publish(Large(3), kafka, 2, Event())
    assert (done.acknowledged, done.failed) == (2, 1)
    assert "size" in done.failures[0].lower()


def test_a_stop_without_a_broker_does_not_wait_long_for_it(monkeypatch):
    monkeypatch.setattr(producer, "_FLUSH_SECONDS_AT_STOP", 0.3)
    stop = Event()

    def told(so_far: Published) -> None:
        if so_far.references == 3:
            stop.set()

    port = free_port()
    nowhere = Kafka(bootstrap_servers=f"127.0.0.1:{port}")
    began = time.monotonic()
    done = publish(Listed(3, endless=True), nowhere, 2, stop, told=told)
    assert time.monotonic() - began < 10
    assert (done.acknowledged, done.failed) == (0, 3)
    (line,) = done.failures
    assert re.fullmatch(
        rf"3 references were not acknowledged \(.*127\.0\.0\.1:{port}.*refused.*\); "
        "produce them again",
        line,
    )


# ---- commands


def superres(folder: Path, settings: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and complaints of a command that runs to its end."""
    done = subprocess.run(
        [SUPERRES, *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **settings},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def only_line(text: str) -> str:
    (line,) = text.splitlines()
    return line


@pytest.mark.kafka
@pytest.mark.parametrize("command", [("produce", "."), ("ingest", "."), ("consume",)])
def test_an_unknown_topic_is_one_line(broker, tmp_path, command):
    settings = broker.environment | {"SUPERRES_KAFKA__TOPIC": "misspelt"}
    code, output, complaint = superres(tmp_path, settings, *command)
    assert (code, output) == (1, "")
    assert "has no topic 'misspelt'; create it" in only_line(complaint)


@pytest.mark.kafka
@pytest.mark.parametrize("command", ["produce", "ingest"])
def test_a_bad_source_is_one_line(broker, tmp_path, command):
    code, output, complaint = superres(tmp_path, broker.environment, command, "ftp://a/b")
    assert (code, output) == (1, "")
    assert only_line(complaint).startswith("superres: ftp://a/b: no source of this kind")
    assert superres(tmp_path, broker.environment, command)[0] == 2


@pytest.mark.kafka
def test_a_taken_port_is_one_line(broker, tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        settings = broker.environment | {"SUPERRES_INGESTION__CONSUMER_PORT": port}
        code, _, complaint = superres(tmp_path, settings, "consume")
    assert code == 1
    assert only_line(complaint).startswith(f"superres: port {port} of 127.0.0.1")


@pytest.mark.slow
def test_no_broker_is_one_line(tmp_path):
    settings = {"SUPERRES_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}
    began = time.monotonic()
    code, output, complaint = superres(tmp_path, settings, "produce", ".")
    assert (code, output) == (1, "")
    assert "does not answer" in only_line(complaint)
    assert time.monotonic() - began < 40


@pytest.mark.kafka
def test_a_list_with_bad_lines_publishes_the_others_and_exits_with_1(broker, tmp_path):
    topic = broker.create_topic(partitions=1)
    (tmp_path / "list.txt").write_text("https://example.org/a.jpg\nnonsense\n")
    settings = broker.environment | {
        "SUPERRES_KAFKA__TOPIC": topic,
        "SUPERRES_KAFKA__DEAD_LETTER_TOPIC": topic,
    }
    code, output, complaint = superres(tmp_path, settings, "produce", "list.txt")
    assert (code, output) == (1, f"1 references published on {topic}\n")
    assert "list.txt, line 2" in only_line(complaint)


@pytest.mark.kafka
@pytest.mark.parametrize("good", [True, False])
def test_ingest_brings_all_in_and_tells_of_what_it_could_not(broker, tmp_path, good):
    topic = broker.create_topic(partitions=2)
    with HttpServer() as source:
        source.serve("/a.gif", b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;")
        lines = [source.url("/a.gif")] + ([] if good else [source.url("/missing.png")])
        (tmp_path / "list.txt").write_text("\n".join(lines))
        settings = broker.environment | {
            "SUPERRES_KAFKA__TOPIC": topic,
            "SUPERRES_KAFKA__GROUP": topic,
            "SUPERRES_INGESTION__CONSUMER_PORT": "0",
            "SUPERRES_INGESTION__ALLOWED_HOSTS": json.dumps([source.host]),
        }
        command = ("ingest", "list.txt", "--mode", "upscale")
        code, output, complaint = superres(tmp_path, settings, *command)
    if good:
        assert (code, output) == (0, "1 images brought in\n"), complaint
    else:
        told = "1 images brought in, 1 rejected: see rejected/ below the results\n"
        assert (code, output) == (3, told), complaint
    assert len(storage.list_files(str(tmp_path / "data" / "low_resolution"))) == 2
    assert len(storage.list_files(str(tmp_path / "data" / "results"))) == (not good)


@pytest.mark.kafka
def test_until_idle_ends_when_all_is_finished(broker, tmp_path):
    topic = broker.create_topic(partitions=2)
    settings = broker.environment | {
        "SUPERRES_KAFKA__TOPIC": topic,
        "SUPERRES_KAFKA__GROUP": topic,
        "SUPERRES_INGESTION__CONSUMER_PORT": "0",
    }
    broker.send(topic, b"nonsense")
    code, output, _ = superres(tmp_path, settings, "consume", "--until-idle")
    assert (code, output) == (0, "0 images stored, 1 rejected\n")
    assert superres(tmp_path, settings, "consume", "--until-idle")[1].startswith("0 images")


@pytest.mark.kafka
def test_an_image_that_comes_again_is_counted_once(broker, tmp_path):
    topic = broker.create_topic(partitions=1)
    with HttpServer() as source:
        url = source.serve("/a.png", pillow(photo(20, 30), "PNG"))
        reference = WANTED.reference("a", url, "test").to_json().encode()
        broker.send(topic, reference, reference)
        settings = broker.environment | {
            "SUPERRES_KAFKA__TOPIC": topic,
            "SUPERRES_KAFKA__GROUP": topic,
            "SUPERRES_INGESTION__CONSUMER_PORT": "0",
            "SUPERRES_INGESTION__THREADS": "1",
            "SUPERRES_INGESTION__ALLOWED_HOSTS": json.dumps([source.host]),
        }
        code, output, complaint = superres(tmp_path, settings, "consume", "--until-idle")
    assert (code, output) == (0, "1 images stored, 0 rejected\n"), complaint


@pytest.fixture
def service(broker: Any, tmp_path: Path) -> Iterator[tuple[Service, dict[str, str]]]:
    """A consumer that has the only partition of its topic, and what it was configured with."""
    topic = broker.create_topic(partitions=1)
    dead = broker.create_topic(partitions=1)
    settings = broker.environment | {
        "SUPERRES_KAFKA__TOPIC": topic,
        "SUPERRES_KAFKA__DEAD_LETTER_TOPIC": dead,
        "SUPERRES_KAFKA__GROUP": topic,
        "SUPERRES_INGESTION__CONSUMER_PORT": str(free_port()),
    }
    running = Service(["consume"], settings, tmp_path / "service")
    try:
        until(running.ready, PATIENCE)
        yield running, settings
    finally:
        running.kill()


@pytest.mark.kafka
def test_until_idle_ends_beside_a_consumer_that_has_every_partition(broker, tmp_path, service):
    _, settings = service
    broker.send(settings["SUPERRES_KAFKA__TOPIC"], b"nonsense")
    own = settings | {"SUPERRES_INGESTION__CONSUMER_PORT": "0"}
    code, output, complaint = superres(tmp_path, own, "consume", "--until-idle")
    assert (code, output) == (0, "0 images stored, 0 rejected\n"), complaint


@pytest.mark.kafka
def test_ingest_and_a_consumer_that_runs_as_a_service_leave_each_other_alone(
    broker, tmp_path, service
):
    running, settings = service
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(pillow(photo(20, 30), "PNG"))
    code, output, complaint = superres(tmp_path, settings, "ingest", "~/pictures")
    assert (code, output) == (0, "1 images brought in\n"), complaint
    # What comes after it on the only partition is rejected, and nothing else was.
    broker.send(settings["SUPERRES_KAFKA__TOPIC"], b"nonsense")
    until(lambda: running.metric("rejected_total") == 1, PATIENCE)
    assert running.metric("messages_total") == 1
    assert len(all_messages(broker, settings["SUPERRES_KAFKA__DEAD_LETTER_TOPIC"], 1)) == 1


@pytest.mark.kafka
@pytest.mark.parametrize("command", ["produce", "ingest"])
def test_on_a_terminal_there_is_a_bar(broker, tmp_path, command):
    topic = broker.create_topic(partitions=2)
    settings = broker.environment | {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "SUPERRES_KAFKA__TOPIC": topic,
        "SUPERRES_KAFKA__GROUP": topic,
        "SUPERRES_INGESTION__CONSUMER_PORT": "0",
    }
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [SUPERRES, command, "samples:", "--mode", "upscale"],
        env=settings,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # EIO: nobody has the terminal open any more
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    output, _ = done.communicate(timeout=60)
    assert done.returncode == 0, shown
    assert output.startswith(b"8 ")
    assert b"Traceback" not in shown
    assert (b"Publishing" if command == "produce" else b"Bringing in") in shown


@pytest.mark.kafka
def test_ingest_leaves_alone_what_others_left_on_the_topic(broker, tmp_path):
    topic = broker.create_topic(partitions=2)
    settings = broker.environment | {
        "SUPERRES_KAFKA__TOPIC": topic,
        "SUPERRES_KAFKA__GROUP": topic,
        "SUPERRES_INGESTION__CONSUMER_PORT": "0",
    }
    broker.send(topic, b"of another", b"and another")
    code, output, complaint = superres(tmp_path, settings, "ingest", "samples:")
    assert (code, output) == (0, "8 images brought in\n"), complaint
