"""Listening for results: records read, folders scanned and watched."""

import shutil
import statistics
import time
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from notifier.listening.prometheus_metrics import new_metrics
from notifier.listening.reading import Reader, local_tag
from notifier.listening.scan import MAX_FAILURES, Scanned, Scanner
from notifier.listening.start import check_queues
from notifier.store.database import Database, open_database
from notifier.store.images import totals_of
from superres.errors import ConfigError, RecordError, StorageError
from superres.pipeline import storage
from superres.pipeline.recipe import Recipe
from tests.support.evaluation_records import (
    DAY,
    MOMENT,
    evaluation,
    evaluation_uri,
    image_id,
    manifest,
    write,
)
from tests.support.http_server import until
from tests.support.notifier_listening import (
    break_database,
    is_recorded,
    listening,
    recorded_ids,
    recorded_image,
    recorded_runs,
    settings_for,
)
from tests.support.unusual_files import NOT_UTF8

GREY = Recipe(grayscale=True)


@pytest.fixture
def results(tmp_path: Path) -> str:
    return str(tmp_path / "results")


@pytest.fixture
def reader(results: str, database: Database) -> Reader:
    return Reader(results, database, new_metrics(CollectorRegistry()))


def read(reader: Reader, uri: str) -> bool:
    return reader.read(uri, local_tag(uri) or "")


# ---- reading


def test_a_record_is_new_once(reader, results, database):
    [uri] = write(results, evaluation(1))
    assert read(reader, uri)
    assert not read(reader, uri)
    assert recorded_image(database, 1) == evaluation(1)
    write(results, evaluation(1, minutes=1))
    assert read(reader, uri)
    assert recorded_image(database, 1).finished_at == MOMENT + timedelta(minutes=1)
    assert reader.metrics.recorded._value.get() == 2


def test_a_manifest_is_recorded_as_a_run(reader, results, database):
    [uri] = write(results, manifest())
    assert read(reader, uri)
    [run] = recorded_runs(database)
    assert (run.name, run.kind, run.state) == ("2026-01-31-x2", "run", "succeeded")


def test_two_starts_of_a_run_are_recorded_one_beside_the_other(reader, results, database):
    starts = [f"2026-01-31-x2-20260201T0{hour}0000Z" for hour in (2, 3)]
    for uri in write(results, *(manifest(start_id=start) for start in starts)):
        assert read(reader, uri)
    assert {run.name for run in recorded_runs(database)} == set(starts)


def test_two_recipes_of_an_image_are_recorded_one_beside_the_other(reader, results, database):
    both = [evaluation(1), evaluation(1, minutes=1, recipe=GREY)]
    for uri in write(results, *both):
        assert read(reader, uri)
    assert recorded_ids(database) == [both[1].result_id, image_id(1)]
    # Nor is one of them read again by a scan.
    assert Scanner(reader).scan(Event()) == Scanned(2, 0, None)
    for uri in write(results, manifest(), manifest(recipe=GREY)):
        assert read(reader, uri)
    runs = {run.name: run.detail.get("recipe") for run in recorded_runs(database)}
    assert runs.pop("2026-01-31-x2") is None
    assert runs == {f"2026-01-31-x2-{GREY.key}": {"key": GREY.key, "members": {"grayscale": True}}}


def test_a_deleted_record_is_no_error(reader, results):
    [uri] = write(results, evaluation(1))
    Path(uri).unlink()
    assert local_tag(uri) is None
    assert not reader.read(uri, "tag")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not JSON", "Invalid JSON"),
        (b"", "Invalid JSON"),
        (evaluation(2).to_json().encode(), "same name"),
        (evaluation(1).to_json().replace('"version":1', '"version":9').encode(), "version 9"),
        (evaluation(1).to_json().replace("31.0", "1e308").encode(), "ours.psnr"),
        (evaluation(1).to_json().replace("2026-01-31T", "9999-12-31T").encode(), "finished_at"),
    ],
)
def test_an_unreadable_record_is_logged_once(reader, results, database, content, reason):
    uri = evaluation_uri(results, evaluation(1))
    storage.write_bytes(uri, content)
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(RecordError, match=reason):
                read(reader, uri)
    assert [(log["event"], log["uri"]) for log in logs] == [("record_unreadable", uri)]
    assert reason in logs[0]["reason"]
    assert reader.metrics.unreadable._value.get() == 1
    assert recorded_ids(database) == []
    write(results, evaluation(1))
    assert read(reader, uri)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("evaluations/scale=2/ingest_date=2026-01-31/a.json", "evaluations"),
        ("evaluations/scale=2/ingest_date=2026-01-31/recipe=1f2e3d4c/a.json", "evaluations"),
        ("runs/a.json", "runs"),
        ("evaluations/scale=2/ingest_date=2026-01-31/.a.json.12", None),
        ("evaluations/.a/a.json", None),
        ("evaluations/_temporary/a.json", None),
        ("evaluations/a.png", None),
        ("evaluations", None),
        ("images/a.json", None),
        ("a.json", None),
        ("../evaluations/a.json", None),
    ],
)
def test_records_are_recognised_by_their_location(reader, results, path, kind):
    assert reader.kind_of(f"{results}/{path}") == kind
    assert reader.kind_of(path) is None


# ---- scanning


def test_a_scan_finds_what_is_new(reader, results, database):
    scanner = Scanner(reader)
    assert scanner.scan(Event()) == Scanned(0, 0, None)
    write(results, *map(evaluation, range(30)), manifest())
    assert scanner.scan(Event()) == Scanned(31, 31, None)
    assert scanner.scan(Event()) == Scanned(31, 0, None)
    assert sorted(recorded_ids(database)) == sorted(map(image_id, range(30)))
    write(results, evaluation(3, minutes=1), evaluation(40), manifest(minutes=1))
    storage.delete(evaluation_uri(results, evaluation(4)))
    assert scanner.scan(Event()) == Scanned(31, 3, None)
    assert reader.metrics.scanned._value.get() == pytest.approx(time.time(), abs=60)


def test_a_scan_reads_the_newest_dates_first(reader, results, database, monkeypatch):
    days = [DAY + timedelta(days=number % 3) for number in range(9)]
    write(results, *(evaluation(number, day=day) for number, day in enumerate(days)))
    order: list[str] = []
    read = Reader.read

    def logged(self: Reader, uri: str, tag: str) -> bool:
        order.append(uri)
        return read(self, uri, tag)

    monkeypatch.setattr(Reader, "read", logged)
    Scanner(reader).scan(Event())
    dates = [uri.split("ingest_date=")[1][:10] for uri in order]
    assert dates == sorted(dates, reverse=True)
    assert len(dates) == 9


def test_a_scan_reads_unknown_records_only(reader, results, database, monkeypatch):
    # An image of two days has two records; neither the older nor a damaged one is recorded.
    write(results, *map(evaluation, range(5)), evaluation(0, minutes=1, day=date(2026, 2, 1)))
    storage.write_bytes(evaluation_uri(results, evaluation(9)), b"not JSON")
    assert Scanner(reader).scan(Event()).recorded == 5
    read: list[str] = []
    read_bytes = storage.read_bytes

    def logged(uri: str) -> bytes:
        read.append(uri)
        return read_bytes(uri)

    monkeypatch.setattr(storage, "read_bytes", logged)
    Scanner(reader).scan(Event())
    assert read == []
    # Another process does not know these two yet and reads them.
    other = Reader(results, database, new_metrics(CollectorRegistry()))
    assert Scanner(other).scan(Event()).recorded == 0
    assert sorted(read) == sorted(
        evaluation_uri(results, each) for each in (evaluation(0), evaluation(9))
    )


def test_unreadable_files_do_not_stop_the_scan_of_others(reader, results, database, monkeypatch):
    uris = write(results, *(evaluation(n, day=date(2026, 2, 1)) for n in range(MAX_FAILURES)))
    write(results, *map(evaluation, range(100, 120)))
    read_bytes = storage.read_bytes

    def denied(uri: str) -> bytes:
        if uri in uris:
            raise StorageError(f"{uri}: cannot read: Permission denied")
        return read_bytes(uri)

    monkeypatch.setattr(storage, "read_bytes", denied)
    scanner = Scanner(reader)
    with pytest.raises(StorageError, match="Permission denied"):
        scanner.scan(Event())
    with pytest.raises(StorageError, match="Permission denied"):
        scanner.scan(Event())
    assert len(recorded_ids(database)) == 20
    monkeypatch.setattr(storage, "read_bytes", read_bytes)
    assert scanner.scan(Event()).recorded == MAX_FAILURES


@pytest.mark.slow
def test_a_database_outage_is_logged_once_and_retried(results, database):
    write(results, *map(evaluation, range(50)))
    repair = break_database(database)
    with (
        capture_logs() as logs,
        listening(settings_for(results, rescan_seconds=1), database) as running,
    ):
        failing = running.reader.failing
        until(lambda: bool(failing))
        assert "the database does not answer" in failing["scan"]
        failures = running.reader.metrics.failures._value
        until(lambda: failures.get() >= 3)
        repair()
        until(lambda: len(recorded_ids(database)) == 50)
        until(lambda: not failing)
    events = [log["event"] for log in logs if log.get("what") == "scan"]
    assert events == ["outage_began", "outage_ended"]


@pytest.mark.slow
def test_missed_records_are_found_by_the_next_scan(results, database, monkeypatch):
    monkeypatch.setattr("notifier.listening.folder.FolderWatch._changed", lambda *_: None)
    with listening(settings_for(results, rescan_seconds=1), database):
        write(results, evaluation(1))
        until(lambda: recorded_ids(database) == [image_id(1)])
        write(results, evaluation(2))
        until(lambda: len(recorded_ids(database)) == 2)


# ---- watching


@pytest.mark.slow
def test_records_are_read_as_soon_as_they_are_written(results, database):
    # Also the first one: the folder does not exist when watching begins.
    waits: list[float] = []
    with listening(settings_for(results), database):
        for number in range(20):
            record = evaluation(number, day=DAY + timedelta(days=number // 5))
            write(results, record)
            written = time.monotonic()
            until(partial(is_recorded, database, number))
            waits.append(time.monotonic() - written)
        write(results, evaluation(3, minutes=5))
        until(lambda: recorded_image(database, 3).finished_at > MOMENT)
        write(results, grey := evaluation(3, recipe=GREY))
        until(lambda: grey.result_id in recorded_ids(database))
        write(results, manifest())
        until(lambda: len(recorded_runs(database)) == 1)
    print(f"written to recorded: median {statistics.median(waits):.3f} s, max {max(waits):.3f} s")
    assert statistics.median(waits) < 0.25


@pytest.mark.slow
def test_no_record_is_missed_while_listening_starts(results, database):
    numbers = range(300)
    write(results, *map(evaluation, numbers[:100]))
    with listening(settings_for(results), database):
        write(results, *map(evaluation, numbers[100:200]))
        until(lambda: len(recorded_ids(database)) >= 100)
        days = (DAY + timedelta(days=number) for number in numbers)
        write(results, *map(lambda n, day: evaluation(n, day=day), numbers[200:], days))
        until(lambda: len(recorded_ids(database)) == 300, 20)


@pytest.mark.slow
def test_a_name_that_is_not_utf8_does_not_end_the_watch(results, database):
    write(results, evaluation(1))
    with capture_logs() as logs, listening(settings_for(results), database):
        until(partial(is_recorded, database, 1))
        (Path(results) / NOT_UTF8).touch()
        write(results, evaluation(2))
        until(partial(is_recorded, database, 2))
    assert not [log for log in logs if log["log_level"] == "error"]


@pytest.mark.slow
def test_a_folder_may_be_deleted_and_created_again(tmp_path, database, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with listening(settings_for("data/results"), database) as running:
        write("data/results", evaluation(1))
        until(lambda: is_recorded(database, 1))
        shutil.rmtree("data")
        write("data/results", evaluation(2))
        until(lambda: is_recorded(database, 2))
        write("data/results", evaluation(3))
        until(lambda: is_recorded(database, 3))
        assert running.reader.failing == {}
        for number, folder in enumerate(("evaluations", "evaluations/scale=2"), 4):
            shutil.rmtree(f"data/results/{folder}")
            write("data/results", evaluation(number))
            until(partial(is_recorded, database, number))
        Path("data").rename("aside")
        write("data/results", evaluation(6))
        until(lambda: is_recorded(database, 6))
    assert len(recorded_ids(database)) == 6


def test_only_complete_records_are_read(results, database):
    with capture_logs() as logs, listening(settings_for(results), database):
        [uri] = write(results, evaluation(1))
        until(lambda: is_recorded(database, 1))
        folder = Path(uri).parent
        (folder / f".{image_id(2)}.json.0123").write_text("half of a rec")
        (folder / "notes.txt").write_text("no record")
        storage.write_bytes(f"{results}/images/scale=2/{image_id(2)}.png", b"png")
        (folder / f"{image_id(3)}.json").write_text("damaged")
        Path(uri).unlink()
        write(results, evaluation(4))
        until(lambda: is_recorded(database, 4))
    errors = [log for log in logs if log["log_level"] != "info"]
    assert [Path(log["uri"]).stem for log in errors] == [image_id(3)]
    assert sorted(recorded_ids(database)) == sorted([image_id(1), image_id(4)])


@pytest.mark.slow
def test_records_are_kept_during_a_database_outage(results, database):
    def outages() -> list[str]:
        return [log["event"] for log in logs if log.get("what") == "records of the folder"]

    # There is only one scan, so it is the watch that retries.
    settings = settings_for(results, rescan_seconds=3600)
    with capture_logs() as logs, listening(settings, database) as running:
        write(results, evaluation(0))
        until(lambda: is_recorded(database, 0))
        # What is written before the new folder is watched is not reported.
        events = running.reader.metrics.events._value
        before = events.get()
        until(lambda: write(results, evaluation(0)) and events.get() > before, 60)
        repair = break_database(database)
        uris = write(results, *map(evaluation, range(1, 40)))
        until(outages, 60)
        Path(uris[-1]).unlink()
        repair()
        until(lambda: len(recorded_ids(database)) == 39, 60)
        until(lambda: outages()[1:], 60)
    assert outages() == ["outage_began", "outage_ended"]


@pytest.mark.slow
def test_two_notifiers_on_one_database_record_each_image_once(results, database, tmp_path):
    other = open_database(f"sqlite:///{tmp_path}/notifier.db")
    settings = settings_for(results)
    with listening(settings, database) as one, listening(settings, other) as two:
        write(results, *map(evaluation, range(100)))
        until(lambda: len(recorded_ids(database)) == 100)
        new = [each.reader.metrics.recorded._value for each in (one, two)]
        until(lambda: new[0].get() + new[1].get() >= 100)
    assert new[0].get() + new[1].get() == 100
    with database.reading() as session:
        assert totals_of(session).images == 100
    other.close()


def test_threads_follow_the_configuration(results, database):
    with listening(settings_for(results), database) as running:
        assert [thread.name for thread in running.threads] == ["listening-scan", "listening-folder"]
        assert all(thread.daemon for thread in running.threads)
    with pytest.raises(ConfigError, match=r"notifier\.events_queue_url: .* not in S3"):
        check_queues(settings_for(results, events_queue_url="http://127.0.0.1:1/q"))


def test_a_thread_continues_after_an_unexpected_error(results, database, monkeypatch):
    monkeypatch.setattr("notifier.listening.start._RESTART_SECONDS", 0.01)
    original_scan = Scanner.scan
    broken: list[bool] = []

    def scan(self: Scanner, stop: Event) -> Scanned:
        if not broken:
            broken.append(True)
            raise ZeroDivisionError
        return original_scan(self, stop)

    monkeypatch.setattr(Scanner, "scan", scan)
    write(results, evaluation(1))
    with capture_logs() as logs, listening(settings_for(results), database):
        until(lambda: recorded_ids(database) == [image_id(1)])
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["unexpected_error"]
