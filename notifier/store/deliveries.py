"""Deliveries of events to subscriptions: claimed by a sender, settled after each attempt.

A sender holds a lease on the deliveries that it claimed, so several can share a database. When one
is killed its leases expire, and another sends those deliveries, possibly a second time.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from notifier.events import Event
from notifier.store.paging import Position
from notifier.store.tables import Delivery, Subscription

GIVE_UP_AFTER = timedelta(days=1)
"""How long a delivery is attempted."""
_RETENTION = timedelta(days=30)  # after it has ended


@dataclass(frozen=True)
class Claimed:
    """A delivery to send now; it belongs to the sender until the lease expires."""

    id: int
    subscription_id: str
    url: str
    secret: str = field(repr=False)
    message_id: str
    type: str
    payload: str = field(repr=False)
    attempts: int
    give_up_at: datetime
    leased_until: datetime


@dataclass(frozen=True)
class Settlement:
    """How an attempt ended.

    Attributes:
        status: of the response; None when there was none.
        error: why it failed; None for a success.
        retry_at: when to try again after a failure; None to give up.
    """

    status: int | None
    error: str | None = None
    retry_at: datetime | None = None


def new_delivery(event: Event, subscription_id: str, now: datetime) -> dict[str, Any]:
    """The columns of a delivery that is due at once."""
    return {
        "subscription_id": subscription_id,
        "message_id": event.message_id,
        "type": event.type,
        "payload": event.payload(),
        "state": "pending",
        "created_at": now,
        "give_up_at": now + GIVE_UP_AFTER,
        "due_at": now,
        "attempts": 0,
    }


def add_test(session: Session, subscription_id: str, now: datetime) -> Delivery:
    """Adds a test event for one subscription, whatever its types."""
    event = Event("test", subscription_id, now, {"subscription_id": subscription_id})
    delivery = Delivery(**new_delivery(event, subscription_id, now))
    session.add(delivery)
    session.flush()
    return delivery


def deliveries_to(
    session: Session, subscription_id: str, limit: int, after: Position | None = None
) -> tuple[list[Delivery], Position | None]:
    """Returns a page of deliveries, newest first, and where the next page begins."""
    chosen = select(Delivery).where(Delivery.subscription_id == subscription_id)
    if after is not None:
        chosen = chosen.where(Delivery.id < int(after.key))
    rows = list(session.scalars(chosen.order_by(Delivery.id.desc()).limit(limit + 1)))
    page = rows[:limit]
    return page, Position(page[-1].id, "") if len(rows) > limit else None


def replay(
    session: Session, subscription_id: str, delivery_id: int, now: datetime
) -> Delivery | None:
    """Makes a delivery due again, under the same message id; returns None if there is none.

    A delivery that is being sent at the moment is sent again, too.
    """
    return session.scalars(
        update(Delivery)
        .where(Delivery.id == delivery_id, Delivery.subscription_id == subscription_id)
        .values(
            state="pending",
            due_at=now,
            give_up_at=now + GIVE_UP_AFTER,
            leased_until=None,
            attempts=0,
            status=None,
            error=None,
            ended_at=None,
        )
        .returning(Delivery)
    ).first()


def subscriptions_due(session: Session, now: datetime) -> list[str]:
    """Returns the enabled subscriptions that have a due delivery which no sender holds."""
    due = exists().where(Delivery.subscription_id == Subscription.id, *_due(now))
    chosen = select(Subscription.id).where(Subscription.disabled_at.is_(None), due)
    return list(session.scalars(chosen))


def claim(
    session: Session, subscription_id: str, now: datetime, count: int, lease: timedelta
) -> list[Claimed]:
    """Claims up to ``count`` due deliveries of an enabled subscription, the longest due first.

    No two senders claim the same delivery: SQLite allows one writer at a time, and PostgreSQL skips
    rows that another transaction has locked.
    """
    rows = session.execute(
        select(Delivery, Subscription.url, Subscription.secret)
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .where(
            Delivery.subscription_id == subscription_id,
            Subscription.disabled_at.is_(None),
            *_due(now),
        )
        .order_by(Delivery.due_at, Delivery.id)
        .limit(count)
        .with_for_update(of=Delivery, skip_locked=True)
    ).all()
    until = now + lease
    claimed = []
    for delivery, url, secret in rows:
        delivery.leased_until = until
        claimed.append(
            Claimed(
                delivery.id,
                subscription_id,
                url,
                secret,
                delivery.message_id,
                delivery.type,
                delivery.payload,
                delivery.attempts,
                delivery.give_up_at,
                until,
            )
        )
    return claimed


def settle(session: Session, claimed: Claimed, settlement: Settlement, now: datetime) -> bool:
    """Records how an attempt ended; returns False if the lease was lost."""
    state = "failed" if settlement.error is not None else "delivered"
    retry_at = settlement.retry_at
    values: dict[str, Any] = {"state": state, "ended_at": now}
    if retry_at is not None:
        values = {"state": "pending", "due_at": retry_at}
    return _change(
        session,
        claimed,
        leased_until=None,
        attempts=claimed.attempts + 1,
        status=settlement.status,
        error=settlement.error,
        **values,
    )


def release(session: Session, claimed: Claimed) -> bool:
    """Gives back a delivery whose attempt was cut off; returns False if the lease was lost."""
    return _change(session, claimed, leased_until=None)


def delete_old(session: Session, now: datetime) -> None:
    """Deletes deliveries that ended more than 30 days ago."""
    session.execute(delete(Delivery).where(Delivery.ended_at < now - _RETENTION))


def fail_overdue(session: Session, now: datetime) -> int:
    """Fails overdue deliveries of disabled subscriptions; returns their number."""
    disabled = select(Subscription.id).where(Subscription.disabled_at.is_not(None))
    failed = session.scalars(
        update(Delivery)
        .where(
            Delivery.subscription_id.in_(disabled),
            Delivery.state == "pending",
            Delivery.give_up_at <= now,
        )
        .values(
            state="failed",
            error="its subscription was disabled until its give-up time",
            leased_until=None,
            ended_at=now,
        )
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return len(failed.all())


def count_pending(session: Session) -> int:
    """Returns the number of pending deliveries."""
    pending = select(func.count()).select_from(Delivery).where(Delivery.state == "pending")
    return session.scalars(pending).one()


def _due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    free = or_(Delivery.leased_until.is_(None), Delivery.leased_until <= now)
    return (Delivery.state == "pending", Delivery.due_at <= now, free)


def _change(session: Session, claimed: Claimed, **values: Any) -> bool:
    # The lease distinguishes this claim from a later one and from a replay.
    changed = session.scalars(
        update(Delivery)
        .where(Delivery.id == claimed.id, Delivery.leased_until == claimed.leased_until)
        .values(**values)
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return changed.first() is not None
