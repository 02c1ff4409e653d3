"""Runs a starter with its metrics and health server."""

from functools import partial
from threading import Event
from time import monotonic

import boto3
import structlog
from botocore.config import Config

from ingestion.starts.executions import Executions
from ingestion.starts.prometheus_metrics import new_metrics
from ingestion.starts.queue import ImageQueue
from ingestion.starts.starter import Starter
from superres.errors import ConfigError
from superres.pipeline.config import Starts
from superres.service.health import health_server
from superres.service.pool import Pool

_CLIENT_CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2})
# Fifty batches of held messages, of which every second has an attempt timed out.
_STUCK_SECONDS = 600.0

_LOOK_SECONDS = 1.0

_log = structlog.get_logger()


def start_runs(starts: Starts, stop: Event, drain_seconds: float) -> None:
    """Starts runs for new images until ``stop`` is set.

    What it does then has so many seconds; messages that it still holds come again.

    Raises ``ConfigError`` when queue or state machine is not configured.
    """
    queue_url, state_machine = _configured(starts)
    metrics = new_metrics()
    session = boto3.session.Session(region_name=state_machine.split(":")[3])
    starter = Starter(
        ImageQueue(session.client("sqs", config=_CLIENT_CONFIG), queue_url, metrics.unreadable.inc),
        Executions(session.client("stepfunctions", config=_CLIENT_CONFIG), state_machine),
        metrics,
        stop,
    )
    with health_server(
        starts.port,
        metrics.registry,
        partial(_alive, starter),
        lambda: starter.failing,
        setting="starts.port",
    ) as port:
        _log.info("waiting_for_images", queue=queue_url, health=f"127.0.0.1:{port}")
        pool = Pool(1, "starter")
        running = pool.submit(starter.run)
        while not (running.done() or stop.wait(_LOOK_SECONDS)):
            pass
        if pool.close(drain_seconds):
            _log.warning("left_behind", reason="SQS or Step Functions does not answer")
        else:
            running.result()


def _configured(starts: Starts) -> tuple[str, str]:
    for key in ("queue_url", "state_machine_arn"):
        if getattr(starts, key) is None:
            raise ConfigError(
                f"starts.{key} is not set; make deploy sets it where new images start runs"
            )
    assert starts.queue_url is not None
    assert starts.state_machine_arn is not None
    return starts.queue_url, starts.state_machine_arn


def _alive(starter: Starter) -> str:
    idle = monotonic() - starter.turned_at
    return f"its loop has stood still for {idle:.0f} s" if idle > _STUCK_SECONDS else ""
