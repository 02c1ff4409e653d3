"""Handling one message: one policy for fetching and storing, and no secret in what is recorded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import structlog

from ingestion.consumer import handling
from ingestion.consumer.handling import Handler
from ingestion.consumer.messages import Assignment, ReceivedMessage
from ingestion.consumer.outcomes import Abandoned, Finished, Outcome, RetryLater
from ingestion.consumer.prometheus_metrics import new_metrics
from ingestion.direct.storing import NoDeadLetters
from ingestion.retries import FetchError
from superres.errors import ForbiddenUrlError, StorageError
from superres.pipeline import storage
from superres.redaction import SecretUrl
from tests.conftest import RunSetup
from tests.support.source_reading import NOON, WANTED
from tests.support.upload_app import GOOD

SECRET = "s3cr3t"
URL = f"https://example.org/a.png?X-Amz-Signature={SECRET}"


class Fetcher:
    """Fetches a good image, after raising these errors; counts."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.fetches = 0
        self.open = 0

    @contextmanager
    def fetched(self, url: SecretUrl) -> Iterator[bytes | Path]:
        self.fetches += 1
        if self.errors:
            raise self.errors.pop(0)
        self.open += 1
        yield GOOD
        self.open -= 1


class Stop(Event):
    """Counts the pauses, and does not wait."""

    pauses = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses += 1
        return self.is_set()


def handled(
    setup: RunSetup, fetcher: Fetcher, url: str = URL, attempt: int = 1, stop: Event | None = None
) -> tuple[Outcome, Handler]:
    parts: Any = (fetcher, NoDeadLetters(), new_metrics(), stop or Stop())
    handler = Handler(setup.settings, *parts)
    value = WANTED.reference("a", url, url).to_message().encode()
    message = ReceivedMessage(Assignment(), 0, 7, b"key", value, NOON, attempt=attempt)
    return handler.handle(message), handler


@pytest.fixture
def failing_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a function of the handler raise for storage the first time."""

    def fail(name: str) -> None:
        real = getattr(handling, name)
        failed: list[bool] = []

        def replaced(*arguments: Any) -> Any:
            if not failed:
                failed.append(True)
                raise StorageError("no room")
            return real(*arguments)

        monkeypatch.setattr(handling, name, replaced)

    return fail


def test_an_image_is_stored_and_its_fetched_copy_released(run_setup):
    fetcher = Fetcher()
    outcome, handler = handled(run_setup, fetcher)
    assert (outcome, fetcher.fetches, fetcher.open) == (Finished(), 1, 0)
    assert handler.metrics.registry.get_sample_value("superres_ingestion_stored_total") == 1


def test_a_storage_failure_causes_no_second_fetch(run_setup, failing_once):
    failing_once("store_image")
    fetcher, stop = Fetcher(), Stop()
    outcome, handler = handled(run_setup, fetcher, stop=stop)
    assert (outcome, fetcher.fetches, stop.pauses) == (Finished(), 1, 1)
    assert handler.storage_health.failing == ""


def test_a_full_disk_for_temporary_files_is_waited_out(run_setup):
    fetcher, stop = Fetcher(StorageError("/tmp: no room"), OSError(28, "no room")), Stop()
    assert handled(run_setup, fetcher, stop=stop)[0] == Finished()
    assert (fetcher.fetches, stop.pauses) == (3, 2)


def test_a_failed_rejection_is_repeated(run_setup, failing_once):
    failing_once("reject_arrival")
    fetcher = Fetcher(ForbiddenUrlError("not allowed"))
    assert handled(run_setup, fetcher)[0] == Finished()
    assert len(storage.list_files(run_setup.settings.dataset.reconstructed_images_dir)) == 1


def test_an_unreadable_object_is_no_rejection_while_storage_fails_as_a_whole(
    run_setup, monkeypatch
):
    answers = iter([StorageError("S3 does not answer")])

    def exists(_: str) -> bool:
        if error := next(answers, None):
            raise error
        return False

    monkeypatch.setattr(storage, "exists", exists)
    fetcher = Fetcher(FetchError("s3://bucket/a.png: timed out", retryable=True))
    assert handled(run_setup, fetcher, "s3://bucket/a.png")[0] == Finished()
    assert fetcher.fetches == 2


def test_who_stops_gives_up_waiting_for_storage(run_setup):
    class StopInPause(Stop):
        def wait(self, timeout: float | None = None) -> bool:
            self.set()
            return super().wait(timeout)

    fetcher, stop = Fetcher(StorageError("no room")), StopInPause()
    assert handled(run_setup, fetcher, stop=stop)[0] == Abandoned()
    assert handled(run_setup, fetcher, stop=stop)[0] == Abandoned()
    assert fetcher.fetches == 1


def test_a_failed_fetch_is_tried_again_later_and_then_rejected_without_its_signature(run_setup):
    attempts = run_setup.settings.ingestion.attempts
    error = FetchError(f"{SecretUrl(URL)}: the source answered 503", retryable=True)
    with structlog.testing.capture_logs() as logs:
        assert isinstance(handled(run_setup, Fetcher(error))[0], RetryLater)
        assert handled(run_setup, Fetcher(error), attempt=attempts)[0] == Finished()
    (file,) = storage.list_files(run_setup.settings.dataset.reconstructed_images_dir)
    record = storage.read_bytes(file.uri).decode()
    assert f"answered 503 (tried {attempts} times)" in record
    assert "https://example.org/a.png#" in record
    assert SECRET not in record + repr(logs)


def test_the_stored_reference_has_no_signature(run_setup):
    assert handled(run_setup, Fetcher())[0] == Finished()
    files = storage.list_files(run_setup.settings.dataset.low_resolution_dir)
    stored = {file.name.rpartition(".")[2]: storage.read_bytes(file.uri) for file in files}
    assert stored.keys() == {"json", "png"}
    assert b"https://example.org/a.png#" in stored["json"]
    assert SECRET.encode() not in stored["json"]
