"""The tables. ``migrations/`` creates them; a test compares the two."""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import BigInteger, Date, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(TypeDecorator[datetime]):
    """An aware datetime as microseconds since 1970: SQLite has no time zones."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Any) -> int | None:
        """To the database."""
        return None if value is None else microseconds_of(value)

    def process_result_value(self, value: int | None, _: Any) -> datetime | None:
        """From the database."""
        return None if value is None else moment_of(value)


def microseconds_of(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def moment_of(microseconds: int) -> datetime:
    """The moment in UTC."""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(
        microsecond=microseconds % 1_000_000
    )


class Table(DeclarativeBase):
    """The base of all tables."""


class Change(Table):
    """One row with the change number, which every visible change increments.

    Its lock serialises writers: a reader that has seen n has seen everything written up to n.
    """

    __tablename__ = "changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    database: Mapped[str] = mapped_column(String(8))  # distinguishes this database from a new one


class Image(Table):
    """A finished image: its evaluation record, and the columns that lists sort by.

    ``result_id`` is the image_id, with the key of the recipe where that is not the default one.
    ``gain`` is the PSNR of ours above bicubic in dB; None where there is no original, or where one
    of the two equals it. ``tag`` identifies the version of the stored record.
    """

    __tablename__ = "images"

    result_id: Mapped[str] = mapped_column(String(41), primary_key=True)
    image_id: Mapped[str] = mapped_column(String(32))
    finished_at: Mapped[datetime] = mapped_column(Moment)
    run_id: Mapped[str] = mapped_column(Text)
    psnr: Mapped[float | None]
    ssim: Mapped[float | None]
    bicubic_psnr: Mapped[float | None]
    bicubic_ssim: Mapped[float | None]
    gain: Mapped[float | None]
    record: Mapped[str] = mapped_column(Text)
    uri: Mapped[str] = mapped_column(Text)
    tag: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        Index("images_by_time", "finished_at", "result_id"),
        Index("images_by_gain", "gain", "result_id"),
        Index("images_by_image", "image_id"),
    )


class Run(Table):
    """A run of the jobs (from its manifest) or an execution of the state machine (from events)."""

    __tablename__ = "runs"

    kind: Mapped[str] = mapped_column(String(9), primary_key=True)  # run or execution
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    state: Mapped[str] = mapped_column(String(9))  # running, succeeded, failed or stopped
    scale: Mapped[int | None]
    ingest_date: Mapped[date | None] = mapped_column(Date)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    changed_at: Mapped[datetime] = mapped_column(Moment)
    detail: Mapped[str] = mapped_column(Text)  # JSON: counts, rejected, seconds; or cause and error
    tag: Mapped[str] = mapped_column(Text)

    __table_args__ = (Index("runs_by_time", "changed_at", "name"),)


class Subscription(Table):
    """A URL that receives events; ``failing_since`` is the first failure since the last success."""

    __tablename__ = "subscriptions"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    types: Mapped[str] = mapped_column(Text)  # JSON list of event types
    description: Mapped[str] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    failing_since: Mapped[datetime | None] = mapped_column(Moment)
    disabled_at: Mapped[datetime | None] = mapped_column(Moment)
    disabled_reason: Mapped[str | None] = mapped_column(Text)


class Delivery(Table):
    """The delivery of one event to one subscription, with its outcome.

    Its sender holds a lease until ``leased_until``; when a sender dies the lease expires.
    """

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    subscription_id: Mapped[str] = mapped_column(ForeignKey("subscriptions.id", ondelete="CASCADE"))
    message_id: Mapped[str] = mapped_column(String(64))  # the header webhook-id
    type: Mapped[str] = mapped_column(String(32))
    payload: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(9))  # pending, delivered or failed
    created_at: Mapped[datetime] = mapped_column(Moment)
    give_up_at: Mapped[datetime] = mapped_column(Moment)
    due_at: Mapped[datetime] = mapped_column(Moment)
    leased_until: Mapped[datetime | None] = mapped_column(Moment)
    attempts: Mapped[int]
    status: Mapped[int | None]  # of the last response
    error: Mapped[str | None] = mapped_column(Text)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        UniqueConstraint("subscription_id", "message_id", name="one_delivery_per_message"),
        Index("deliveries_due", "subscription_id", "state", "due_at"),
    )
