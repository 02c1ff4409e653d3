"""The database of the notifier, on SQLite and on PostgreSQL."""

import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

from notifier.store.database import Database, open_database
from notifier.store.images import (
    ImagePage,
    Order,
    image_of,
    known_tags,
    other_results,
    page_of,
    recent_gains,
    record_evaluation,
    totals_of,
)
from notifier.store.paging import CursorError, Position
from notifier.store.runs import (
    RunStatus,
    State,
    known_run_tags,
    record_run,
    runs_of,
    status_of_manifest,
)
from notifier.store.tables import Table
from superres.errors import ConfigError, RecordError, StorageError
from superres.pipeline.recipe import Recipe
from superres.pipeline.records import Metrics, RunManifest
from tests.support.evaluation_records import MOMENT, evaluation, image_id, record_all
from tests.support.paths import ROOT

GREY = Recipe(grayscale=True)
ORDERS: tuple[Order, ...] = ("newest", "best", "worst")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").url
    return f"sqlite:///{tmp_path}/store/notifier.db"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    yield opened
    opened.close()


def read_pages(database: Database, order: Order, limit: int) -> list[ImagePage]:
    """All pages, forward."""
    pages: list[ImagePage] = []
    after = None
    while not pages or after is not None:
        with database.reading() as session:
            pages.append(page_of(session, order, limit, after=after))
        after = pages[-1].after
    return pages


def names(pages: list[ImagePage]) -> list[str]:
    return [image.image_id for page in pages for image in page.images]


# ---- images


def test_the_newest_evaluation_wins(database):
    versions = [evaluation(1, minutes=minutes, gain=minutes) for minutes in (1, 2, 3)]
    for seed in range(6):
        shuffled = versions * 2
        random.Random(seed).shuffle(shuffled)
        with database.writing() as session:
            session.execute(text("DELETE FROM images"))
        recorded = record_all(database, *shuffled)
        with database.reading() as session:
            assert image_of(session, image_id(1)) == versions[2]
            assert totals_of(session).images == 1
        # New once for every version that was the newest so far.
        newest, expected = MOMENT - timedelta(days=1), []
        for each in shuffled:
            expected.append(each.finished_at > newest)
            newest = max(newest, each.finished_at)
        assert recorded == expected


def test_each_recipe_has_a_result_of_its_own(database):
    default, grey = evaluation(1), evaluation(1, gain=0.5, recipe=GREY)
    assert grey.result_id == f"{default.result_id}-{GREY.key}"
    assert record_all(database, default, grey, default, grey) == [True, True, False, False]
    with database.reading() as session:
        assert image_of(session, image_id(1)) == default
        assert image_of(session, grey.result_id) == grey
        assert other_results(session, default) == [grey]
        assert other_results(session, grey) == [default]
        assert totals_of(session).images == 2
        assert known_tags(session, [image_id(1)]) == {
            f"/results/{each.result_id}.json": "tag" for each in (default, grey)
        }
    # Finished at the same moment: each page has one, and none has both.
    for order in ORDERS:
        seen = [image for page in read_pages(database, order, 1) for image in page.images]
        assert sorted(image.result_id for image in seen) == [image_id(1), grey.result_id]


def test_only_new_evaluations_count_as_changes(database):
    before = database.change()[0]
    assert record_all(database, evaluation(1), evaluation(1), evaluation(2)) == [True, False, True]
    assert database.change()[0] == before + 2


def test_concurrent_writers_record_each_image_once(database):
    wanted = [evaluation(number) for number in range(20)] * 4
    random.Random(0).shuffle(wanted)
    with ThreadPoolExecutor(8) as pool:
        recorded = list(pool.map(lambda each: record_all(database, each)[0], wanted))
    assert sum(recorded) == 20
    with database.reading() as session:
        assert totals_of(session).images == 20


def test_a_failed_transaction_leaves_nothing(database):
    def fail() -> None:
        with database.writing() as session:
            record_evaluation(session, evaluation(1), "uri", "tag")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.reading() as session:
        assert image_of(session, image_id(1)) is None
    assert database.change()[0] == 0


def test_tags_are_those_of_the_newest_records(database):
    record_all(database, evaluation(1), tag="old")
    record_all(database, evaluation(1, minutes=5), tag="new")
    record_all(database, evaluation(1, minutes=2), tag="late")
    record_all(database, evaluation(2), tag="other")
    with database.reading() as session:
        found = known_tags(session, [image_id(1), image_id(3)])
        assert known_tags(session, []) == {}
    assert found == {f"/results/{image_id(1)}.json": "new"}


def test_times_are_stored_to_the_microsecond(database):
    moment = datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    record_all(database, evaluation(1).model_copy(update={"finished_at": moment}))
    with database.reading() as session:
        assert image_of(session, image_id(1)).finished_at == moment


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_lead_forward_and_backward(database, order, limit):
    # Ties in both keys, and images without a gain.
    record_all(
        database,
        *(
            evaluation(number, minutes=number % 4, gain=None if number % 5 == 0 else number % 3)
            for number in range(31)
        ),
    )
    pages = read_pages(database, order, limit)
    forward = names(pages)
    measured = [number for number in range(31) if order == "newest" or number % 5]
    keys = {
        "newest": lambda number: (number % 4, image_id(number)),
        "best": lambda number: (number % 3, image_id(number)),
        "worst": lambda number: (number % 3, image_id(number)),
    }
    expected = sorted(measured, key=keys[order], reverse=order != "worst")
    assert forward == [image_id(number) for number in expected]
    assert all(len(page.images) == limit for page in pages[:-1])
    assert pages[0].before is None

    backward = [pages[-1]]
    while (before := backward[0].before) is not None:
        with database.reading() as session:
            backward.insert(0, page_of(session, order, limit, before=before))
    assert names(backward) == forward
    assert backward[0].before is None
    # And forward again from any page that was reached backwards.
    for page in backward[:-1]:
        assert page.after is not None
        with database.reading() as session:
            following = page_of(session, order, limit, after=page.after)
        last = forward.index(page.images[-1].image_id)
        assert names([following]) == forward[last + 1 : last + 1 + limit]


@pytest.mark.parametrize("order", ORDERS)
def test_new_images_do_not_disturb_paging(database, order):
    record_all(database, *(evaluation(n, minutes=n % 3, gain=n % 2) for n in range(20)))
    before = set(names(read_pages(database, order, 100)))
    seen: list[str] = []
    after = None
    new = iter(range(100, 200))
    while True:
        with database.reading() as session:
            page = page_of(session, order, 3, after=after)
        seen += names([page])
        record_all(database, *(evaluation(next(new), minutes=m, gain=m % 2) for m in range(3)))
        if page.after is None or len(seen) > 200:
            break
        after = Position.from_cursor(page.after.cursor())
    assert len(seen) == len(set(seen))
    assert before <= set(seen)


def test_an_empty_database_has_no_pages(database):
    for order in ORDERS:
        assert read_pages(database, order, 5) == [ImagePage([], None, None)]
    with database.reading() as session:
        totals = totals_of(session)
        assert recent_gains(session, 5) == []
        assert runs_of(session, 5) == ([], None)
    assert (totals.images, totals.measured, totals.psnr, totals.gain) == (0, 0, None, None)


def test_totals_count_images_and_average_measured_ones(database):
    record_all(
        database,
        evaluation(1, gain=1),
        evaluation(2, gain=2),
        evaluation(3, gain=None),
        evaluation(4).model_copy(update={"ours": Metrics(psnr=None, ssim=1.0)}),
    )
    with database.reading() as session:
        totals = totals_of(session)
    assert (totals.images, totals.measured) == (4, 2)
    assert totals.gain == pytest.approx(1.5)
    assert totals.psnr == pytest.approx(31.5)
    assert totals.ssim == pytest.approx((0.9 + 0.9 + 1.0) / 3)
    assert totals.bicubic_ssim == pytest.approx(0.8)


def test_recent_gains_are_sorted_by_time(database):
    record_all(database, *(evaluation(n, minutes=9 - n, gain=n or None) for n in range(6)))
    with database.reading() as session:
        found = recent_gains(session, 3)
    assert [gain for _, _, gain in found] == pytest.approx([3, 2, 1])
    assert [name for name, _, _ in found] == [image_id(3), image_id(2), image_id(1)]
    assert [moment for _, moment, _ in found] == [MOMENT + timedelta(minutes=m) for m in (6, 7, 8)]


def test_a_value_that_a_database_cannot_store_is_a_record_error(url, database):
    if url.startswith("sqlite"):
        assert record_all(database, evaluation(1, run_id="a\0b")) == [True]
    else:
        # Otherwise it would count as a database outage, and be retried for ever.
        with pytest.raises(RecordError, match="cannot be stored"):
            record_all(database, evaluation(1, run_id="a\0b"))


# ---- cursors


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "é", "bm8=", "WzFd", "W10=", "eyJhIjoxfQ==", "WzEsMl0=", "WyJhIiwiYiJd"),
        Position(2**63, "a").cursor(),
        Position(float("nan"), "a").cursor(),
        Position(1, "\0").cursor(),
    ],
)
def test_forged_cursors_are_rejected(cursor):
    with pytest.raises(CursorError):
        Position.from_cursor(cursor)


@pytest.mark.parametrize(
    "position", [Position(1_700_000_000_000_001, "a"), Position(-0.125, "b" * 32)]
)
def test_a_cursor_decodes_to_its_position(position):
    assert Position.from_cursor(position.cursor()) == position


# ---- runs


def execution(state: State, minutes: int, name: str = "2026-01-31-x2-1") -> RunStatus:
    return RunStatus(
        name,
        "execution",
        state,
        2,
        date(2026, 1, 31),
        MOMENT,
        MOMENT + timedelta(minutes=minutes),
        {"error": "E"} if state == "failed" else {},
    )


def set_runs(database: Database, *statuses: RunStatus) -> list[bool]:
    def recorded(status: RunStatus) -> bool:
        with database.writing() as session:
            return record_run(session, status)

    return [recorded(each) for each in statuses]


def run_named(database: Database, name: str = "2026-01-31-x2-1") -> RunStatus:
    with database.reading() as session:
        return next(run for run in runs_of(session, 100)[0] if run.name == name)


@pytest.mark.parametrize("end", ["succeeded", "failed", "stopped"])
def test_an_ended_execution_does_not_become_running(database, end):
    started, ended = execution("running", 0), execution(end, 5)
    assert set_runs(database, ended, started, ended) == [True, False, False]
    assert run_named(database) == ended
    other = "2026-01-31-x2-2"
    statuses = [execution("running", 9, other), execution(end, 5, other)]  # with clocks that differ
    assert set_runs(database, *statuses) == [True, True]
    assert run_named(database, other).state == end


def test_a_redriven_execution_ends_again(database):
    assert set_runs(database, execution("failed", 5), execution("running", 6)) == [True, False]
    assert set_runs(database, execution("succeeded", 7)) == [True]
    assert run_named(database).state == "succeeded"


def test_a_manifest_becomes_a_status(database):
    manifest = RunManifest.from_json((ROOT / "tests/records/v1/RunManifest.json").read_bytes())
    with database.writing() as session:
        assert record_run(session, status_of_manifest(manifest), "tag-1")
    with database.writing() as session:
        assert not record_run(session, status_of_manifest(manifest), "tag-1")
        assert record_run(session, execution("succeeded", 1), "of no file")
    with database.reading() as session:
        assert known_run_tags(session) == {manifest.run_id: "tag-1"}
    status = run_named(database, manifest.run_id)
    assert (status.kind, status.state, status.scale) == ("run", "succeeded", 2)
    assert status.detail["counts"] == manifest.counts
    assert status.ingest_date == manifest.ingest_date


def test_runs_are_listed_by_page(database):
    runs = [execution("succeeded", n % 3, f"run-{n:02}") for n in range(11)]
    set_runs(database, *runs)
    found: list[RunStatus] = []
    after = None
    while True:
        with database.reading() as session:
            page, after = runs_of(session, 4, after)
        found += page
        if after is None:
            break
    assert found == sorted(runs, key=lambda run: (run.changed_at, run.name), reverse=True)


# ---- the database itself


def test_migrations_create_exactly_the_tables(database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []


def migrate(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "notifier" / "migrations"))
    with database.engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        down = revision == "0001"
        (command.downgrade if down else command.upgrade)(config, revision)


def test_results_from_before_there_were_recipes_have_the_default_one(database):
    record_all(database, evaluation(1), evaluation(1, recipe=GREY), evaluation(2, gain=None))
    migrate(database, "0001")
    with database.reading() as session:
        rows = session.execute(text("SELECT image_id FROM images ORDER BY image_id"))
        assert list(rows.scalars()) == sorted([image_id(1), image_id(2)])
    migrate(database, "head")
    with database.reading() as session:
        assert image_of(session, image_id(1)) == evaluation(1)
        assert image_of(session, image_id(2)) == evaluation(2, gain=None)
        assert known_tags(session, [image_id(1)]) == {f"/results/{image_id(1)}.json": "tag"}
    assert record_all(database, evaluation(1), evaluation(1, recipe=GREY)) == [False, True]


def test_figures_that_no_image_has_are_forgotten(database):
    record_all(database, *(evaluation(number) for number in range(4)))
    with database.writing() as session:
        for number, wrong in enumerate(("psnr = 1e308", "gain = -1e308", "ssim = 7")):
            session.execute(
                text(f"UPDATE images SET {wrong} WHERE image_id = '{image_id(number)}'")
            )
    migrate(database, "0001")
    migrate(database, "head")
    with database.reading() as session:
        assert totals_of(session).images == 1
        assert image_of(session, image_id(3)) == evaluation(3)


def test_reopening_a_database_keeps_its_content(url, database):
    record_all(database, evaluation(1))
    again = open_database(url)
    with again.reading() as session:
        assert totals_of(session).images == 1
    assert again.change()[0] == 1
    again.close()


@pytest.mark.slow
def test_several_processes_may_open_a_new_database_at_once(url):
    code = f"from notifier.store.database import open_database; open_database({url!r}).close()"
    command = [sys.executable, "-W", "error", "-c", code]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [process.communicate(timeout=60)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, errors
    opened = open_database(url)
    assert opened.change()[0] == 0
    opened.close()


@pytest.mark.parametrize(
    "wrong",
    [
        "nonsense",
        "",
        "mysql://a/b",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql+nodriver://a/b",
        "postgresql://a:port/b",
        "sqlite+aiosqlite:///a.db",
    ],
)
def test_an_unsupported_url_is_a_configuration_error(wrong):
    with pytest.raises(ConfigError, match=r"notifier\.database_url"):
        open_database(wrong)


@pytest.mark.parametrize("broken", ["no database", "a folder", "below a file"])
def test_a_file_that_is_no_database_is_an_error(tmp_path, broken):
    path = tmp_path / "file.db"
    if broken == "a folder":
        path.mkdir()
    else:
        path.write_bytes(b"not a database, but long enough to be read as the head of one" * 20)
    with pytest.raises(StorageError):
        open_database(f"sqlite:///{path}{'/a.db' if broken == 'below a file' else ''}")


def test_sqlite_allows_reading_while_another_process_writes(tmp_path):
    path = tmp_path / "notifier.db"
    database = open_database(f"sqlite:///{path}")
    record_all(database, evaluation(1))
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM images")
        with database.reading() as session:
            assert totals_of(session).images == 1
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(record_all, database, evaluation(2))
            assert not writing.done()
            other.execute("ROLLBACK")
            assert writing.result(timeout=10) == [True]
    other.close()
    database.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_database_is_reported_at_once(tmp_path):
    url = f"sqlite:///{tmp_path}/notifier.db"
    open_database(url).close()
    for path in (tmp_path / "notifier.db", tmp_path):
        path.chmod(0o500)
    with pytest.raises(StorageError, match="readonly"):
        open_database(url)
    tmp_path.chmod(0o700)
