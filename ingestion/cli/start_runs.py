"""``superres start-runs``: the service that starts a run when new images have been stored."""

import click

from ingestion.cli.shared import stop_by_signal
from ingestion.starts.service import start_runs as start
from superres.cli.options import config_option, config_or_default
from superres.pipeline.config_file import load_settings
from superres.service.logs import log_as_json


@click.command("start-runs", epilog="Example: superres start-runs --config config.yaml")
@config_option
def start_runs(config: str | None) -> None:
    """Start a run on AWS whenever new images have been stored, until stopped.

    Reads the queue starts.queue_url and starts executions of starts.state_machine_arn, one at a
    time and at most one a minute. Logs JSON lines on standard error; serves metrics and health on
    starts.port.
    """
    log_as_json()
    settings = load_settings(config_or_default(config))
    start(settings.starts, stop_by_signal(), settings.ingestion.drain_seconds)
