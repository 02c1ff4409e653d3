"""Second job: tiles to upscaled tiles, on CPU or GPU."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
from pyspark import Broadcast

from jobs.attempts import new_attempt, newest_attempt, read_whole_files, totals, write_attempt
from jobs.isolated_tasks import Union, infer_isolated
from jobs.job import JobReport, Run, job_main
from jobs.session import worker_device
from jobs.tables import UPSCALED_TILES, batches_to_tiles, sql_schema, tiles_to_batches
from jobs.tasks import in_this_process, is_first_attempt, task_bounds
from jobs.works import Engines, InferWork
from superres.network.restore import fetch_networks
from superres.network.weights import Weights
from superres.pipeline.recipe import Precision

# A larger part, usually one huge image, is divided among tasks by Parquet row groups.
SPLIT_AT = 256 << 20


@dataclass(frozen=True)
class SharedEngines:
    """The networks of a run, as its Python workers get them."""

    networks: Broadcast[Mapping[str, Weights]]
    device: str
    precision: Precision

    def here(self) -> Engines:
        """The engines of this Python worker, on the device that Spark gave to its task."""
        return Engines(self.networks.value, worker_device(self.device), self.precision)


def share_engines(run: Run) -> SharedEngines:
    """Broadcasts the weights of every network; a GPU or half precision is first tried in one task.

    Each Python worker makes an engine when it is first asked for it.
    """
    processing, scale = run.settings.processing, run.layout.scale
    context, recipe = run.session.sparkContext, run.layout.recipe
    networks = fetch_networks(processing, scale, recipe)
    shared = SharedEngines(context.broadcast(networks), processing.device, recipe.precision)
    if processing.device == "cuda" or recipe.precision != "single":
        tried = context.parallelize([next(iter(networks))], 1)
        tried.map(lambda network: shared.here()(network).scale).collect()
    return shared


def run_inference(run: Run) -> JobReport:
    """Upscales the tiles of the newest complete split of this run."""
    source = run.table or newest_attempt(run.layout.patches, "mass_split.py")
    shared, context = share_engines(run), run.session.sparkContext
    bounds = task_bounds(context, run.settings.processing)
    count, layout = run.progress.patch.add, run.layout
    rejected = context.accumulator(frozenset[str](), Union())

    def infer_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tiles, work = batches_to_tiles(batches), InferWork(shared.here())
        if is_first_attempt():
            upscaled = in_this_process(tiles, bounds, partial(work.over, count_tile=count))
        else:
            upscaled = infer_isolated(tiles, work, bounds, layout, count, rejected.add)
        return tiles_to_batches(upscaled, layout.scale)

    tiles = read_whole_files(run.session, source, split_at=SPLIT_AT)
    total = tiles.count()
    run.progress.start("infer", total, "patches")
    upscaled = tiles.mapInArrow(infer_task, sql_schema(UPSCALED_TILES))
    table = new_attempt(layout.inference, run.owner, source)
    write_attempt(upscaled, table)
    if rejected.value:
        total = totals(run.session, table, "count(*) AS patches")["patches"]
    return JobReport({"patches": total, "rejected": len(rejected.value)}, table)


if __name__ == "__main__":
    # By its name, since workers cannot import what is defined in __main__.
    job_main("batch_inference", "jobs.batch_inference:run_inference")
