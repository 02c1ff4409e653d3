"""What makes a service unready, and how often it is looked at."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from ingestion.uploads.readiness import unwritable_folders
from notifier.store.database import Database, open_database
from notifier.store.readiness import unreadable_images, unreadable_rows
from superres.errors import StorageError
from superres.service.health import HANGING_SECONDS, Kept, unexplained
from tests.support.evaluation_records import evaluation, record_all

PAGE = 4096  # bytes of SQLite


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path):
    opened = open_database(f"sqlite:///{tmp_path}/notifier.db")
    yield opened
    opened.close()


def damage(database: Database, first_page: int) -> None:
    """Overwrites the file of a database from a page on."""
    file = Path(database.engine.url.database or "")
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.commit()
    database.close()
    content = file.read_bytes()[: first_page * PAGE]
    file.write_bytes(content + b"\xff" * (file.stat().st_size - len(content)))


# ---- the database of the notifier


def test_a_database_is_ready_with_and_without_content(database):
    assert unreadable_rows(database) == unreadable_images(database) == ""
    record_all(database, evaluation(1), evaluation(2, gain=None))
    assert unreadable_rows(database) == unreadable_images(database) == ""


@pytest.mark.parametrize("table", ["images", "runs", "subscriptions", "deliveries"])
def test_a_missing_table_is_found(database, table):
    with database.writing() as session:
        session.execute(text(f"DROP TABLE {table}"))
    assert f"no such table: {table}" in unreadable_rows(database)


@pytest.mark.parametrize("first_page", [2, 20, 40])
def test_damaged_rows_are_found(database, first_page):
    record_all(database, *(evaluation(number) for number in range(200)))
    damage(database, first_page)
    reason = unreadable_rows(database) or unreadable_images(database)
    assert reason.startswith("the database does not answer: ")


@pytest.mark.parametrize("content", [b"no database at all" * 300, None])
def test_a_damaged_file_is_named_with_what_to_do(content, tmp_path, database):
    file = Path(database.engine.url.database or "")
    if content is None:
        damage(database, 1)
    else:
        database.close()
        file.write_bytes(content)
    with pytest.raises(StorageError) as caught:
        open_database(f"sqlite:///{file}")
    assert str(caught.value).startswith(f"{file}: ")
    assert "move it away" in str(caught.value)


# ---- the upload service


def test_uploads_need_folders_that_can_be_written(tmp_path):
    assert unwritable_folders("s3://bucket/uploads") == ""
    assert unwritable_folders(str(tmp_path / "new" / "uploads")) == ""
    (tmp_path / "file").touch()
    assert "cannot create" in unwritable_folders(str(tmp_path / "file" / "uploads"))


# ---- verdicts that are kept


def test_a_verdict_is_kept_and_its_changes_are_logged():
    clock, asked, reason = Clock(), 0, "it rains"

    def check() -> str:
        nonlocal asked
        asked += 1
        return reason

    kept = Kept(check, 1.0, clock)
    with capture_logs() as logs:
        assert [kept() for _ in range(5)] == ["it rains"] * 5
        assert asked == 1
        reason = ""
        assert kept() == "it rains"
        clock.now += 1
        assert kept() == ""
        clock.now += 1
        assert kept() == ""
    assert [log["event"] for log in logs] == ["not_ready", "ready_again"]


class Slow:
    """A check that ends when it is told to."""

    def __init__(self) -> None:
        self.asked, self.answered, self.answer = Event(), Event(), "no"

    def __call__(self) -> str:
        self.asked.set()
        assert self.answered.wait(30)
        self.asked.clear()
        return self.answer


def test_nobody_waits_for_the_check_of_another():
    slow, clock = Slow(), Clock()
    kept = Kept(slow, 1.0, clock)
    with ThreadPoolExecutor(1) as pool, capture_logs():
        first = pool.submit(kept)
        assert slow.asked.wait(30)
        assert {kept() for _ in range(50)} == {"being checked"}
        slow.answered.set()
        assert first.result(30) == kept() == "no"
        slow.answered.clear()
        slow.answer = ""
        clock.now += 1
        second = pool.submit(kept)
        assert slow.asked.wait(30)
        assert {kept() for _ in range(50)} == {"no"}
        slow.answered.set()
        assert second.result(30) == kept() == ""


def test_a_check_that_hangs_is_a_reason_of_its_own():
    slow, clock = Slow(), Clock()
    slow.answer = ""
    kept = Kept(slow, 1.0, clock)
    slow.answered.set()
    assert kept() == ""
    slow.answered.clear()
    clock.now += 1
    with ThreadPoolExecutor(1) as pool, capture_logs() as logs:
        hanging = pool.submit(kept)
        assert slow.asked.wait(30)
        assert kept() == ""
        clock.now += HANGING_SECONDS
        assert {kept() for _ in range(5)} == {"the check has not ended for 15 s"}
        slow.answered.set()
        assert hanging.result(30) == kept() == ""
    assert [log["event"] for log in logs] == ["not_ready", "ready_again"]


def test_a_check_that_raises_has_a_reason():
    def broken() -> str:
        raise ValueError("a bug")

    with capture_logs():
        assert Kept(broken)() == "unexpected error: ValueError: a bug"


def test_strangers_get_no_reason():
    assert unexplained(lambda: "/srv/secret: gone")() == "not ready; the log says why"
    assert unexplained(lambda: "")() == ""
