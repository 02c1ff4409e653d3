"""Finished images: recording them, and reading them page by page."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import structlog
from sqlalchemy import Row, Select, and_, bindparam, func, or_, select
from sqlalchemy.orm import Session

from notifier.store.database import Database, count_change, insert_into
from notifier.store.paging import Position
from notifier.store.tables import Image, microseconds_of, moment_of
from superres.errors import RecordError
from superres.pipeline.records import Evaluation

_log = structlog.get_logger()
_REPORTED_LENGTH = 80  # of a record: it begins with its version and image_id
# Built once, and from the table: building it from the class for every request would take a quarter
# of the response time.
_TABLE = Image.__table__.c
_RECORD_OF = select(_TABLE.record).where(_TABLE.result_id == bindparam("result_id"))
Order = Literal["newest", "best", "worst"]
"""By time, or by gain with the greatest or the least first (without images that have none)."""


@dataclass(frozen=True)
class ImagePage:
    """Some images in order; ``after`` and ``before`` are where the adjacent pages begin."""

    records: list[str]
    after: Position | None
    before: Position | None

    @property
    def images(self) -> list[Evaluation]:
        """The parsed records, without those that cannot be read."""
        return _readable(self.records)


@dataclass(frozen=True)
class Totals:
    """All images counted; means in dB and SSIM over those that have an original."""

    images: int
    measured: int
    psnr: float | None
    bicubic_psnr: float | None
    gain: float | None
    ssim: float | None
    bicubic_ssim: float | None


def record_evaluation(session: Session, evaluation: Evaluation, uri: str, tag: str) -> bool:
    """Stores an evaluation unless a newer one of the result is known; returns whether it did.

    The newest evaluation wins, in whatever order and however often records are read.
    """
    ours, bicubic = evaluation.ours, evaluation.bicubic
    gain = None
    if ours and bicubic and ours.psnr is not None and bicubic.psnr is not None:
        gain = ours.psnr - bicubic.psnr
    values = {
        "result_id": evaluation.result_id,
        "image_id": evaluation.image_id,
        "finished_at": evaluation.finished_at,
        "run_id": evaluation.run_id,
        "psnr": ours and ours.psnr,
        "ssim": ours and ours.ssim,
        "bicubic_psnr": bicubic and bicubic.psnr,
        "bicubic_ssim": bicubic and bicubic.ssim,
        "gain": gain,
        "record": evaluation.to_json(),
        "uri": uri,
        "tag": tag,
    }
    insert = insert_into(session, Image).values(values)
    written = session.execute(
        insert.on_conflict_do_update(
            index_elements=[Image.result_id],
            set_={name: insert.excluded[name] for name in values if name != "result_id"},
            where=Image.finished_at < insert.excluded.finished_at,
        ).returning(Image.result_id)
    ).first()
    if written:
        count_change(session)
    return written is not None


def known_tags(session: Session, image_ids: Collection[str]) -> dict[str, str]:
    """Returns the tags of the known records of these images, by URI."""
    rows = session.execute(select(Image.uri, Image.tag).where(Image.image_id.in_(image_ids)))
    return dict(rows.tuples().all())


def record_of(database: Database, result_id: str) -> str | None:
    """Returns the record of a result as JSON; None if it is not finished."""
    found: str | None = database.value(_RECORD_OF, {"result_id": result_id})
    return found


def image_of(session: Session, result_id: str) -> Evaluation | None:
    """Returns the parsed record of a result; None if it is not finished."""
    record = session.scalar(_RECORD_OF, {"result_id": result_id})
    return next(iter(_readable([record])), None) if record is not None else None


def other_results(session: Session, image: Evaluation) -> list[Evaluation]:
    """Returns what other recipes made of the same image, the default one first."""
    same = (Image.image_id == image.image_id) & (Image.result_id != image.result_id)
    records = session.scalars(select(Image.record).where(same).order_by(Image.result_id))
    return _readable(records)


def page_of(
    session: Session,
    order: Order,
    limit: int,
    after: Position | None = None,
    before: Position | None = None,
) -> ImagePage:
    """Returns the page after or before a position; without a position, the first page."""
    backwards = before is not None
    rows = list(session.execute(_selected(order, limit + 1, after or before, backwards)))
    more, rows = len(rows) > limit, rows[:limit]
    if backwards:
        rows.reverse()
    has_next, has_previous = (backwards or more), (more if backwards else after is not None)
    return ImagePage(
        [row.record for row in rows],
        _position(rows[-1]) if rows and has_next else None,
        _position(rows[0]) if rows and has_previous else None,
    )


def totals_of(session: Session) -> Totals:
    """Returns the totals."""
    row = session.execute(
        select(
            func.count(),
            func.count(Image.gain),
            func.avg(Image.psnr),
            func.avg(Image.bicubic_psnr),
            func.avg(Image.gain),
            func.avg(Image.ssim),
            func.avg(Image.bicubic_ssim),
        ).select_from(Image)
    ).one()
    return Totals(*row)


def recent_gains(session: Session, count: int) -> list[tuple[str, datetime, float]]:
    """Returns (result_id, time, gain in dB) of the images measured last, oldest first."""
    rows = session.execute(
        select(Image.result_id, Image.finished_at, Image.gain)
        .where(Image.gain.is_not(None))
        .order_by(Image.finished_at.desc(), Image.result_id.desc())
        .limit(count)
    )
    return [(result_id, moment, gain) for result_id, moment, gain in rows if gain is not None][::-1]


def _readable(records: Iterable[str]) -> list[Evaluation]:
    """Parses records; leaves out and reports once what an earlier version has stored wrongly."""
    found = []
    for record in records:
        try:
            found.append(Evaluation.from_json(record))
        except RecordError as error:
            _report_once(record[:_REPORTED_LENGTH], str(error))
    return found


@lru_cache(256)
def _report_once(beginning: str, reason: str) -> None:
    _log.error("stored_record_unreadable", record=beginning, reason=reason)


def _selected(order: Order, limit: int, position: Position | None, backwards: bool) -> Select[Any]:
    key = Image.finished_at if order == "newest" else Image.gain
    downwards = (order != "worst") != backwards
    chosen = select(Image.result_id, key.label("key"), Image.record)
    if order != "newest":
        chosen = chosen.where(Image.gain.is_not(None))
    if position is not None:
        value = moment_of(int(position.key)) if order == "newest" else position.key
        further, further_id = (
            (key < value, Image.result_id < position.name)
            if downwards
            else (key > value, Image.result_id > position.name)
        )
        chosen = chosen.where(or_(further, and_(key == value, further_id)))
    columns = (key.desc(), Image.result_id.desc()) if downwards else (key, Image.result_id)
    return chosen.order_by(*columns).limit(limit)


def _position(row: Row[Any]) -> Position:
    key = microseconds_of(row.key) if isinstance(row.key, datetime) else row.key
    return Position(key, row.result_id)
