"""Records images and runs, and enqueues their events in the same transaction.

So every image that the gallery shows is announced once, and no other image is.
"""

from notifier.disclosure import public_detail, public_record
from notifier.events import Event, EventType
from notifier.store.database import Database
from notifier.store.images import record_evaluation
from notifier.store.runs import RunStatus, record_run
from notifier.webhooks.outbox import enqueue
from superres.pipeline.records import Evaluation


def record_image(database: Database, evaluation: Evaluation, uri: str, tag: str) -> bool:
    """Records a finished image; returns whether it was new. Raises ``StorageError``."""
    with database.writing() as session:
        if not record_evaluation(session, evaluation, uri, tag):
            return False
        data = public_record(evaluation.model_dump(mode="json"))
        event = Event("image.finished", evaluation.result_id, evaluation.finished_at, data)
        enqueue(session, event)
        return True


def record_status(database: Database, status: RunStatus, tag: str = "") -> bool:
    """Records the status of a run; returns whether it was new. Raises ``StorageError``."""
    with database.writing() as session:
        if not record_run(session, status, tag):
            return False
        if status.state != "running":
            event_type: EventType = "run.finished" if status.state == "succeeded" else "run.failed"
            data = {
                "name": status.name,
                "kind": status.kind,
                "state": status.state,
                "scale": status.scale,
                "ingest_date": status.ingest_date and status.ingest_date.isoformat(),
                **public_detail(status.detail),
            }
            enqueue(session, Event(event_type, status.name, status.changed_at, data))
        return True
