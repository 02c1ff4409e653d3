"""Whether the database answers as the pages need it."""

from sqlalchemy import select

from notifier.store.database import Database
from notifier.store.images import page_of, totals_of
from notifier.store.runs import runs_of
from notifier.store.tables import Delivery, Subscription
from superres.errors import RecordError, StorageError


def unreadable_rows(database: Database) -> str:
    """Why rows of the tables cannot be read; empty when they can. Costs a row of each."""
    try:
        with database.reading() as session:
            page_of(session, "newest", 1)
            page_of(session, "best", 1)
            runs_of(session, 1)
            session.scalars(select(Subscription).limit(1)).all()
            session.scalars(select(Delivery).limit(1)).all()
    except (StorageError, RecordError) as error:
        return str(error)
    return ""


def unreadable_images(database: Database) -> str:
    """Why the images cannot all be read; empty when they can. Reads the whole table."""
    try:
        with database.reading() as session:
            totals_of(session)
    except StorageError as error:
        return str(error)
    return ""
