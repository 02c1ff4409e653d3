"""Measures one image and writes its evaluation, which makes it finished.

Where there is an original (mode ``evaluate``), the record has PSNR and SSIM of the result and of
bicubic enlargement; elsewhere these are absent.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

from jobs.clock import Clock
from jobs.selection import SourceImage
from jobs.stages import IMAGE_GONE, UNLIMITED, reject, rejected_if_gone
from jobs.tables import ReconstructedImage
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


@dataclass(frozen=True)
class ImageLocations:
    """Where the low-resolution images and the originals of a run are: URIs by image_id."""

    low_resolution: dict[str, str]
    originals: dict[str, str]

    def of(self, image_id: str) -> "ImageLocations":
        """Those of one image."""
        return ImageLocations(
            *(
                {image_id: uris[image_id]} if image_id in uris else {}
                for uris in (self.low_resolution, self.originals)
            )
        )


def image_locations(stored: Iterable[SourceImage], layout: Layout) -> ImageLocations:
    """The locations of the ``stored`` low-resolution images, and of all originals of the day."""
    originals = newest_of_each(storage.list_files(layout.high_resolution))
    return ImageLocations(
        {image.image_id: image.uri for image in stored},
        {image_id: file.uri for image_id, file in originals.items()},
    )


def evaluate_image(
    image: ReconstructedImage,
    locations: ImageLocations,
    processing: Processing,
    layout: Layout,
    clock: Clock = UNLIMITED,
) -> bool:
    """Measures one image and writes its evaluation; False when it was rejected instead."""
    started = time.perf_counter()
    low_uri = locations.low_resolution.get(image.image_id)
    if low_uri is None:
        gone = storage.join(layout.low_resolution, f"{image.image_id}.png")
        reason = "its low-resolution image is gone; import the image again"
        reject(image.image_id, gone, "evaluate", reason, layout)
        return False
    original_uri = locations.originals.get(image.image_id)
    try:
        inputs = _look_up(low_uri, original_uri, processing, layout, clock)
        measured = _measure(image, inputs, processing, layout, clock)
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
    low_uri: str,
    original_uri: str | None,
    processing: Processing,
    layout: Layout,
    clock: Clock,
) -> _Inputs:
    """The reference decides on the mode; without one, whether there is an original."""
    reference = reference_of(low_uri)
    mode: Mode = "evaluate" if original_uri else "upscale"
    if reference is not None:
        mode = reference.mode
    with rejected_if_gone({low_uri: IMAGE_GONE}):
        content = storage.read_bytes(low_uri)
    with clock.computing("evaluate"):
        low = decode(content, processing.limits, grayscale=layout.recipe.grayscale)
    return _Inputs(low_uri, low, reference, mode, original_uri if mode == "evaluate" else None)


@dataclass(frozen=True)
class _Measured:
    original: StoredImage
    ours: Quality | None
    bicubic: Quality | None


def _measure(
    image: ReconstructedImage,
    inputs: _Inputs,
    processing: Processing,
    layout: Layout,
    clock: Clock,
) -> _Measured | None:
    """Compares the result with the original; None where there is no original."""
    if inputs.original_uri is None:
        return None
    with clock.computing("evaluate"):
        low = planes_through_jpeg(inputs.low.planes(), layout.recipe.evaluate_jpeg_quality)
    area = layout.scale**2
    limits = processing.limits
    # The original and the result are larger than the low resolution by the scale, each way.
    limits = Limits(limits.max_bytes * area, (limits.max_pixels + image.width) * area)
    with (
        _copies(inputs.original_uri, image.uri) as (original_path, result_path),
        clock.computing("evaluate"),
    ):
        original = decode_file(original_path, limits, grayscale=layout.recipe.grayscale)
        result = decode_file(result_path, limits)
        if original.info.colours != result.info.colours:
            raise ImageRejectedError(
                "the original is in colour and the stored low resolution is not, or the reverse; "
                "store both alike"
            )
        ours, bicubic = measure_result(original, result, low, layout.scale, clock.restart)
    size = original.info
    stored = StoredImage(uri=inputs.original_uri, width=size.width, height=size.height)
    return _Measured(stored, ours, bicubic)


@contextmanager
def _copies(original: str, result: str) -> Iterator[tuple[Path, Path]]:
    """Local copies of both images."""
    reasons = {
        original: "its original was " + IMAGE_GONE,
        result: "its result was deleted before it was measured; run again with --redo",
    }
    with rejected_if_gone(reasons), ExitStack() as stack:
        copies = (storage.local_copy(uri) for uri in (original, result))
        original_path, result_path = map(stack.enter_context, copies)
        yield original_path, result_path


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
        path=reference.path if reference else None,
    )
    storage.write_bytes(layout.evaluation(image.image_id), record.to_json().encode())
    # Of an earlier run that this one redoes, or of another message about the same image.
    for uri in {layout.rejection(image.image_id), layout.arrival_rejection(image.image_id)}:
        storage.delete(uri)


def _metrics(quality: Quality | None) -> Metrics | None:
    if quality is None:
        return None
    return Metrics(psnr=quality.psnr if isfinite(quality.psnr) else None, ssim=quality.ssim)
