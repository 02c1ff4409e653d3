"""Who is told of events, and where."""

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
    """Remembers a new one, with an id and a secret of its own."""
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
    """One of them."""
    return session.get(Subscription, subscription_id)


def all_subscriptions(session: Session) -> list[Subscription]:
    """All of them, the oldest first."""
    return list(
        session.scalars(select(Subscription).order_by(Subscription.created_at, Subscription.id))
    )


def count_subscriptions(session: Session) -> int:
    """How many there are."""
    return session.scalars(select(func.count()).select_from(Subscription)).one()


def delete_subscription(session: Session, subscription_id: str) -> bool:
    """Forgets one, its deliveries with it; whether it was there."""
    gone = session.scalars(
        delete(Subscription).where(Subscription.id == subscription_id).returning(Subscription.id)
    )
    return gone.first() is not None


def enable(session: Session, subscription_id: str) -> None:
    """Lets events go there again; what still waits for it is sent when it is due."""
    session.execute(
        update(Subscription)
        .where(Subscription.id == subscription_id, Subscription.disabled_at.is_not(None))
        .values(disabled_at=None, disabled_reason=None, failing_since=None)
    )


def disable(session: Session, subscription_id: str, reason: str, now: datetime) -> bool:
    """Lets no more events go there; whether they went until now.

    New events leave it out. Deliveries on their way wait for it to be enabled again; the sender
    makes those failed whose give-up time comes first.
    """
    changed = session.scalars(
        update(Subscription)
        .where(Subscription.id == subscription_id, Subscription.disabled_at.is_(None))
        .values(disabled_at=now, disabled_reason=reason)
        .returning(Subscription.id)
    )
    return changed.first() is not None


def note_success(session: Session, subscription_id: str) -> None:
    """An attempt went well."""
    session.execute(
        update(Subscription)
        .where(Subscription.id == subscription_id, Subscription.failing_since.is_not(None))
        .values(failing_since=None)
    )


def note_failure(session: Session, subscription_id: str, now: datetime) -> datetime:
    """An attempt failed; gives the first failure after the last success."""
    since = session.scalars(
        update(Subscription)
        .where(Subscription.id == subscription_id)
        .values(failing_since=func.coalesce(Subscription.failing_since, literal(now, Moment())))
        .returning(Subscription.failing_since)
    ).first()
    return since or now
