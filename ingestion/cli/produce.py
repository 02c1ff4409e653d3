"""``superres produce``: publishes references to the images of a source on Kafka."""

from typing import Any

import click

from ingestion.cli.shared import opened_source, settings_and_wanted, show_failures, stop_by_signal
from ingestion.producer import Pace, publish
from ingestion.topics import require_topics
from superres.cli.execution import exit_code
from superres.cli.options import config_option, mode_option, scale_option
from superres.cli.terminal import print_message, progress_bar


@click.command(epilog="Example: superres produce picsum:1024x768 --limit 500 --rate 20")
@click.argument("source")
@click.option("--limit", type=click.IntRange(1), help="Maximum number of references.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Maximum number per second.")
@click.option("--follow", is_flag=True, help="Publish new images, too, until stopped.")
@mode_option
@scale_option("configured")
@config_option
def produce(source: str, limit: int | None, rate: float | None, follow: bool, **given: Any) -> None:
    """Publish references to the images of a source on Kafka.

    SOURCE is picsum: or picsum:1024x768, a folder, s3://bucket/prefix, a file of URLs (.txt,
    .jsonl, or - for standard input), or one URL.
    """
    settings, wanted = settings_and_wanted(**given)
    stop = stop_by_signal()
    require_topics(settings.kafka)
    with (
        opened_source(source, wanted, settings, stop, follow=follow) as found,
        progress_bar() as bar,
    ):
        task = bar.add_task("Publishing", total=limit)
        published = publish(
            found,
            settings.kafka,
            settings.ingestion.threads,
            stop,
            Pace(limit, rate),
            lambda so_far: bar.update(task, completed=so_far.references),
        )
        show_failures(published, lambda line: print_message(bar, line))
    click.echo(f"{published.acknowledged} references published on {settings.kafka.topic}")
    click.get_current_context().exit(exit_code(published.acknowledged, published.failed))
