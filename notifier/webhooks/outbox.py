"""What is to be told, kept in the database until it is."""

import json
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from notifier.events import Event
from notifier.store.database import insert_into
from notifier.store.deliveries import new_delivery
from notifier.store.tables import Delivery, Subscription


def enqueue(session: Session, event: Event) -> None:
    """Puts an event on its way to every enabled subscription that wants its type.

    It leaves once the caller's transaction is committed. The same event again changes nothing.
    """
    # The lock keeps PostgreSQL from deleting a subscription before its delivery is in.
    rows = session.execute(
        select(Subscription.id, Subscription.types)
        .where(Subscription.disabled_at.is_(None))
        .with_for_update(read=True, key_share=True)
    )
    wanting = [name for name, types in rows if event.type in json.loads(types)]
    if not wanting:
        return
    now = datetime.now(UTC)
    session.execute(
        insert_into(session, Delivery)
        .values([new_delivery(event, name, now) for name in wanting])
        .on_conflict_do_nothing(index_elements=[Delivery.subscription_id, Delivery.message_id])
    )
