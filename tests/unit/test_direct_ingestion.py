"""Ingestion without a broker: sources and uploads whose images are stored directly."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from click.testing import CliRunner

from ingestion.cli.consume import consume
from ingestion.cli.ingest import ingest
from ingestion.cli.produce import produce
from ingestion.cli.shared import show_failures
from ingestion.consumer.messages import ReceivedMessage
from ingestion.consumer.outcomes import Finished, Outcome, RetryLater
from ingestion.consumer.prometheus_metrics import new_metrics
from ingestion.direct.ingesting import ingest_directly
from ingestion.direct.pending import PendingUploads
from ingestion.direct.storing import handler_without_broker, store_all
from ingestion.references import Wanted
from ingestion.sources.folder import FolderSource
from ingestion.uploads.app import create_app
from superres.errors import ConfigError, StorageError
from superres.pipeline import storage
from superres.pipeline.arrival import reference_of
from superres.pipeline.config import Settings
from superres.pipeline.config_file import validated
from superres.pipeline.recipe import Recipe
from superres.pipeline.records import RejectedImage
from tests.support.http_server import until
from tests.support.source_reading import NOON, WANTED, NumberedSource
from tests.support.unusual_files import NO_FILES, NOT_UTF8, make_no_files
from tests.support.upload_app import BEARER, GOOD, TOKEN

CORRUPT = b"<html>"
_SECONDS = 30.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Everything below one folder, and no broker; attempts are few because each waits."""
    dataset = {
        "high_resolution_dir": str(tmp_path / "high"),
        "low_resolution_dir": str(tmp_path / "low"),
        "reconstructed_images_dir": str(tmp_path / "results"),
    }
    ingestion = {
        "uploads_dir": str(tmp_path / "uploads"),
        "file_roots": [str(tmp_path / "photos")],
        "threads": 2,
        "attempts": 1,
    }
    return validated(
        {"dataset": dataset, "ingestion": ingestion, "kafka": {"enabled": False}}, "test"
    )


def photos(folder: Path, **files: bytes) -> Path:
    """Returns the folder of photographs, with these in it."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.png").write_bytes(content)
    return folder


def low_resolution(settings: Settings) -> list[str]:
    """Returns the URIs of the stored images."""
    files = storage.list_files(settings.dataset.low_resolution_dir)
    return [file.uri for file in files if not file.uri.endswith(".json")]


def rejections(settings: Settings) -> list[RejectedImage]:
    files = storage.list_files(f"{settings.dataset.reconstructed_images_dir}/rejected")
    return [RejectedImage.from_json(storage.read_bytes(file.uri)) for file in files]


# ---- sources


def test_images_of_a_source_are_stored_and_bad_ones_rejected(settings, tmp_path):
    folder = photos(tmp_path / "photos", boat=GOOD, torn=CORRUPT)
    counts: list[tuple[int, int]] = []
    named, stored, rejected = ingest_directly(
        FolderSource(folder, WANTED), settings, None, Event(), lambda *now: counts.append(now)
    )
    assert (named.references, named.failed, stored, rejected) == (2, 0, 1, 1)
    assert counts[-1] == (2, 2)
    assert len(low_resolution(settings)) == 1
    (record,) = rejections(settings)
    assert (record.source, record.stage) == ("folder:torn.png", "ingest")


def test_images_of_any_name_are_stored_and_what_is_left_out_is_no_failure(settings, tmp_path):
    folder = photos(tmp_path / "photos", **{"写" * 77: GOOD, "two\nlines": GOOD})
    (folder / NOT_UTF8).write_bytes(GOOD)
    (folder / "web.avif").write_bytes(b"\0\0\0\x1cftypavif")
    make_no_files(folder)
    named, stored, rejected = ingest_directly(FolderSource(folder, WANTED), settings, None, Event())
    assert (stored, rejected, named.failed) == (3, 0, 0)
    sources = {reference_of(uri).source for uri in low_resolution(settings)}
    assert sources == {f"folder:{'写' * 77}.png", r"folder:two\nlines.png", r"folder:caf\xe9.jpg"}
    lines: list[str] = []
    show_failures(named, lines.append)
    assert len(lines) == len(NO_FILES) + 1
    assert lines[0].endswith("dangling.jpg: left out: a link to nowhere.jpg, which does not exist")
    assert lines[-1].endswith(" can be read; convert these: web.avif")


def test_images_with_a_recipe_of_their_own_are_stored_for_it(settings, tmp_path):
    folder, grey = photos(tmp_path / "photos", boat=GOOD, torn=CORRUPT), Recipe(grayscale=True)
    references = [
        WANTED.reference(name, (folder / name).as_uri(), name, recipe=recipe)
        for name in ("boat.png", "torn.png")
        for recipe in (None, grey, grey)
    ]
    with handler_without_broker(settings) as handler:
        values = (reference.to_json().encode() for reference in references)
        store_all(handler, values, lambda: False)
    stored = {uri: reference_of(uri) for uri in low_resolution(settings)}
    assert len(stored) == 2
    assert all(reference in stored.values() for reference in references[:2])
    in_folders = [uri for uri in stored if f"/recipe={grey.key}/" in uri]
    assert [stored[uri] for uri in in_folders] == [references[1]]
    # A rejection concerns every recipe, and lies where it always did.
    assert len(rejections(settings)) == 2
    files = storage.list_files(f"{settings.dataset.reconstructed_images_dir}/rejected")
    assert not [file.uri for file in files if "recipe=" in file.uri]


def test_a_limit_ends_a_source_early(settings, tmp_path):
    folder = photos(tmp_path / "photos", **{f"photo{number}": GOOD for number in range(9)})
    named, stored, _ = ingest_directly(FolderSource(folder, WANTED), settings, 3, Event())
    assert (named.references, stored) == (3, 3)


def test_units_that_cannot_be_read_are_failures(settings):
    source = NumberedSource(1, failing=[0])
    named, stored, rejected = ingest_directly(source, settings, None, Event())
    assert (named.failed, stored, rejected) == (1, 0, 0)
    assert named.failures == ["unit 0 is broken"]


class CountingHandler:
    """Stands for a handler: counts attempts, of which the first few fail."""

    def __init__(self, settings: Settings, failures: int = 0) -> None:
        self.settings, self.metrics, self.stop = settings, new_metrics(), Event()
        self.failures = failures
        self.attempts: list[int] = []

    def handle(self, message: ReceivedMessage) -> Outcome:
        self.attempts.append(message.attempt)
        return RetryLater(0.01) if message.attempt <= self.failures else Finished()


def handled(handler: Any, references: Iterator[bytes | None]) -> list[bytes]:
    """Returns the references that were finished when all of them were."""
    finished: list[bytes] = []
    store_all(handler, references, lambda: False, finished.append)
    return finished


def test_few_references_are_read_before_others_are_finished(settings):
    finished: list[bytes] = []
    ahead: list[int] = []

    def references() -> Iterator[bytes]:
        for number in range(40):
            ahead.append(number - len(finished))
            yield b"%d" % number

    handler: Any = CountingHandler(settings)
    store_all(handler, references(), lambda: False, finished.append)
    assert sorted(finished) == sorted(b"%d" % number for number in range(40))
    assert max(ahead) < 6  # two threads, and two that wait for each


def test_a_reference_that_fails_for_now_is_tried_again(settings):
    handler = CountingHandler(settings, failures=2)
    assert handled(handler, iter([b"reference", None])) == [b"reference"]
    assert handler.attempts == [1, 2, 3]


def test_what_waits_for_a_retry_does_not_delay_a_stop(settings):
    handler: Any = CountingHandler(settings, failures=9)
    handler.handle = lambda message: RetryLater(600)
    stopping = iter([False, False, False, True])
    finished: list[bytes] = []
    store_all(handler, iter([b"reference"]), lambda: next(stopping), finished.append)
    assert finished == []
    assert handler.stop.is_set()


# ---- uploads


@pytest.fixture
def running() -> Iterator[Event]:
    """Set as long as the service runs."""
    event = Event()
    event.set()
    yield event
    event.clear()


def pending_files(settings: Settings) -> list[str]:
    """Returns the names of the references that wait."""
    return [file.name for file in storage.list_files(f"{settings.ingestion.uploads_dir}/pending")]


def upload(settings: Settings, publish: Any, content: bytes = GOOD) -> int:
    """Returns the status of the response to an upload."""
    client = create_app(settings, TOKEN, publish).test_client()
    answer = client.post(
        "/uploads", data={"files": [(BytesIO(content), "boat.png")]}, headers=BEARER
    )
    return answer.status_code


def test_an_upload_is_stored_and_its_reference_forgotten(settings, running):
    pending = PendingUploads(settings, running.is_set)
    assert upload(settings, pending.publish) == 202
    until(lambda: not pending_files(settings), _SECONDS)
    (low,) = low_resolution(settings)
    reference = reference_of(low)
    assert reference is not None
    assert reference.source == "upload:boat.png"
    assert pending.ready() == ""
    value = pending.registry.get_sample_value
    assert value("superres_ingestion_stored_total") == 1


def test_an_upload_of_a_process_that_died_is_stored_by_the_next(settings, running):
    stopped = PendingUploads(settings, lambda: False)  # it never stores anything
    assert upload(settings, stopped.publish) == 202
    assert len(pending_files(settings)) == 1
    assert low_resolution(settings) == []
    PendingUploads(settings, running.is_set)
    until(lambda: not pending_files(settings), _SECONDS)
    assert len(low_resolution(settings)) == 1


def test_a_service_that_stores_nothing_any_more_is_not_alive(settings, running):
    pending = PendingUploads(settings, running.is_set)
    client = create_app(settings, TOKEN, pending.publish, alive=pending.alive).test_client()
    assert client.get("/healthz").status_code == 200
    running.clear()
    until(lambda: client.get("/healthz").status_code == 503, _SECONDS)
    assert pending.ready() == "uploads are not being stored; see the log"


def test_an_upload_for_two_scales_waits_twice(settings):
    stopped = PendingUploads(settings, lambda: False)
    wanted = [Wanted("upscale", scale, lambda: NOON) for scale in (2, 3)]
    stopped.publish([each.reference("upload:a", "file:///a.png", "upload:a") for each in wanted])
    assert len(pending_files(settings)) == 2


def test_an_upload_whose_image_is_gone_is_rejected_not_tried_for_ever(settings, running, tmp_path):
    pending = PendingUploads(settings, running.is_set)
    gone = (Path(settings.ingestion.uploads_dir).absolute() / "gone.png").as_uri()
    pending.publish([WANTED.reference("upload:gone", gone, "upload:gone.png")])
    until(lambda: not pending_files(settings), _SECONDS)
    (record,) = rejections(settings)
    assert record.reason.endswith("no such file")


def test_a_file_that_is_no_reference_is_rejected_and_does_not_block_others(settings, running):
    folder = f"{settings.ingestion.uploads_dir}/pending"
    storage.write_bytes(f"{folder}/0.json", b"{}")
    pending = PendingUploads(settings, running.is_set)
    assert upload(settings, pending.publish) == 202
    until(lambda: not pending_files(settings), _SECONDS)
    assert len(low_resolution(settings)) == 1
    assert len(rejections(settings)) == 1


def test_an_upload_is_not_accepted_when_its_reference_cannot_be_kept(settings, monkeypatch):
    pending = PendingUploads(settings, lambda: False)
    app = create_app(settings, TOKEN, pending.publish).test_client()

    def fail(uri: str, *_: Any) -> None:
        raise StorageError(f"{uri}: disk full")

    monkeypatch.setattr(storage, "write_bytes", fail)
    answer = app.post("/uploads", data={"files": [(BytesIO(GOOD), "a.png")]}, headers=BEARER)
    assert answer.status_code == 503


# ---- commands


def test_ingest_needs_no_broker(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERRES_KAFKA__ENABLED", "false")
    folder = photos(tmp_path / "photos", boat=GOOD)
    done = CliRunner().invoke(ingest, [str(folder)])
    assert done.exit_code == 0, done.output
    assert "1 images stored" in done.output
    photos(folder, torn=CORRUPT)
    done = CliRunner().invoke(ingest, [str(folder)])
    assert done.exit_code == 3, done.output


@pytest.mark.parametrize(("command", "arguments"), [(produce, ["picsum:"]), (consume, [])])
def test_commands_that_need_a_broker_say_so(command, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERRES_KAFKA__ENABLED", "false")
    done = CliRunner().invoke(command, arguments)
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith("kafka.enabled is false")
