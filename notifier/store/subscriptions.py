"""Subscriptions: URLs that receive events."""

import base64
import json
import secrets
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, func, literal, select, update
from sqlalchemy.orm import Session

from notifier.store.tables import Moment, Subscription

_SECRET_BYTES = 32


def create_subscription(
    session: Session, url: str, types: Collection[str], description: str, now: datetime
) -> Subscription:
    """Stores a new subscription with a new id and secret."""
    subscription = Subscription(
        id=f"sub_{secrets.token_hex(16)}",
        url=url,
        types=json.dumps(sorted(set(types))),
        description=description,
        secret=f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}",
        created_at=now,
    )
    session.add(subscription)
    session.flush()
    return subscription


def subscription_of(session: Session, subscription_id: str) -> Subscription | None:
    """Returns a subscription; None if there is none."""
    return session.get(Subscription, subscription_id)


def all_subscriptions(session: Session) -> list[Subscription]:
    """Returns all subscriptions, oldest first."""
    return list(
        session.scalars(select(Subscription).order_by(Subscription.created_at, Subscription.id))
    )


def count_subscriptions(session: Session) -> int:
    """Returns the number of subscriptions."""
    return session.scalars(select(func.count()).select_from(Subscription)).one()


def delete_subscription(session: Session, subscription_id: str) -> bool:
    """Deletes a subscription with its deliveries; returns whether there was one."""
    gone = session.scalars(
        delete(Subscription).where(Subscription.id == subscription_id).returning(Subscription.id)
    )
    return gone.first() is not None


def enable(session: Session, subscription_id: str) -> None:
    """Resumes sending; waiting deliveries are sent when they are due."""
    session.execute(
        update(Subscription)
        .where(Subscription.id == subscription_id, Subscription.disabled_at.is_not(None))
        .values(disabled_at=None, disabled_reason=None, failing_since=None)
    )


def disable(session: Session, subscription_id: str, reason: str, now: datetime) -> bool:
    """Stops sending to a subscription; returns whether it was enabled.

    It gets no new deliveries. Pending ones wait until it is enabled again or fail at their give-up
    time.
    """
    changed = session.scalars(
        update(Subscription)
        .where(Subscription.id == subscription_id, Subscription.disabled_at.is_(None))
        .values(disabled_at=now, disabled_reason=reason)
        .returning(Subscription.id)
    )
    return changed.first() is not None


def note_success(session: Session, subscription_id: str) -> None:
    """Records a successful attempt."""
    session.execute(
        update(Subscription)
        .where(Subscription.id == subscription_id, Subscription.failing_since.is_not(None))
        .values(failing_since=None)
    )


def note_failure(session: Session, subscription_id: str, now: datetime) -> datetime:
    """Records a failed attempt; returns the time of the first failure since the last success."""
    since = session.scalars(
        update(Subscription)
        .where(Subscription.id == subscription_id)
        .values(failing_since=func.coalesce(Subscription.failing_since, literal(now, Moment())))
        .returning(Subscription.failing_since)
    ).first()
    return since or now
