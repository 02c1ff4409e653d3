"""Images for tests of the jobs: made, imported into a run's storage, and upscaled or run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.import_folder import import_images
from jobs.job import Job, JobReport, Run
from jobs.progress import watching
from superres.imaging.colour import Planes
from superres.imaging.decoding import decode_file
from superres.imaging.info import ImageInfo
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png
from superres.network.engine import fetch_weights, make_engine
from superres.network.upscaling import upscale_image
from superres.pipeline.config import Settings
from superres.pipeline.records import Mode
from tests.conftest import RunSetup

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ANY_SIZE = Limits(1 << 40, 1 << 40)


def textured_planes(
    height: int, width: int, channels: int = 3, bits: int = 8, seed: int = 0
) -> Planes:
    """(C, h, w) samples with edges, slopes and texture."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    info = ImageInfo(width, height, channels, bits)
    waves = [
        0.5 + 0.4 * np.sin(rows / random.uniform(2, 9) + columns / random.uniform(2, 9))
        for _ in range(channels)
    ]
    noisy = np.stack(waves) + random.normal(0, 0.02, (channels, height, width))
    return (np.clip(noisy, 0, 1) * (2**bits - 1)).astype(info.dtype)


def write_png(path: Path, planes: Planes) -> None:
    channels, height, width = planes.shape
    encode_png([planes], ImageInfo(width, height, channels, planes.itemsize * 8), path)


def read_planes(uri: str) -> Planes:
    return decode_file(Path(uri), _ANY_SIZE).planes()


def import_folder(folder: Path, run_setup: RunSetup, mode: Mode = "evaluate") -> dict[str, str]:
    """Stores the folder's files in the layout; returns the image_id of each file name."""
    files = sorted(folder.iterdir())
    imported = import_images(files, mode, run_setup.settings.processing, run_setup.layout)
    return {image.path.name: image.image_id for image in imported}


def upscaled(uri: str, settings: Settings) -> Planes:
    """The planes that `superres upscale` makes of a file."""
    processing = settings.processing
    scale = processing.upscale_factor
    engine = make_engine(fetch_weights(processing.checkpoint(scale), scale))
    image = decode_file(Path(uri), _ANY_SIZE, grayscale=processing.grayscale)
    return np.concatenate(list(upscale_image(image, processing.patch_size, engine)), axis=1)


def one_job(spark: "SparkSession", run_setup: RunSetup, job: Job, **options: Any) -> JobReport:
    """Runs one job of a run."""
    with watching(spark.sparkContext, lambda _: None) as progress:
        run = Run(spark, run_setup.settings, run_setup.layout, progress, **options)
        return job(run)
