"""``superres consume``: the consumer as a service, or until all messages are finished."""

from threading import Event

import click

from ingestion.cli.shared import stop_by_signal
from ingestion.consumer.service import consume as run_consumer
from superres.cli.options import config_option, config_or_default
from superres.pipeline.config_file import load_settings
from superres.service.logs import log_as_json


@click.command(epilog="Example: superres consume --config config.yaml")
@click.option("--until-idle", is_flag=True, help="Stop when every message is finished.")
@config_option
def consume(until_idle: bool, config: str | None) -> None:
    """Fetch and store the images that references on Kafka point to, until stopped.

    Logs JSON lines on standard error; serves metrics and health on ingestion.consumer_port.
    """
    log_as_json()
    last_sent = Event()
    last_sent.set()
    stored, rejected = run_consumer(
        load_settings(config_or_default(config)),
        stop_by_signal(),
        last_sent=last_sent if until_idle else None,
    )
    click.echo(f"{stored} images stored, {rejected} rejected")
