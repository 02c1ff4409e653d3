"""Second job: tiles to upscaled tiles, on CPU or GPU."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark import Broadcast

from jobs.attempts import new_attempt, newest_attempt, read_whole_files, write_attempt
from jobs.job import JobReport, Run, job_main
from jobs.session import worker_device
from jobs.stages import infer_tiles
from jobs.tables import UPSCALED_TILES, batches_to_tiles, sql_schema, tiles_to_batches
from superres.network.engine import Engine, engine_in_this_process, fetch_weights
from superres.network.weights import Weights
from superres.pipeline.recipe import Recipe

# A larger part, usually one huge image, is divided among tasks by Parquet row groups.
SPLIT_AT = 256 << 20


def worker_engine(weights: Broadcast[Weights], device: str, recipe: Recipe) -> Engine:
    """This Python worker's engine, made once from the broadcast weights; the recipe's precision."""
    return engine_in_this_process(weights.value, worker_device(device), recipe.precision)


def share_engine(run: Run) -> Broadcast[Weights]:
    """Broadcasts the weights; a GPU or half precision is first tried in one task."""
    processing = run.settings.processing
    weights = fetch_weights(processing.checkpoint(run.layout.scale), run.layout.scale)
    context, recipe = run.session.sparkContext, run.layout.recipe
    shared = context.broadcast(weights)
    device = processing.device
    if device == "cuda" or recipe.precision != "single":
        tried = context.parallelize([0], 1)
        tried.map(lambda _: worker_engine(shared, device, recipe).scale).collect()
    return shared


def run_inference(run: Run) -> JobReport:
    """Upscales the tiles of the newest complete split of this run."""
    source = run.table or newest_attempt(run.layout.patches, "mass_split.py")
    weights = share_engine(run)
    device, recipe = run.settings.processing.device, run.layout.recipe
    count = run.progress.patch.add
    identity = (weights.value.scale, weights.value.digest)

    def infer_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        engine = worker_engine(weights, device, recipe)
        return tiles_to_batches(infer_tiles(batches_to_tiles(batches), engine, count), identity)

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
