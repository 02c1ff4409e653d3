"""Laying out collected results, for ``superres collect`` and ``superres run``."""

import json

import click
from rich.progress import TextColumn

from superres.cli.terminal import print_message, progress_bar
from superres.pipeline import storage
from superres.pipeline.collecting import CollectedImage, Collection, as_csv
from superres.pipeline.destinations import Destination, destination
from superres.pipeline.storage import StoredFile

TABLE, RECORDS = "results.csv", "results.json"


def lay_out(collections: dict[int, Collection], location: str) -> tuple[int, int]:
    """Lays out the results of each scale and their manifest.

    Prints what is missing, and the counts, on standard error. Returns how many results are there,
    and how many are missing or have an unreadable record.
    """
    images, results, unreadable = _merged(collections)
    for line in unreadable:
        click.echo(f"superres: {line}", err=True)
    with destination(location) as target:
        missing = _copy(target, results)
        left = [each for each in images if each.result not in missing]
        target.add_text(TABLE, as_csv(left))
        target.add_text(RECORDS, json.dumps([each.model_dump() for each in left], indent=1) + "\n")
    rejected = sum(each.outcome == "rejected" for each in images)
    click.echo(
        f"{len(results) - len(missing)} images{f', {rejected} rejected' if rejected else ''}: "
        f"{storage.join(storage.absolute(location), TABLE)} lists them",
        err=True,
    )
    return len(results) - len(missing), len(missing) + len(unreadable)


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


def _copy(target: Destination, results: dict[str, StoredFile]) -> set[str]:
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
