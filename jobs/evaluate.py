"""Last job: measures every image and writes its evaluation record, the sign that it is done.

Where the original is known (mode ``evaluate``), the record has PSNR and SSIM of the result and of
bicubic enlargement; elsewhere these are absent. Submitted on its own, it also writes the manifest.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite

import pyarrow as pa

from jobs.attempts import newest_attempt
from jobs.job import JobReport, Run, job_main
from jobs.manifest import write_manifest
from jobs.selection import stored_images
from jobs.session import spark_pattern
from jobs.stages import reject
from jobs.tables import FinishedImage, batches_to_images
from superres.errors import ImageRejectedError, RecordError
from superres.imaging.colour import Planes
from superres.imaging.decoding import decode, decode_file
from superres.imaging.limits import Limits
from superres.pipeline import storage
from superres.pipeline.arrival import newest_of_each, reference_of
from superres.pipeline.config import Processing
from superres.pipeline.layout import Layout
from superres.pipeline.records import Evaluation, Metrics, Mode, StoredImage
from superres.quality.evaluation import PIPELINE_PROTOCOL, measure_result
from superres.quality.metrics import Quality

_OUTCOME = "image_id string, rejected boolean"


def evaluate_and_record(run: Run) -> JobReport:
    """``run_evaluate``, then the run's manifest with what this job knows: its own part."""
    started = time.monotonic()
    report = run_evaluate(run)
    counts = {f"evaluate_{name}": count for name, count in report.counts.items()}
    seconds = {"evaluate": round(time.monotonic() - started, 3)}
    write_manifest(run.layout, counts, seconds, datetime.now(UTC))
    return report


def run_evaluate(run: Run) -> JobReport:
    """Evaluates the images that the newest complete reconstruction of this run lists."""
    source = run.table or newest_attempt(
        run.layout.reconstructed, "mass_reconstruct.py or fused.py"
    )
    images = run.session.read.parquet(spark_pattern(source))
    total = images.count()
    run.progress.start("evaluate", total, "images")
    # A row is a few hundred bytes, so dealing the images out anew costs nothing.
    tasks = max(1, min(total, 4 * run.session.sparkContext.defaultParallelism))
    layout, processing, count = run.layout, run.settings.processing, run.progress.image.add
    places = run.session.sparkContext.broadcast(places_in(layout))

    def evaluate_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for image in batches_to_images(batches):
            rejected = not evaluate_image(image, places.value, processing, layout)
            count(1)
            yield pa.RecordBatch.from_pydict({"image_id": [image.image_id], "rejected": [rejected]})

    outcomes = images.repartition(tasks).mapInArrow(evaluate_task, _OUTCOME).collect()
    rejected = sum(row["rejected"] for row in outcomes)
    return JobReport({"images": total - rejected, "rejected": rejected})


@dataclass(frozen=True)
class Places:
    """URIs by image_id of the stored low-resolution images and originals."""

    low_resolution: dict[str, str]
    originals: dict[str, str]


def places_in(layout: Layout) -> Places:
    """What is stored of the scale and date."""
    originals = newest_of_each(storage.list_files(layout.high_resolution))
    return Places(
        {image.image_id: image.uri for image in stored_images(layout)},
        {image_id: file.uri for image_id, file in originals.items()},
    )


def evaluate_image(
    image: FinishedImage, places: Places, processing: Processing, layout: Layout
) -> bool:
    """Measures one image and writes its record; False when it had to be rejected."""
    started = time.perf_counter()
    low_uri = places.low_resolution.get(image.image_id)
    if low_uri is None:
        reason = "its low-resolution image is gone; bring the photograph in again"
        gone = storage.join(layout.low_resolution, f"{image.image_id}.png")
        reject(image.image_id, gone, "evaluate", reason, layout)
        return False
    original_uri = places.originals.get(image.image_id)
    try:
        reference = reference_of(low_uri)
        mode: Mode = "evaluate" if original_uri else "upscale"
        if reference is not None:
            mode = reference.mode
        if mode == "upscale":
            original_uri = None
        low = decode(storage.read_bytes(low_uri), processing.limits, grayscale=processing.grayscale)
        measured = (
            _measure(image, low.planes(), original_uri, processing, layout)
            if original_uri is not None
            else None
        )
    except (ImageRejectedError, RecordError) as error:
        reject(image.image_id, low_uri, "evaluate", str(error), layout)
        return False
    record = Evaluation(
        image_id=image.image_id,
        run_id=layout.run_id,
        mode=mode,
        scale=layout.scale,
        ingest_date=layout.ingest_date,
        source=reference.source if reference else low_uri,
        attribution=reference.attribution if reference else None,
        low_resolution=StoredImage(uri=low_uri, width=low.info.width, height=low.info.height),
        result=StoredImage(uri=image.uri, width=image.width, height=image.height),
        original=measured.original if measured else None,
        protocol=PIPELINE_PROTOCOL if measured else None,
        ours=_metrics(measured.ours) if measured else None,
        bicubic=_metrics(measured.bicubic) if measured else None,
        seconds=round(image.seconds + time.perf_counter() - started, 3),
        model_digest=image.model_digest,
        finished_at=datetime.now(UTC),
    )
    storage.write_bytes(layout.evaluation(image.image_id), record.to_json().encode())
    # Of an earlier run that this one redoes, or of another delivery.
    storage.delete(layout.rejection(image.image_id))
    return True


@dataclass(frozen=True)
class _Measured:
    original: StoredImage
    ours: Quality | None
    bicubic: Quality | None


def _measure(
    image: FinishedImage, low: Planes, original_uri: str, processing: Processing, layout: Layout
) -> _Measured:
    area = layout.scale**2
    limits = processing.limits
    # The original and the result are larger than the input by the scale, each way.
    limits = Limits(limits.max_bytes * area, (limits.max_pixels + image.width) * area)
    with storage.local_copy(original_uri) as truth_path, storage.local_copy(image.uri) as path:
        truth = decode_file(truth_path, limits, grayscale=processing.grayscale)
        result = decode_file(path, limits)
        if truth.info.colours != result.info.colours:
            raise ImageRejectedError(
                "the original is in colour and the stored low resolution is not, or the reverse; "
                "store both alike"
            )
        ours, bicubic = measure_result(truth, result, low, layout.scale)
    stored = StoredImage(uri=original_uri, width=truth.info.width, height=truth.info.height)
    return _Measured(stored, ours, bicubic)


def _metrics(quality: Quality | None) -> Metrics | None:
    if quality is None:
        return None
    return Metrics(psnr=quality.psnr if isfinite(quality.psnr) else None, ssim=quality.ssim)


if __name__ == "__main__":
    # By its name, since workers cannot import what is defined in __main__.
    job_main("evaluate", "jobs.evaluate:evaluate_and_record")
