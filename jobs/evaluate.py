"""Last job: measures every image and writes its evaluation, which makes it finished.

Where there is an original (mode ``evaluate``), the record has PSNR and SSIM of the result and of
bicubic enlargement; elsewhere these are absent. Submitted on its own, it also writes the manifest.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite

import pyarrow as pa

from jobs.attempts import newest_attempt
from jobs.job import JobReport, Run, job_main, print_left_out
from jobs.manifest import write_manifest
from jobs.selection import SourceImage, stored_images
from jobs.session import spark_pattern
from jobs.stages import reject
from jobs.tables import ReconstructedImage, batches_to_images
from superres.errors import ImageRejectedError, RecordError
from superres.imaging.decoding import DecodedImage, decode, decode_file
from superres.imaging.jpeg import planes_through_jpeg
from superres.imaging.limits import Limits
from superres.pipeline import storage
from superres.pipeline.arrival import newest_of_each, reference_of
from superres.pipeline.config import Processing
from superres.pipeline.layout import Layout
from superres.pipeline.records import (
    Evaluation,
    ImageReference,
    Metrics,
    Mode,
    StoredImage,
    applied_recipe,
)
from superres.quality.evaluation import PIPELINE_PROTOCOL, measure_result
from superres.quality.metrics import Quality

_OUTCOME = "image_id string, rejected boolean, network string, model_digest string"


def evaluate_and_record(run: Run) -> JobReport:
    """Runs ``run_evaluate`` and writes the manifest with the counts and seconds of this job."""
    started = time.monotonic()
    report = run_evaluate(run)
    counts = {f"evaluate_{name}": count for name, count in report.counts.items()}
    seconds = {"evaluate": round(time.monotonic() - started, 3)}
    write_manifest(run.layout, counts, seconds, report.models, datetime.now(UTC))
    return report


def run_evaluate(run: Run) -> JobReport:
    """Evaluates the images that the newest complete reconstruction of this run lists."""
    source = run.table or newest_attempt(
        run.layout.reconstructed, "mass_reconstruct.py or fused.py"
    )
    images = run.session.read.parquet(spark_pattern(source))
    total = images.count()
    run.progress.start("evaluate", total, "images")
    # A row has a few hundred bytes, so repartitioning costs nothing.
    tasks = max(1, min(total, 4 * run.session.sparkContext.defaultParallelism))
    layout, processing, count = run.layout, run.settings.processing, run.progress.image.add
    stored = stored_images(layout)
    print_left_out(stored.left_out)
    locations = run.session.sparkContext.broadcast(image_locations(stored.images, layout))

    def evaluate_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for image in batches_to_images(batches):
            rejected = not evaluate_image(image, locations.value, processing, layout)
            count(1)
            outcome = {
                "image_id": image.image_id,
                "rejected": rejected,
                "network": image.network,
                "model_digest": image.model_digest,
            }
            yield pa.RecordBatch.from_pylist([outcome])

    outcomes = images.repartition(tasks).mapInArrow(evaluate_task, _OUTCOME).collect()
    rejected = sum(row["rejected"] for row in outcomes)
    models = {
        row["model_digest"]: processing.checkpoint_name(layout.scale, row["network"])
        for row in outcomes
        if not row["rejected"]
    }
    return JobReport({"images": total - rejected, "rejected": rejected}, models=models)


@dataclass(frozen=True)
class ImageLocations:
    """Where the low-resolution images and the originals of a run are: URIs by image_id."""

    low_resolution: dict[str, str]
    originals: dict[str, str]


def image_locations(stored: Iterable[SourceImage], layout: Layout) -> ImageLocations:
    """The locations of the ``stored`` low-resolution images, and of all originals of the day."""
    originals = newest_of_each(storage.list_files(layout.high_resolution))
    return ImageLocations(
        {image.image_id: image.uri for image in stored},
        {image_id: file.uri for image_id, file in originals.items()},
    )


def evaluate_image(
    image: ReconstructedImage, locations: ImageLocations, processing: Processing, layout: Layout
) -> bool:
    """Measures one image and writes its evaluation; False when it was rejected instead."""
    started = time.perf_counter()
    low_uri = locations.low_resolution.get(image.image_id)
    if low_uri is None:
        gone = storage.join(layout.low_resolution, f"{image.image_id}.png")
        reason = "its low-resolution image is gone; import the image again"
        reject(image.image_id, gone, "evaluate", reason, layout)
        return False
    try:
        inputs = _look_up(low_uri, locations.originals.get(image.image_id), processing, layout)
        measured = _measure(image, inputs, processing, layout)
    except (ImageRejectedError, RecordError) as error:
        reject(image.image_id, low_uri, "evaluate", str(error), layout)
        return False
    network = processing.checkpoint_name(layout.scale, image.network)
    _record(image, inputs, measured, started, layout, network)
    return True


@dataclass(frozen=True)
class _Inputs:
    """What is known of an image besides its result; ``original_uri`` only in mode evaluate."""

    low_uri: str
    low: DecodedImage
    reference: ImageReference | None
    mode: Mode
    original_uri: str | None


def _look_up(
    low_uri: str, original_uri: str | None, processing: Processing, layout: Layout
) -> _Inputs:
    """The reference decides on the mode; without one, whether there is an original."""
    reference = reference_of(low_uri)
    mode: Mode = "evaluate" if original_uri else "upscale"
    if reference is not None:
        mode = reference.mode
    content = storage.read_bytes(low_uri)
    low = decode(content, processing.limits, grayscale=layout.recipe.grayscale)
    return _Inputs(low_uri, low, reference, mode, original_uri if mode == "evaluate" else None)


@dataclass(frozen=True)
class _Measured:
    original: StoredImage
    ours: Quality | None
    bicubic: Quality | None


def _measure(
    image: ReconstructedImage, inputs: _Inputs, processing: Processing, layout: Layout
) -> _Measured | None:
    """Compares the result with the original; None where there is no original."""
    if inputs.original_uri is None:
        return None
    low = planes_through_jpeg(inputs.low.planes(), layout.recipe.evaluate_jpeg_quality)
    area = layout.scale**2
    limits = processing.limits
    # The original and the result are larger than the low resolution by the scale, each way.
    limits = Limits(limits.max_bytes * area, (limits.max_pixels + image.width) * area)
    with (
        storage.local_copy(inputs.original_uri) as original_path,
        storage.local_copy(image.uri) as result_path,
    ):
        original = decode_file(original_path, limits, grayscale=layout.recipe.grayscale)
        result = decode_file(result_path, limits)
        if original.info.colours != result.info.colours:
            raise ImageRejectedError(
                "the original is in colour and the stored low resolution is not, or the reverse; "
                "store both alike"
            )
        ours, bicubic = measure_result(original, result, low, layout.scale)
    size = original.info
    stored = StoredImage(uri=inputs.original_uri, width=size.width, height=size.height)
    return _Measured(stored, ours, bicubic)


def _record(
    image: ReconstructedImage,
    inputs: _Inputs,
    measured: _Measured | None,
    started: float,
    layout: Layout,
    network: str,
) -> None:
    """Writes the evaluation, after which the image is finished."""
    reference, size = inputs.reference, inputs.low.info
    record = Evaluation(
        image_id=image.image_id,
        run_id=layout.run_id,
        mode=inputs.mode,
        scale=layout.scale,
        ingest_date=layout.ingest_date,
        source=reference.source if reference else inputs.low_uri,
        attribution=reference.attribution if reference else None,
        low_resolution=StoredImage(uri=inputs.low_uri, width=size.width, height=size.height),
        result=StoredImage(uri=image.uri, width=image.width, height=image.height),
        original=measured.original if measured else None,
        protocol=PIPELINE_PROTOCOL if measured else None,
        ours=_metrics(measured.ours) if measured else None,
        bicubic=_metrics(measured.bicubic) if measured else None,
        seconds=round(image.seconds + time.perf_counter() - started, 3),
        model_digest=image.model_digest,
        finished_at=datetime.now(UTC),
        start_id=layout.start_id,
        model_name=network,
        recipe=applied_recipe(layout.recipe),
    )
    storage.write_bytes(layout.evaluation(image.image_id), record.to_json().encode())
    # Of an earlier run that this one redoes, or of another message about the same image.
    for uri in {layout.rejection(image.image_id), layout.arrival_rejection(image.image_id)}:
        storage.delete(uri)


def _metrics(quality: Quality | None) -> Metrics | None:
    if quality is None:
        return None
    return Metrics(psnr=quality.psnr if isfinite(quality.psnr) else None, ssim=quality.ssim)


if __name__ == "__main__":
    # By its name, since workers cannot import what is defined in __main__.
    job_main("evaluate", "jobs.evaluate:evaluate_and_record")
