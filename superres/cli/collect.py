"""``superres collect``: lays out results with the names that their images came with."""

import re
from collections.abc import Iterator
from datetime import date

import click

from superres.cli.execution import exit_code
from superres.cli.laying_out import lay_out
from superres.cli.options import config_option, config_or_default, scale_option
from superres.errors import ConfigError
from superres.network.precision import decided_recipe
from superres.pipeline import storage
from superres.pipeline.collecting import collect
from superres.pipeline.config import Settings
from superres.pipeline.config_file import load_settings
from superres.pipeline.layout import Layout, layout_of, layout_on
from superres.pipeline.records import Scale

_SCALES = (2, 3, 4)


@click.command(
    "collect",
    epilog="Examples: superres collect 2026-01-31 holiday-large/, superres collect 2026-01-31-x2 "
    "s3://bucket/delivery, superres collect 2026-01-31 delivery.zip",
)
@click.argument("which", metavar="DAY|RUN")
@click.argument("location", metavar="DEST")
@scale_option("all")
@config_option
def collect_results(which: str, location: str, scale: Scale | None, config: str | None) -> None:
    """Lay out results with the names and folders that their images came with.

    DAY is the day (UTC) on which the images came in, and RUN a run, as in 2026-01-31-x2. DEST is a
    folder, an s3:// prefix or a .zip file; results.csv and results.json there list every image: its
    result, size and scores, or why it was rejected. Results of several scales get a folder each.
    """
    settings = load_settings(config_or_default(config))
    collections = {
        layout.scale: found
        for layout in _layouts(settings, which, scale)
        if (found := collect(layout)).images
    }
    if not collections:
        base = settings.dataset.reconstructed_images_dir
        raise ConfigError(f"{base}: no results of {which} there; choose another day or run")
    done, failed = lay_out(collections, location)
    click.echo(storage.absolute(location))
    click.get_current_context().exit(exit_code(done, failed))


def _layouts(settings: Settings, which: str, scale: int | None) -> Iterator[Layout]:
    """The layouts of a day, by scale, or of a run; with the configured recipe."""
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", which):
        try:
            day = date.fromisoformat(which)
        except ValueError as error:
            raise ConfigError(f"{which}: {error}") from None
        for each in [scale] if scale else _SCALES:
            yield layout_on(settings.dataset, day, each, decided_recipe(settings, each))
        return
    layout = layout_of(settings.dataset, which, scale)
    yield layout.with_recipe(decided_recipe(settings, layout.scale))
