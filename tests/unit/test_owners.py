"""Tables that a killed start of a run has left are deleted by the next, and no others."""

from datetime import date
from pathlib import Path

import pytest

from jobs.owners import owned_tables
from superres.pipeline import storage
from superres.pipeline.layout import Layout, dataset_in, layout_on


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layout_on(dataset_in(str(tmp_path)), date(2026, 1, 31), 2)


def tables_of(layout: Layout, owner: str) -> list[str]:
    """Writes a table of each kind."""
    folders = (layout.patches, layout.inference, layout.reconstructed)
    tables = [storage.join(folder, f"attempt=1-2-{owner}") for folder in folders]
    for table in tables:
        storage.write_bytes(storage.join(table, "part-0.parquet"), b"rows")
    return tables


def there(tables: list[str]) -> list[bool]:
    return [Path(table).exists() for table in tables]


def killed_owner(layout: Layout) -> str:
    """An owner whose process has ended before its block."""
    with pytest.raises(SystemExit), owned_tables(layout) as owner:
        raise SystemExit
    return owner


def test_tables_of_an_owner_that_is_gone_are_deleted_by_the_next(layout: Layout) -> None:
    gone = killed_owner(layout)
    tables = tables_of(layout, gone)
    with owned_tables(layout) as owner:
        assert owner != gone
        assert there(tables) == [False] * 3
    assert list(Path(layout.owners).iterdir()) == []


def test_tables_of_an_owner_that_lives_stay(layout: Layout) -> None:
    with owned_tables(layout) as first:
        tables = tables_of(layout, first)
        with owned_tables(layout):
            assert there(tables) == [True] * 3
        assert [file.name for file in Path(layout.owners).iterdir()] == [first]


def test_tables_without_an_owner_stay(layout: Layout) -> None:
    killed_owner(layout)
    tables = tables_of(layout, "abcdef01")  # of a job by itself
    with owned_tables(layout):
        assert there(tables) == [True] * 3


def test_other_runs_are_left_alone(layout: Layout, tmp_path: Path) -> None:
    other = layout_on(dataset_in(str(tmp_path)), date(2026, 1, 31), 3)
    tables = tables_of(other, killed_owner(other))
    with owned_tables(layout):
        assert there(tables) == [True] * 3


def test_tables_on_s3_need_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a request")

    monkeypatch.setattr(storage, "write_bytes", refuse)
    with owned_tables(layout_on(dataset_in("s3://bucket"), date(2026, 1, 31), 2)) as owner:
        assert len(owner) == 8
