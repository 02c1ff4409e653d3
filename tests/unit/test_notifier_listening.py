"""How the notifier hears of images: records read, folders scanned and watched."""

import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from notifier.listening.prometheus_metrics import new_metrics
from notifier.listening.reading import Reader, local_tag
from notifier.listening.scan import MOST_FAILURES, Scanned, Scanner
from notifier.listening.start import Intake, check_queues, start_intake
from notifier.store.database import Database, open_database
from notifier.store.images import image_of, page_of, totals_of
from notifier.store.runs import RunStatus, runs_of
from superres.errors import ConfigError, RecordError, StorageError
from superres.pipeline import storage
from superres.pipeline.config import Settings, validated
from superres.pipeline.records import Evaluation
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


@pytest.fixture
def results(tmp_path: Path) -> str:
    return str(tmp_path / "results")


@pytest.fixture
def reader(results: str, database: Database) -> Reader:
    return Reader(results, database, new_metrics(CollectorRegistry()))


def settings_for(results: str, **notifier: object) -> Settings:
    content = {"dataset": {"reconstructed_images_dir": results}, "notifier": notifier}
    return validated(content, "test")


@contextmanager
def intake(settings: Settings, database: Database) -> Iterator[Intake]:
    """Runs while the block lasts; ends quickly."""
    stop = Event()
    running = start_intake(settings, database, stop, CollectorRegistry())
    try:
        yield running
    finally:
        stop.set()
        for thread in running.threads:
            thread.join(5)
    assert not [thread.name for thread in running.threads if thread.is_alive()]


def shown(database: Database) -> list[str]:
    with database.reading() as session:
        return [image.image_id for image in page_of(session, "newest", 1000).images]


def image(database: Database, number: int) -> Evaluation | None:
    with database.reading() as session:
        return image_of(session, image_id(number))


def is_shown(database: Database, number: int) -> bool:
    return image(database, number) is not None


def runs(database: Database) -> list[RunStatus]:
    with database.reading() as session:
        return runs_of(session, 100)[0]


def read(reader: Reader, uri: str) -> bool:
    return reader.read(uri, local_tag(uri) or "")


def in_the_way_of(database: Database) -> Callable[[], None]:
    """Makes every writing fail; gives what ends that."""
    with database.writing() as session:
        session.connection().exec_driver_sql("ALTER TABLE images RENAME TO gone")

    def end() -> None:
        with database.writing() as session:
            session.connection().exec_driver_sql("ALTER TABLE gone RENAME TO images")

    return end


# ---- reading


def test_a_record_tells_something_new_once(reader, results, database):
    [uri] = write(results, evaluation(1))
    assert read(reader, uri)
    assert not read(reader, uri)
    assert image(database, 1) == evaluation(1)
    write(results, evaluation(1, minutes=1))
    assert read(reader, uri)
    assert image(database, 1).finished_at == MOMENT + timedelta(minutes=1)
    assert reader.metrics.recorded._value.get() == 2


def test_a_manifest_is_a_run(reader, results, database):
    [uri] = write(results, manifest())
    assert read(reader, uri)
    [run] = runs(database)
    assert (run.name, run.kind, run.state) == ("2026-01-31-x2", "run", "succeeded")


def test_a_record_that_is_gone_is_no_error(reader, results):
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
    ],
)
def test_a_record_that_cannot_be_read_is_told_once(reader, results, database, content, reason):
    uri = evaluation_uri(results, evaluation(1))
    storage.write_bytes(uri, content)
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(RecordError, match=reason):
                read(reader, uri)
    assert [(log["event"], log["uri"]) for log in logs] == [("record_unreadable", uri)]
    assert reason in logs[0]["reason"]
    assert reader.metrics.unreadable._value.get() == 1
    assert shown(database) == []
    write(results, evaluation(1))
    assert read(reader, uri)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("evaluations/scale=2/ingest_date=2026-01-31/a.json", "evaluations"),
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
def test_what_is_ours_to_read(reader, results, path, kind):
    assert reader.kind_of(f"{results}/{path}") == kind
    assert reader.kind_of(path) is None


# ---- scanning


def test_a_scan_finds_what_is_new(reader, results, database):
    scanner = Scanner(reader)
    assert scanner.scan(Event()) == Scanned(0, 0, None)
    write(results, *map(evaluation, range(30)), manifest())
    assert scanner.scan(Event()) == Scanned(31, 31, None)
    assert scanner.scan(Event()) == Scanned(31, 0, None)
    assert sorted(shown(database)) == sorted(map(image_id, range(30)))
    write(results, evaluation(3, minutes=1), evaluation(40), manifest(minutes=1))
    storage.delete(evaluation_uri(results, evaluation(4)))
    assert scanner.scan(Event()) == Scanned(31, 3, None)
    assert reader.metrics.scanned._value.get() == pytest.approx(time.time(), abs=60)


def test_the_newest_dates_come_first(reader, results, database, monkeypatch):
    days = [DAY + timedelta(days=number % 3) for number in range(9)]
    write(results, *(evaluation(number, day=day) for number, day in enumerate(days)))
    order: list[str] = []
    plain = Reader.read

    def noted(self: Reader, uri: str, tag: str) -> bool:
        order.append(uri)
        return plain(self, uri, tag)

    monkeypatch.setattr(Reader, "read", noted)
    Scanner(reader).scan(Event())
    dates = [uri.split("ingest_date=")[1][:10] for uri in order]
    assert dates == sorted(dates, reverse=True)
    assert len(dates) == 9


def test_a_scan_reads_only_what_it_does_not_know(reader, results, database, monkeypatch):
    # An image of two days has two records: the older tells nothing, nor does one that is damaged.
    write(results, *map(evaluation, range(5)), evaluation(0, minutes=1, day=date(2026, 2, 1)))
    storage.write_bytes(evaluation_uri(results, evaluation(9)), b"not JSON")
    assert Scanner(reader).scan(Event()).recorded == 5
    asked: list[str] = []
    plain = storage.read_bytes

    def noted(uri: str) -> bytes:
        asked.append(uri)
        return plain(uri)

    monkeypatch.setattr(storage, "read_bytes", noted)
    Scanner(reader).scan(Event())
    assert asked == []
    # Another process, which remembers nothing, reads those two.
    other = Reader(results, database, new_metrics(CollectorRegistry()))
    assert Scanner(other).scan(Event()).recorded == 0
    assert sorted(asked) == sorted(
        evaluation_uri(results, each) for each in (evaluation(0), evaluation(9))
    )


def test_files_that_cannot_be_read_keep_no_others_from_it(reader, results, database, monkeypatch):
    uris = write(results, *(evaluation(n, day=date(2026, 2, 1)) for n in range(MOST_FAILURES)))
    write(results, *map(evaluation, range(100, 120)))
    plain = storage.read_bytes

    def refused(uri: str) -> bytes:
        if uri in uris:
            raise StorageError(f"{uri}: cannot read: Permission denied")
        return plain(uri)

    monkeypatch.setattr(storage, "read_bytes", refused)
    scanner = Scanner(reader)
    with pytest.raises(StorageError, match="Permission denied"):
        scanner.scan(Event())
    with pytest.raises(StorageError, match="Permission denied"):
        scanner.scan(Event())
    assert len(shown(database)) == 20
    monkeypatch.setattr(storage, "read_bytes", plain)
    assert scanner.scan(Event()).recorded == MOST_FAILURES


def test_a_database_that_fails_is_told_once_and_tried_again(results, database):
    write(results, *map(evaluation, range(50)))
    end = in_the_way_of(database)
    with capture_logs() as logs, intake(settings_for(results, rescan_seconds=1), database) as taken:
        until(lambda: bool(taken.failing()))
        assert "the database does not answer" in taken.failing()
        failures = taken.reader.metrics.failures._value
        until(lambda: failures.get() >= 3)
        end()
        until(lambda: len(shown(database)) == 50)
        until(lambda: not taken.failing())
    told = [log["event"] for log in logs if log.get("what") == "scan"]
    assert told == ["intake_failing", "intake_works_again"]


def test_what_is_missed_is_found_by_the_next_scan(results, database, monkeypatch):
    monkeypatch.setattr("notifier.listening.folder.FolderWatch._arrived", lambda *_: None)
    with intake(settings_for(results, rescan_seconds=1), database):
        write(results, evaluation(1))
        until(lambda: shown(database) == [image_id(1)])
        write(results, evaluation(2))
        until(lambda: len(shown(database)) == 2)


# ---- watching


def test_records_are_there_as_soon_as_they_are_written(results, database):
    # The first of a folder, too: nothing of it is there when the watch begins.
    waits: list[float] = []
    with intake(settings_for(results), database):
        for number in range(20):
            record = evaluation(number, day=DAY + timedelta(days=number // 5))
            write(results, record)
            written = time.monotonic()
            until(partial(is_shown, database, number))
            waits.append(time.monotonic() - written)
        write(results, evaluation(3, minutes=5))
        until(lambda: image(database, 3).finished_at > MOMENT)
        write(results, manifest())
        until(lambda: len(runs(database)) == 1)
    print(f"written to recorded: median {statistics.median(waits):.3f} s, max {max(waits):.3f} s")
    assert statistics.median(waits) < 0.25


def test_many_at_once_while_it_starts(results, database):
    numbers = range(300)
    write(results, *map(evaluation, numbers[:100]))
    with intake(settings_for(results), database):
        write(results, *map(evaluation, numbers[100:200]))
        until(lambda: len(shown(database)) >= 100)
        days = (DAY + timedelta(days=number) for number in numbers)
        write(results, *map(lambda n, day: evaluation(n, day=day), numbers[200:], days))
        until(lambda: len(shown(database)) == 300, 20)


def test_a_folder_that_comes_goes_and_comes_again(tmp_path, database, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with intake(settings_for("data/results"), database) as taken:
        write("data/results", evaluation(1))
        until(lambda: image(database, 1) is not None)
        shutil.rmtree("data")
        write("data/results", evaluation(2))
        until(lambda: image(database, 2) is not None)
        write("data/results", evaluation(3))
        until(lambda: image(database, 3) is not None)
        assert taken.failing() == ""
        for number, folder in enumerate(("evaluations", "evaluations/scale=2"), 4):
            shutil.rmtree(f"data/results/{folder}")
            write("data/results", evaluation(number))
            until(partial(is_shown, database, number))
        Path("data").rename("aside")
        write("data/results", evaluation(6))
        until(lambda: image(database, 6) is not None)
    assert len(shown(database)) == 6


def test_nothing_but_whole_records_is_read(results, database):
    with capture_logs() as logs, intake(settings_for(results), database):
        [uri] = write(results, evaluation(1))
        until(lambda: image(database, 1) is not None)
        folder = Path(uri).parent
        (folder / f".{image_id(2)}.json.0123").write_text("half of a rec")
        (folder / "notes.txt").write_text("none of ours")
        storage.write_bytes(f"{results}/images/scale=2/{image_id(2)}.png", b"png")
        (folder / f"{image_id(3)}.json").write_text("damaged")
        Path(uri).unlink()
        write(results, evaluation(4))
        until(lambda: image(database, 4) is not None)
    told = [log for log in logs if log["log_level"] != "info"]
    assert [Path(log["uri"]).stem for log in told] == [image_id(3)]
    assert sorted(shown(database)) == sorted([image_id(1), image_id(4)])


def test_records_wait_for_a_database(results, database):
    def told() -> list[str]:
        return [log["event"] for log in logs if log.get("what") == "records of the folder"]

    # The scan comes once only, so that it is the watch that tries again.
    with capture_logs() as logs, intake(settings_for(results, rescan_seconds=3600), database):
        write(results, evaluation(0))
        until(lambda: image(database, 0) is not None)
        until(lambda: not any(log["event"] == "unexpected" for log in logs))
        end = in_the_way_of(database)
        uris = write(results, *map(evaluation, range(1, 40)))
        until(told)
        Path(uris[-1]).unlink()
        end()
        until(lambda: len(shown(database)) == 39)
        until(lambda: told()[1:])
    assert told() == ["intake_failing", "intake_works_again"]


def test_two_intakes_on_one_database(results, database, tmp_path):
    other = open_database(f"sqlite:///{tmp_path}/notifier.db")
    settings = settings_for(results)
    with intake(settings, database) as one, intake(settings, other) as two:
        write(results, *map(evaluation, range(100)))
        until(lambda: len(shown(database)) == 100)
        new = [each.reader.metrics.recorded._value for each in (one, two)]
        until(lambda: new[0].get() + new[1].get() >= 100)
    assert new[0].get() + new[1].get() == 100
    with database.reading() as session:
        assert totals_of(session).images == 100
    other.close()


def test_threads_by_configuration(results, database):
    with intake(settings_for(results), database) as taken:
        assert [thread.name for thread in taken.threads] == ["intake-scan", "intake-folder"]
        assert all(thread.daemon for thread in taken.threads)
    with pytest.raises(ConfigError, match=r"notifier\.events_queue_url: .* not in S3"):
        check_queues(settings_for(results, events_queue_url="http://127.0.0.1:1/q"))


def test_a_thread_that_breaks_goes_on(results, database, monkeypatch):
    monkeypatch.setattr("notifier.listening.start._RESTART_SECONDS", 0.01)
    plain = Scanner.scan
    broken: list[bool] = []

    def scan(self: Scanner, stop: Event) -> Scanned:
        if not broken:
            broken.append(True)
            raise ZeroDivisionError
        return plain(self, stop)

    monkeypatch.setattr(Scanner, "scan", scan)
    write(results, evaluation(1))
    with capture_logs() as logs, intake(settings_for(results), database):
        until(lambda: shown(database) == [image_id(1)])
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["unexpected"]
