"""Events on their way to subscriptions: claimed by a sender, settled after each attempt.

A sender holds a lease on what it claimed, so that several may work on one database. One that is
killed lets its leases run out, and another sends again what it may have sent already.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from notifier.events import Event
from notifier.store.paging import Place
from notifier.store.tables import Delivery, Subscription

LASTING = timedelta(days=1)
"""How long a delivery is tried."""
_KEPT = timedelta(days=30)  # once it has ended


@dataclass(frozen=True)
class Claimed:
    """A delivery to send now, ours until the lease runs out."""

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
        status: of the answer; None when there was none.
        error: why it failed; None: it is delivered.
        again_at: when a failure is tried again; None: not any more.
    """

    status: int | None
    error: str | None = None
    again_at: datetime | None = None


def new_delivery(event: Event, subscription_id: str, now: datetime) -> dict[str, Any]:
    """The columns of an event that is to go to a subscription at once."""
    return {
        "subscription_id": subscription_id,
        "message_id": event.message_id,
        "type": event.type,
        "payload": event.payload(),
        "state": "pending",
        "created_at": now,
        "give_up_at": now + LASTING,
        "due_at": now,
        "attempts": 0,
    }


def add_test(session: Session, subscription_id: str, now: datetime) -> Delivery:
    """Sends a test event to one subscription, whatever types it wants."""
    event = Event("test", subscription_id, now, {"subscription_id": subscription_id})
    delivery = Delivery(**new_delivery(event, subscription_id, now))
    session.add(delivery)
    session.flush()
    return delivery


def deliveries_to(
    session: Session, subscription_id: str, limit: int, after: Place | None = None
) -> tuple[list[Delivery], Place | None]:
    """At most so many, the newest first, and where the next page goes on."""
    chosen = select(Delivery).where(Delivery.subscription_id == subscription_id)
    if after is not None:
        chosen = chosen.where(Delivery.id < int(after.key))
    rows = list(session.scalars(chosen.order_by(Delivery.id.desc()).limit(limit + 1)))
    page = rows[:limit]
    return page, Place(page[-1].id, "") if len(rows) > limit else None


def replay(
    session: Session, subscription_id: str, delivery_id: int, now: datetime
) -> Delivery | None:
    """Sends a delivery again as if it were new, under its old message id; None: there is none.

    One that is just being sent is sent again too.
    """
    return session.scalars(
        update(Delivery)
        .where(Delivery.id == delivery_id, Delivery.subscription_id == subscription_id)
        .values(
            state="pending",
            due_at=now,
            give_up_at=now + LASTING,
            leased_until=None,
            attempts=0,
            status=None,
            error=None,
            ended_at=None,
        )
        .returning(Delivery)
    ).first()


def subscriptions_due(session: Session, now: datetime) -> list[str]:
    """The enabled subscriptions that something is due for and not being sent."""
    due = exists().where(Delivery.subscription_id == Subscription.id, *_due(now))
    chosen = select(Subscription.id).where(Subscription.disabled_at.is_(None), due)
    return list(session.scalars(chosen))


def claim(
    session: Session, subscription_id: str, now: datetime, count: int, lease: timedelta
) -> list[Claimed]:
    """Takes at most so many of those due for an enabled subscription, the longest due first.

    No two senders take the same one: SQLite lets one write at a time, and PostgreSQL leaves out
    rows that another has locked.
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
    """Writes down how an attempt ended; False when the delivery is no longer ours."""
    state = "failed" if settlement.error is not None else "delivered"
    again = settlement.again_at
    values: dict[str, Any] = {"state": state, "ended_at": now}
    if again is not None:
        values = {"state": "pending", "due_at": again}
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
    """Gives back a delivery that was not tried to the end; False when it is no longer ours."""
    return _change(session, claimed, leased_until=None)


def forget_old(session: Session, now: datetime) -> None:
    """Deletes what ended long ago."""
    session.execute(delete(Delivery).where(Delivery.ended_at < now - _KEPT))


def fail_overdue(session: Session, now: datetime) -> int:
    """Makes failed what waited for a disabled subscription past its give-up time; how many."""
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
    """How many are on their way."""
    pending = select(func.count()).select_from(Delivery).where(Delivery.state == "pending")
    return session.scalars(pending).one()


def _due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    free = or_(Delivery.leased_until.is_(None), Delivery.leased_until <= now)
    return (Delivery.state == "pending", Delivery.due_at <= now, free)


def _change(session: Session, claimed: Claimed, **values: Any) -> bool:
    # The lease tells our claim from a later one, and from a replay.
    changed = session.scalars(
        update(Delivery)
        .where(Delivery.id == claimed.id, Delivery.leased_until == claimed.leased_until)
        .values(**values)
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return changed.first() is not None
