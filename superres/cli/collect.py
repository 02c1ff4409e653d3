"""``superres collect``: lays out results with the names that their images came with."""

import json
import re
from collections.abc import Iterator
from datetime import date

import click
from rich.progress import TextColumn

from superres.cli.execution import SOME_FAILED
from superres.cli.options import config_option, config_or_default, scale_option
from superres.cli.terminal import print_message, progress_bar
from superres.errors import ConfigError
from superres.network.precision import decided_recipe
from superres.pipeline import storage
from superres.pipeline.collecting import CollectedImage, Collection, as_csv, collect
from superres.pipeline.config import Settings
from superres.pipeline.config_file import load_settings
from superres.pipeline.destinations import Destination, destination
from superres.pipeline.layout import Layout, layout_of, layout_on
from superres.pipeline.records import Scale
from superres.pipeline.storage import StoredFile

TABLE, RECORDS = "results.csv", "results.json"
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
    images, results, unreadable = _merged(collections)
    for line in unreadable:
        click.echo(f"superres: {line}", err=True)
    with destination(location) as target:
        missing = _lay_out(target, results)
        left = [each for each in images if each.result not in missing]
        target.add_text(TABLE, as_csv(left))
        target.add_text(RECORDS, json.dumps([each.model_dump() for each in left], indent=1) + "\n")
    click.echo(storage.absolute(location))
    rejected = sum(each.outcome == "rejected" for each in images)
    click.echo(
        f"{len(results) - len(missing)} images{f', {rejected} rejected' if rejected else ''}; "
        f"{TABLE} lists them",
        err=True,
    )
    click.get_current_context().exit(SOME_FAILED if missing or unreadable else 0)


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


def _merged(
    collections: dict[int, Collection],
) -> tuple[list[CollectedImage], dict[str, StoredFile], list[str]]:
    """Images, results by path and unreadable records of all scales."""
    images: list[CollectedImage] = []
    results: dict[str, StoredFile] = {}
    for scale, collection in collections.items():
        folder = f"x{scale}/" if len(collections) > 1 else ""
        for image in collection.images:
            placed = image.result and f"{folder}{image.result}"
            images.append(image.model_copy(update={"result": placed}))
        found = _stored(collection)
        results |= {f"{folder}{path}": file for path, file in found.items()}
    return images, results, [line for each in collections.values() for line in each.unreadable]


def _stored(collection: Collection) -> dict[str, StoredFile]:
    """The files of the results; one that is gone is reported when it is copied."""
    folders = {uri.rpartition("/")[0] for uri in collection.results.values()}
    there = {
        file.uri: file for folder in folders for file in storage.list_files(folder, nested=False)
    }
    return {
        path: there.get(uri, StoredFile(uri, size=-1)) for path, uri in collection.results.items()
    }


def _lay_out(target: Destination, results: dict[str, StoredFile]) -> set[str]:
    """Copies the results; returns the paths of those that could not be copied, each reported."""
    missing = set()
    with progress_bar(TextColumn("{task.completed:.0f} of {task.total:.0f} images")) as bar:
        task = bar.add_task("collect", total=len(results))
        for path, reason in target.add_results(results):
            bar.advance(task)
            if reason is not None:
                missing.add(path)
                print_message(bar, f"superres: {path}: {reason}")
    return missing
