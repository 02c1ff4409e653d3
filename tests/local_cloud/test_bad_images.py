"""Images that end the Python workers of steps are rejected; the steps and the execution succeed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
import yaml

from jobs.import_folder import import_images
from jobs.selection import deal, pending_images, rejections
from superres.pipeline import storage
from tests.local_cloud.executions import Day, clients_on, steps_of
from tests.local_cloud.stack import Stack
from tests.support import worker_killer
from tests.support.job_images import textured_planes, write_png

GOOD, BAD = 50, 5
FATES = ["crash", "crash", "crash", "never end", "eat memory"]


@pytest.fixture(autouse=True)
def project_clients(stack: Stack) -> Iterator[None]:
    with clients_on(stack):
        yield


@contextmanager
def bounded(stack: Stack) -> Iterator[None]:
    """Gives images so little time and memory that the test sees their end."""
    uri = stack.outputs["config_uri"]
    deployed = storage.read_bytes(uri)
    config = yaml.safe_load(deployed)
    config.setdefault("processing", {}).update(stall_seconds=30, memory_mib=2000)
    storage.write_bytes(uri, json.dumps(config).encode())
    try:
        yield
    finally:
        storage.write_bytes(uri, deployed)


@contextmanager
def killed(stack: Stack, widths: dict[int, str]) -> Iterator[None]:
    """Has the Python of all nodes end at images of these widths, when it decodes them."""
    found = stack.folder.rglob("superres/venv*/lib/python3.*/site-packages")
    nodes = {packages.resolve() for packages in found}  # a link names the newest
    assert nodes
    for packages in nodes:
        worker_killer.install(packages, "split", widths)
    try:
        yield
    finally:
        for packages in nodes:
            (packages / "sitecustomize.py").unlink()
            (packages / "killed.json").unlink()


def take_in(day: Day, folder: Path) -> dict[str, int]:
    """Stores images, each of a width of its own; gives the widths by image_id."""
    files = [folder / f"{width}.png" for width in range(40, 40 + GOOD + BAD)]
    for file in files:
        write_png(file, textured_planes(48, int(file.stem), seed=int(file.stem)))
    taken = import_images(files, "upscale", day.settings.processing, day.layout)
    return {image.image_id: int(image.path.stem) for image in taken}


def test_images_that_end_their_worker_are_rejected_and_the_execution_succeeds(
    stack: Stack, tmp_path: Path
) -> None:
    day = Day(stack, date(2026, 2, 20))
    widths = take_in(day, tmp_path)
    # Two in one task, whatever the number of cores: the largest images are dealt first.
    tasks = deal(pending_images(day.layout).images, 2, 32 << 20)
    victims = [image.image_id for image in [*tasks[0][:2], *(task[0] for task in tasks[1:4])]]
    fates = dict(zip(victims, FATES, strict=True))
    with bounded(stack), killed(stack, {widths[each]: fate for each, fate in fates.items()}):
        ended = day.start().ended()
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    (output,) = json.loads(ended["output"])
    assert (output["images"], output["rejected"]) == (GOOD, BAD)
    assert day.finished() == widths.keys() - fates.keys()
    records = {record.image_id: record for record in rejections(day.layout)}
    assert records.keys() == fates.keys()
    assert all("(tried twice)" in record.reason for record in records.values())
    states = [step["Status"]["State"] for step in steps_of(stack, stack.outputs["cluster_id"])[:4]]
    assert states == ["COMPLETED"] * 4
