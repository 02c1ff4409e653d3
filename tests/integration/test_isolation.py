"""Images that end the Python worker they are in are rejected by name, and all others finish."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jobs.fused import TASK_BYTES
from jobs.mass_split import PART_BYTES
from jobs.selection import deal, pending_images, rejections
from superres.pipeline import storage
from superres.pipeline.records import RunManifest
from tests.conftest import RunSetup
from tests.support import worker_killer
from tests.support.job_images import (
    import_folder,
    read_planes,
    textured_planes,
    upscaled,
    write_png,
)
from tests.support.required_tools import require

pytestmark = [pytest.mark.spark, pytest.mark.slow]

GOOD, BAD, CORES = 50, 5, 2
STALL_SECONDS = 30  # far longer than a step of these images, and than eating the memory
MEMORY_MIB = 2000


@dataclass(frozen=True)
class Photographs:
    """Images stored for a run; each has a width of its own."""

    run_setup: RunSetup
    widths: dict[str, int]  # by image_id

    def run(
        self, folder: Path, stage: str, fates: dict[int, str], *options: str
    ) -> "subprocess.CompletedProcess[str]":
        """Runs the jobs; ``fates`` are what happens at images of which width in the stage."""
        hook = folder / "hook"
        hook.mkdir()
        worker_killer.install(hook, stage, fates)
        dataset = self.run_setup.settings.dataset.model_dump()
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(hook), os.environ.get("PYTHONPATH", "")]),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SUPERRES_PROCESSING__PATCH_SIZE": "32",
            "SUPERRES_PROCESSING__STALL_SECONDS": str(STALL_SECONDS),
            "SUPERRES_PROCESSING__MEMORY_MIB": str(MEMORY_MIB),
            **{f"SUPERRES_DATASET__{key.upper()}": uri for key, uri in dataset.items()},
        }
        day = self.run_setup.layout.ingest_date.isoformat()
        command = "from superres.cli.main import main; main()"  # also where it is not installed
        return subprocess.run(
            [sys.executable, "-c", command, "run", "--ingest-date", day, *options],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )


@pytest.fixture
def photographs(run_setup: RunSetup, tmp_path: Path) -> Photographs:
    require("java", "make system-packages")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    widths = {f"{width}.png": width for width in range(40, 40 + GOOD + BAD)}
    for name, width in widths.items():
        write_png(inbox / name, textured_planes(48, width, seed=width))
    ids = import_folder(inbox, run_setup, "upscale")
    return Photographs(run_setup, {ids[name]: width for name, width in widths.items()})


def victims(photographs: Photographs, task_bytes: int) -> dict[str, str]:
    """What happens at which images: two crash in one task, and the others in tasks of their own."""
    images = pending_images(photographs.run_setup.layout).images
    tasks = [[image.image_id for image in task] for task in deal(images, CORES, task_bytes)]
    assert len(tasks[0]) > 2
    killers = [*tasks[0][:2], *(task[0] for task in tasks[1:4])]
    fates = ["crash", "crash", "crash", "never end", "eat memory"]
    return dict(zip(killers, fates, strict=True))


@pytest.mark.parametrize(
    ("stage", "options", "task_bytes"),
    [
        ("split", [], PART_BYTES // 4),
        ("infer", [], PART_BYTES // 4),
        ("infer", ["--fused"], TASK_BYTES),
    ],
)
@pytest.mark.timeout(1000)
def test_what_ends_its_worker_twice_is_rejected_and_the_rest_is_finished(
    photographs: Photographs, tmp_path: Path, stage: str, options: list[str], task_bytes: int
) -> None:
    run_setup = photographs.run_setup
    fates = victims(photographs, task_bytes)
    widths = {photographs.widths[image_id]: fate for image_id, fate in fates.items()}
    done = photographs.run(tmp_path, stage, widths, "--master", f"local[{CORES}]", *options)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Error" not in done.stderr
    reasons = {record.image_id: record for record in rejections(run_setup.layout)}
    assert reasons.keys() == fates.keys()
    verb = {"split": "decoding it", "infer": "upscaling it"}[stage]
    endings = {
        "crash": "ended the process with SIGSEGV (tried twice)",
        "never end": f"took longer than {STALL_SECONDS} s (processing.stall_seconds) (tried twice)",
        "eat memory": f"{MEMORY_MIB:,} MiB (processing.memory_mib) (tried twice)",
    }
    for image_id, fate in fates.items():
        assert reasons[image_id].stage == stage
        assert reasons[image_id].reason.startswith(verb)
        assert reasons[image_id].reason.endswith(endings[fate])
    check_others(photographs, set(fates))


def check_others(photographs: Photographs, rejected: set[str]) -> None:
    """All images but the rejected ones have the pixels of `superres upscale` and an evaluation."""
    layout = photographs.run_setup.layout
    (manifest,) = storage.list_files(f"{layout.dataset.reconstructed_images_dir}/runs")
    record = RunManifest.from_json(storage.read_bytes(manifest.uri))
    assert record.counts["evaluate_images"] == GOOD
    assert set(record.rejected) == rejected
    assert sum(count for name, count in record.counts.items() if "_rejected" in name) == BAD
    for image_id in photographs.widths.keys() - rejected:
        assert storage.exists(layout.evaluation(image_id))
        low = storage.join(layout.low_resolution, f"{image_id}.png")
        expected = upscaled(low, photographs.run_setup.settings)
        assert np.array_equal(read_planes(layout.result(image_id)), expected)


def test_where_spark_may_not_try_again_the_run_says_so(
    photographs: Photographs, tmp_path: Path
) -> None:
    done = photographs.run(tmp_path, "split", {40: "crash"}, "--master", "local[1,1]")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("superres: the Spark run failed: a Python worker ended")
    assert "spark.task.maxFailures" in last
