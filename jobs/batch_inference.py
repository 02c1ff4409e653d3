"""Second job: tiles to upscaled tiles, on CPU or GPU."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import pyarrow as pa
from pyspark import Broadcast

from jobs.attempts import new_attempt, newest_attempt, read_whole_files, write_attempt
from jobs.job import JobReport, Run, job_main
from jobs.session import worker_device
from jobs.stages import EngineFor, infer_tiles
from jobs.tables import UPSCALED_TILES, batches_to_tiles, sql_schema, tiles_to_batches
from superres.network.engine import Engine, engine_in_this_process
from superres.network.restore import fetch_networks
from superres.network.weights import Weights
from superres.pipeline.recipe import Recipe

# A larger part, usually one huge image, is divided among tasks by Parquet row groups.
SPLIT_AT = 256 << 20


def share_engines(run: Run) -> EngineFor:
    """Broadcasts the weights of every network; a GPU or half precision is first tried in one task.

    The result is called in Python workers. Each makes an engine when it is first asked for it.
    """
    processing, scale = run.settings.processing, run.layout.scale
    context, recipe = run.session.sparkContext, run.layout.recipe
    networks = fetch_networks(processing, scale, recipe)
    engine_for = partial(_worker_engine, context.broadcast(networks), processing.device, recipe)
    if processing.device == "cuda" or recipe.precision != "single":
        tried = context.parallelize([next(iter(networks))], 1)
        tried.map(lambda network: engine_for(network).scale).collect()
    return engine_for


def _worker_engine(
    networks: Broadcast[Mapping[str, Weights]], device: str, recipe: Recipe, network: str
) -> Engine:
    """This Python worker's engine, in the recipe's precision."""
    return engine_in_this_process(networks.value[network], worker_device(device), recipe.precision)


def run_inference(run: Run) -> JobReport:
    """Upscales the tiles of the newest complete split of this run."""
    source = run.table or newest_attempt(run.layout.patches, "mass_split.py")
    engine_for = share_engines(run)
    count, scale = run.progress.patch.add, run.layout.scale

    def infer_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        upscaled = infer_tiles(batches_to_tiles(batches), engine_for, count)
        return tiles_to_batches(upscaled, scale)

    tiles = read_whole_files(run.session, source, split_at=SPLIT_AT)
    total = tiles.count()
    run.progress.start("infer", total, "patches")
    upscaled = tiles.mapInArrow(infer_task, sql_schema(UPSCALED_TILES))
    table = new_attempt(run.layout.inference, source)
    write_attempt(upscaled, table)
    return JobReport({"patches": total}, table)


if __name__ == "__main__":
    # By its name, since workers cannot import what is defined in __main__.
    job_main("batch_inference", "jobs.batch_inference:run_inference")
