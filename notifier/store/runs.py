"""Runs of the jobs, and executions of the state machine that starts them."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from notifier.store.database import count_change, insert_into
from notifier.store.paging import Position
from notifier.store.tables import Run, microseconds_of, moment_of
from superres.pipeline.records import RunManifest

Kind = Literal["run", "execution"]
State = Literal["running", "succeeded", "failed", "stopped"]


@dataclass(frozen=True)
class RunStatus:
    """The status of one start of a run, named as its manifest, or of an execution.

    ``detail`` of a run: counts, rejected (image_ids) and seconds, as in its manifest, and the
    recipe where it is not the default. Of an execution: error and cause, where it failed.
    """

    name: str
    kind: Kind
    state: State
    scale: int | None
    ingest_date: date | None
    started_at: datetime | None
    changed_at: datetime
    detail: dict[str, Any]


def status_of_manifest(manifest: RunManifest) -> RunStatus:
    """Returns the status of a run with a manifest: it has succeeded."""
    kept = {"counts", "rejected", "seconds"} | ({"recipe"} if manifest.recipe else set())
    detail = manifest.model_dump(mode="json", include=kept)
    return RunStatus(
        manifest.name,
        "run",
        "succeeded",
        manifest.scale,
        manifest.ingest_date,
        None,
        manifest.finished_at,
        detail,
    )


def record_run(session: Session, status: RunStatus, tag: str = "") -> bool:
    """Stores a status unless a newer one is known; returns whether it did.

    An execution that has ended does not become running again, in whatever order events arrive.
    """
    values = {
        "name": status.name,
        "kind": status.kind,
        "state": status.state,
        "scale": status.scale,
        "ingest_date": status.ingest_date,
        "started_at": status.started_at,
        "changed_at": status.changed_at,
        "detail": json.dumps(status.detail, ensure_ascii=False),
        "tag": tag,
    }
    insert = insert_into(session, Run).values(values)
    newer = Run.changed_at < insert.excluded.changed_at
    if status.kind == "execution":
        ends_it = (Run.state == "running") & (insert.excluded.state != "running")
        newer = or_(
            ends_it, newer & ((Run.state == "running") | (insert.excluded.state != "running"))
        )
    written = session.execute(
        insert.on_conflict_do_update(
            index_elements=[Run.kind, Run.name],
            set_={name: insert.excluded[name] for name in values if name not in ("kind", "name")},
            where=newer,
        ).returning(Run.name)
    ).first()
    if written:
        count_change(session)
    return written is not None


def known_run_tags(session: Session) -> dict[str, str]:
    """Returns the tags of the known manifests, by name."""
    rows = session.execute(select(Run.name, Run.tag).where(Run.kind == "run"))
    return dict(rows.tuples().all())


def runs_of(
    session: Session, limit: int, after: Position | None = None
) -> tuple[list[RunStatus], Position | None]:
    """Returns a page of runs, the latest first, and where the next page begins."""
    chosen = select(Run).order_by(Run.changed_at.desc(), Run.name.desc()).limit(limit + 1)
    if after is not None:
        moment = moment_of(int(after.key))
        same = (Run.changed_at == moment) & (Run.name < after.name)
        chosen = chosen.where(or_(Run.changed_at < moment, same))
    rows = list(session.scalars(chosen))
    page = rows[:limit]
    statuses = [_status(row) for row in page]
    if len(rows) <= limit:
        return statuses, None
    return statuses, Position(microseconds_of(page[-1].changed_at), page[-1].name)


def _status(row: Run) -> RunStatus:
    kind: Kind = "execution" if row.kind == "execution" else "run"
    state: State = row.state  # type: ignore[assignment]  # written by record_run only
    return RunStatus(
        row.name,
        kind,
        state,
        row.scale,
        row.ingest_date,
        row.started_at,
        row.changed_at,
        json.loads(row.detail),
    )
