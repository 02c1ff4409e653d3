"""What a dead letter has of its message: everything but the secrets of URLs."""

import json
from threading import Event
from typing import Any

import pytest

from ingestion.consumer import dead_letters
from ingestion.consumer.dead_letters import DeadLetters
from superres.pipeline.config import Kafka
from superres.pipeline.records import RejectedImage
from tests.support.references import image_reference
from tests.support.source_reading import NOON

SECRET = "s3cr3t"
URL = f"https://me:{SECRET}@example.org/a.jpg?X-Amz-Signature={SECRET}"
RECORD = RejectedImage(
    image_id="a" * 32, source="test", stage="ingest", reason=f"{URL}: 404", rejected_at=NOON
)


class FakeProducer:
    """Acknowledges every message at once, and keeps it."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes | None, bytes | None, list[tuple[str, Any]]]] = []

    def produce(self, topic: str, value: Any, key: Any, *, headers: Any, on_delivery: Any) -> None:
        self.sent.append((value, key, headers))
        on_delivery(None, None)


def sent(
    monkeypatch: pytest.MonkeyPatch, value: bytes, *, keep_urls: bool = False, key: bytes = b"key"
) -> tuple[bytes | None, bytes | None, dict[str, Any]]:
    """The dead letter of a message: its value, key and headers."""
    producer = FakeProducer()
    monkeypatch.setattr(dead_letters, "Producer", lambda _: producer)
    letters = DeadLetters(Kafka(dead_letters_keep_urls=keep_urls), Event())
    assert letters.send(key, value, [("from", URL.encode())], RECORD, "images-topic/0/7")
    ((content, sent_key, headers),) = producer.sent
    return content, sent_key, dict(headers)


def test_a_dead_letter_has_its_reference_without_secrets(monkeypatch):
    reference = image_reference(url=URL)
    message = json.dumps({**json.loads(reference.to_message()), "of": {"a newer": [URL, 7]}})
    value, key, headers = sent(monkeypatch, message.encode(), key=URL.encode())
    content = json.loads(value or b"")
    assert content["image_id"] == reference.image_id
    assert content["url"].startswith("https://example.org/a.jpg#")
    assert content["of"]["a newer"][1] == 7
    assert headers["origin"] == "images-topic/0/7"
    assert headers["from"].startswith(b"https://example.org/a.jpg#")
    assert SECRET not in f"{value!r}{key!r}{headers}"


@pytest.mark.parametrize("value", [URL.encode(), b"", b"\xff" + URL.encode(), b"[" * 100_000])
def test_what_is_no_json_is_left_out(monkeypatch, value):
    content, _, headers = sent(monkeypatch, value)
    assert content is None
    assert headers["left_out"] == "the value, which may hold a secret"
    assert SECRET not in str(headers)


@pytest.mark.parametrize("value", [URL.encode(), image_reference(url=URL).to_message().encode()])
def test_urls_are_kept_where_the_configuration_says_so(monkeypatch, value):
    content, _, headers = sent(monkeypatch, value, keep_urls=True)
    assert content == value
    assert headers["from"] == URL.encode()
    assert SECRET not in headers["reason"]


def test_a_key_that_is_no_text_stays(monkeypatch):
    assert sent(monkeypatch, b"{}", key=b"\xff\x00")[1] == b"\xff\x00"
