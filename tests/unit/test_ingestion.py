"""The parts of ingestion one by one; test_ingestion_faults.py runs the whole."""

import base64
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from confluent_kafka import TopicPartition
from prometheus_client import CollectorRegistry

from ingestion import topics
from ingestion.consumer import consumer, dead_letters
from ingestion.consumer.consumer import ImageConsumer, Partition
from ingestion.consumer.dead_letters import DeadLetters
from ingestion.consumer.fetching import Fetcher, fetcher_of
from ingestion.consumer.handling import (
    Assignment,
    Delivery,
    Dropped,
    Finished,
    Handler,
    Later,
    Remembered,
)
from ingestion.consumer.prometheus_metrics import new_metrics
from ingestion.retries import FetchError, error_of_status, wait_before
from ingestion.topics import FOR_GROUP, client_conf, require_topics
from superres.errors import (
    ConfigError,
    ForbiddenUrlError,
    ImageRejectedError,
    PrerequisiteError,
    StorageError,
)
from superres.pipeline import storage
from superres.pipeline.config import Kafka, validated
from superres.pipeline.records import RejectedImage
from superres.service.health import health_server
from superres.service.public_http import Client
from tests.support.http_server import HttpSource
from tests.support.kafka_broker import free_port
from tests.support.source_reading import NOON, WANTED

# ---- fetching


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "a b.png").write_bytes(b"content")
    (tmp_path / "outside.png").write_bytes(b"secret")
    return folder


@pytest.fixture
def fetcher(inside: Path) -> Iterator[Fetcher]:
    with closing(Client()) as client:
        yield Fetcher(client, (inside,), frozenset({"ours"}), max_bytes=100, seconds=5)


def fetched(fetcher: Fetcher, url: str) -> bytes:
    with fetcher.fetched(url) as content:
        return content.read_bytes() if isinstance(content, Path) else content


def test_a_file_under_a_root_is_read(fetcher, inside):
    assert fetched(fetcher, f"file://{inside}/a%20b.png") == b"content"
    assert fetched(fetcher, f"FILE://localhost{inside}/../inside/a%20b.png") == b"content"
    (inside / "link.png").symlink_to(inside / "a b.png")
    assert fetched(fetcher, f"file://{inside}/link.png") == b"content"


def test_nothing_outside_the_roots_is_read_nor_told_of(fetcher, inside):
    (inside / "link.png").symlink_to(inside.parent / "outside.png")
    (inside / "up").symlink_to(inside.parent)
    for path in ("link.png", "../outside.png", "%2e%2e/outside.png", "up/outside.png", "../none"):
        with pytest.raises(ForbiddenUrlError, match="outside the folders"):
            fetched(fetcher, f"file://{inside}/{path}")
    for beside in (f"{inside}-beside/a.png", "/etc/passwd", "/proc/self/environ"):
        with pytest.raises(ForbiddenUrlError, match="outside the folders"):
            fetched(fetcher, f"file://{beside}")
    with pytest.raises(ForbiddenUrlError, match="another machine"):
        fetched(fetcher, f"file://elsewhere{inside}/a%20b.png")


def test_what_is_no_file_is_not_tried_again(fetcher, inside):
    (inside / "circle").symlink_to(inside / "circle")
    for path in ("missing.png", "circle", "a%20b.png/x", "%00", "x" * 300):
        with pytest.raises(FetchError, match="no such file") as caught:
            fetched(fetcher, f"file://{inside}/{path}")
        assert not caught.value.again
    with pytest.raises(FetchError, match="not a file"):
        fetched(fetcher, f"file://{inside}")
    with pytest.raises(FetchError, match="no such file"):
        fetched(fetcher, "file://[/a.png")


def test_a_file_larger_than_allowed_is_rejected(fetcher, inside):
    (inside / "large.png").write_bytes(bytes(101))
    with pytest.raises(ImageRejectedError, match="more than 100 bytes"):
        fetched(fetcher, f"file://{inside}/large.png")


def test_only_objects_in_allowed_buckets_are_fetched(fetcher):
    for url in ("s3://theirs/a.png", "s3://", "s3:///a.png", "s3:ours/a.png", "S3://ours/a.png"):
        with pytest.raises(ForbiddenUrlError, match=r"ingestion\.s3_buckets"):
            fetched(fetcher, url)


def test_an_object_that_s3_will_not_give_is_no_failing_storage(fetcher, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    storage._s3_client.cache_clear()
    try:
        with pytest.raises(FetchError, match="s3://ours/") as caught:
            fetched(fetcher, "s3://ours/a.png")
        assert caught.value.again
    finally:
        storage._s3_client.cache_clear()


def test_a_large_download_goes_through_a_file_that_ends_with_it(inside, monkeypatch):
    monkeypatch.setattr("ingestion.consumer.fetching._IN_MEMORY", 10)
    with HttpSource() as source, closing(Client({source.host})) as client:
        url = source.serve("/a.png", b"0123456789" * 2)
        fetcher = Fetcher(client, (), frozenset(), max_bytes=100, seconds=5)
        with fetcher.fetched(url) as content:
            assert isinstance(content, Path)
            assert content.read_bytes() == b"0123456789" * 2
        assert not content.exists()


def test_a_disk_that_is_full_is_storage_that_fails(monkeypatch, tmp_path):
    monkeypatch.setattr("ingestion.consumer.fetching._IN_MEMORY", 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with HttpSource() as source, closing(Client({source.host})) as client:
        url = source.serve("/a.png", bytes(20))
        fetcher = Fetcher(client, (), frozenset(), max_bytes=100, seconds=5)
        with pytest.raises(StorageError, match="cannot write"):
            fetched(fetcher, url)


@pytest.mark.parametrize(
    ("uploads", "url"), [("uploads", "file://{}/uploads/a.png"), ("s3://kept/up", "s3://kept/x")]
)
def test_uploads_may_always_be_fetched(tmp_path, monkeypatch, uploads, url):
    monkeypatch.chdir(tmp_path)
    settings = validated({"ingestion": {"uploads_dir": uploads}}, "test")
    with closing(Client()) as client:
        made = fetcher_of(settings, client)
    if storage.is_s3(uploads):
        assert made.buckets == {"kept"}
    else:
        with pytest.raises(FetchError, match="no such file"):
            fetched(made, url.format(tmp_path))


# ---- retries


def test_retry_after_may_be_a_date():
    moment = datetime.now(UTC) + timedelta(seconds=40)
    after = error_of_status("http://a/", 503, format_datetime(moment, usegmt=True)).after
    assert after is not None
    assert 35 < after <= 40


def test_only_failures_that_may_pass_are_tried_again():
    again = {code for code in range(200, 600) if error_of_status("", code, None).again}
    assert again == {408, 425, 429, 500, 502, 503, 504}


def test_waits_double_within_bounds():
    assert [wait_before(attempt, None, spread=0.5) for attempt in (2, 3, 4)] == [1, 2, 4]
    assert wait_before(2, None, spread=0.0) == 0.5
    assert wait_before(2, 7.0, spread=0.0) == 7
    assert wait_before(4, 1.0, spread=0.5) == 4
    assert wait_before(2, float("inf")) == wait_before(50, None) == 60


# ---- what a consumer remembers and tells


def test_the_oldest_image_is_forgotten():
    remembered = Remembered(most=2)
    for image_id in ("a", "b", "b", "c"):
        remembered.add(image_id)
    assert [image_id in remembered for image_id in "abc"] == [False, True, True]


def asked(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_metrics_and_health_are_served():
    metrics = new_metrics()
    metrics.stored.inc(3)
    complaint = {"ready": "no partitions yet"}
    with health_server(0, metrics.registry, lambda: "", lambda: complaint["ready"]) as port:
        assert asked(port, "/healthz") == (200, "ok\n")
        assert asked(port, "/readyz?full") == (503, "no partitions yet\n")
        complaint["ready"] = ""
        assert asked(port, "/readyz") == (200, "ok\n")
        assert "superres_ingestion_stored_total 3.0\n" in asked(port, "/metrics")[1]
        assert asked(port, "/")[0] == 404
    with pytest.raises(ConnectionRefusedError):
        asked(port, "/healthz")


def test_a_taken_port_is_told_with_the_remedy():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        server = health_server(port, CollectorRegistry(), lambda: "", lambda: "")
        with pytest.raises(PrerequisiteError, match=rf"{port} .*ingestion\.consumer_port"), server:
            pass


# ---- connections


def test_plaintext_needs_nothing():
    conf = client_conf(Kafka(bootstrap_servers="a:1,b:2"))
    assert conf["bootstrap.servers"] == "a:1,b:2"
    assert "security.protocol" not in conf


def test_sasl_takes_its_secrets_from_the_environment(monkeypatch):
    kafka = Kafka(security="sasl_ssl", ca_file="/ca.pem")
    monkeypatch.setenv("SUPERRES_KAFKA_USERNAME", "ada")
    monkeypatch.delenv("SUPERRES_KAFKA_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match="SUPERRES_KAFKA_PASSWORD in the environment") as caught:
        client_conf(kafka)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("SUPERRES_KAFKA_PASSWORD", "secret")
    conf = client_conf(kafka)
    assert conf["security.protocol"] == "SASL_SSL"
    assert conf["ssl.ca.location"] == "/ca.pem"
    assert (conf["sasl.username"], conf["sasl.password"]) == ("ada", "secret")


def test_iam_makes_a_token_for_its_region(monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"set kafka\.region"):
        client_conf(Kafka(security="iam"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    conf = client_conf(Kafka(security="iam", region="eu-central-1"))
    assert conf["sasl.mechanisms"] == "OAUTHBEARER"
    token, expires = conf["oauth_cb"]("")
    padding = "=" * (-len(token) % 4)
    url = urlsplit(base64.urlsafe_b64decode(token + padding).decode())
    assert url.netloc == "kafka.eu-central-1.amazonaws.com"
    assert parse_qs(url.query)["Action"] == ["kafka-cluster:Connect"]
    assert parse_qs(url.query)["X-Amz-Credential"][0].startswith("AKIDEXAMPLE/")
    assert 60 <= expires - time.time() <= 900


def test_no_broker_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setattr(topics, "_ANSWER_SECONDS", 1.0)
    with pytest.raises(PrerequisiteError, match=r"does not answer .*start\.sh"):
        require_topics(Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}"))


# ---- what nobody foresaw


class Letters:
    """Stands for the dead-letter topic; the real one is in test_ingestion_faults.py."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def send(self, key: Any, value: Any, headers: Any, record: RejectedImage, origin: str) -> bool:
        self.reasons.append(record.reason)
        return True


class Broken:
    """A fetcher with a bug."""

    def fetched(self, url: str) -> bytes:
        raise ZeroDivisionError(url)


def test_a_message_that_fails_unexpectedly_is_tried_again_and_then_rejected(place):
    letters, stop = Letters(), Event()
    parts: Any = (Broken(), letters, new_metrics(), stop)
    handler = Handler(place.settings, *parts)
    reference = WANTED.reference("a", "http://example.org/a.png", "test")
    first = Delivery(Assignment(), 0, 7, b"key", reference.to_json().encode(), NOON)
    assert isinstance(handler.handle(first), Later)
    assert letters.reasons == []
    last = replace(first, attempt=place.settings.ingestion.attempts + 1)
    assert handler.handle(last) == Finished()
    assert letters.reasons == ["it fails unexpectedly; the log tells how"]
    assert len(storage.list_files(place.layout.rejections)) == 1
    last.assignment.ending.set()
    assert handler.handle(last) == Dropped()


# ---- the books of a consumer


class Group:
    """Stands for a member of a Kafka group; the real one is in test_ingestion_faults.py."""

    def __init__(self, committed: int = -1001, span: tuple[int, int] = (0, 5)) -> None:
        self._committed, self._span = committed, span

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        return self._span

    def position(self, asked: list[TopicPartition]) -> list[TopicPartition]:
        return asked  # as long as nothing has come, it is not known

    def committed(self, asked: list[TopicPartition], _: float) -> list[TopicPartition]:
        return [TopicPartition(each.topic, each.partition, self._committed) for each in asked]

    def list_topics(self, topic: str, _: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=[0, 1])})

    def incremental_unassign(self, _: list[TopicPartition]) -> None: ...


class Idle:
    """A pool that never begins."""

    def submit(self, _: Any) -> None: ...


def message(offset: int, value: bytes = b"", headers: Any = None) -> Any:
    told = {"partition": 0, "offset": offset, "key": b"key", "value": value, "headers": headers}
    told |= {"error": None, "timestamp": (0, 0)}
    return SimpleNamespace(**{name: lambda found=found: found for name, found in told.items()})


def books(place: Any, group: Any = None, **how: Any) -> Any:
    """A consumer that has partition 0, without a broker."""
    parts: Any = (Broken(), Letters(), new_metrics(), Event())
    kept: Any = ImageConsumer(Handler(place.settings, *parts), Event(), **how)
    kept._consumer, kept._pool = group or Group(), Idle()
    kept._partitions[0] = Partition()
    return kept


def ended() -> Event:
    event = Event()
    event.set()
    return event


def test_a_failing_storage_blocks_only_while_something_waits_for_it(place):
    kept = books(place)
    kept._handler.storage_health.failed("no disk")  # as its partition was taken from it, say
    assert kept._has_room()
    kept._take(message(7))
    assert not kept._has_room()
    assert kept.storage_failing == "no disk"
    delivery = Delivery(kept._partitions[0].assignment, 0, 7, b"key", b"", NOON)
    kept._settle(delivery, Dropped())
    assert kept._has_room()
    assert kept.storage_failing == ""


def test_large_messages_in_flight_are_bounded_by_their_bytes(place):
    kept = books(place)
    for offset in range(33):
        assert kept._has_room() == (offset < 32)
        kept._take(message(offset, bytes(1 << 20)))
    assert not kept._has_room(0.5)
    for offset in range(33):
        assignment = kept._partitions[0].assignment
        kept._settle(Delivery(assignment, 0, offset, b"key", bytes(1 << 20), NOON), Dropped())
    assert kept._bytes_in_flight == 0
    assert kept._has_room(0.5)


def test_lag_is_known_before_the_first_message(place):
    for committed, waiting in ((3, 2), (-1001, 5)):
        kept = books(place, Group(committed))
        kept._measure_lag()
        lag = kept._metrics.registry.get_sample_value("superres_ingestion_lag", {"partition": "0"})
        assert lag == waiting


def test_a_partition_that_went_is_not_waited_for(place):
    kept = books(place, last_sent=ended())
    kept._partitions[1] = Partition()
    kept._ends[1] = 5
    kept._forget([TopicPartition(place.settings.kafka.topic, 1)])
    assert not kept._done()
    kept._ends[0] = 5
    assert kept._done()


@pytest.mark.parametrize(
    ("committed", "span", "done"),
    [(5, (0, 5), True), (4, (0, 5), False), (-1001, (0, 5), False), (-1001, (5, 5), True)],
)
def test_without_a_partition_all_of_the_group_is_waited_for(place, committed, span, done):
    kept = books(place, Group(committed, span), last_sent=ended())
    kept._partitions.clear()
    assert kept._done() == done


@pytest.mark.parametrize("own_only", [False, True])
def test_a_message_for_another_group_is_passed_over(place, own_only):
    group = place.settings.kafka.group.encode()
    kept = books(place, own_only=own_only)
    kept._take(message(0, headers=[("trace", b"7"), (FOR_GROUP, b"another")]))
    assert (kept._in_flight, kept._partitions[0].offsets.to_commit()) == (0, 1)
    kept._take(message(1, headers=[(FOR_GROUP, group)]))
    assert kept._in_flight == 1
    kept._take(message(2, headers=[("trace", b"7")]))
    assert kept._in_flight == (1 if own_only else 2)


def test_a_broker_that_is_gone_is_told_and_does_not_hold_up_the_end(place, monkeypatch):
    monkeypatch.setattr(consumer, "_LEAVE_SECONDS", 0.1)
    monkeypatch.setattr(dead_letters, "_ANSWER_SECONDS", 0.1)
    kept, answered = books(place), Event()
    kept._consumer.close = lambda: answered.wait(10)
    began = time.monotonic()
    kept._leave()
    assert time.monotonic() - began < 5
    answered.set()
    kafka = Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}")
    assert "does not answer" in DeadLetters(kafka, Event()).ready()
