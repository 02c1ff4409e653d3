"""The outbox: deliveries written in the transaction that records an image or a run."""

import json
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from notifier.events import Event
from notifier.store.database import insert_into
from notifier.store.deliveries import new_delivery
from notifier.store.tables import Delivery, Subscription


def enqueue(session: Session, event: Event) -> None:
    """Adds a delivery for every enabled subscription to the type of an event.

    It is sent once the caller's transaction is committed. Adding an event twice has no effect.
    """
    # The lock keeps a subscription from being deleted before its delivery is inserted.
    rows = session.execute(
        select(Subscription.id, Subscription.types)
        .where(Subscription.disabled_at.is_(None))
        .with_for_update(read=True, key_share=True)
    )
    subscribed = [name for name, types in rows if event.type in json.loads(types)]
    if not subscribed:
        return
    now = datetime.now(UTC)
    session.execute(
        insert_into(session, Delivery)
        .values([new_delivery(event, name, now) for name in subscribed])
        .on_conflict_do_nothing(index_elements=[Delivery.subscription_id, Delivery.message_id])
    )
