"""Throughput of the Spark jobs against a plain loop and OpenCV, start-up costs left out.

    .venv/bin/python benchmarks/throughput.py --json throughput.json

Every way upscales N images and then 4 N; the difference over 3 N images is its steady state, in
seconds per megapixel of output, without the cost of a session or a first task. The ways take turns
for several rounds, so that other load on the machine affects all of them. benchmarks/README.md
explains the columns.
"""

import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table

from benchmarks.cluster import end_in_order, layout_in, settings_in, spark_session
from benchmarks.first_spark import upscale_folder
from benchmarks.loops import (
    Parts,
    WarmPool,
    prepare_plainly,
    prepare_with_opencv,
    upscale_plainly,
    upscale_with_opencv,
)
from benchmarks.mosaics import write_mosaics
from benchmarks.ray_data import start_ray
from jobs.job import Job, Run
from jobs.progress import Progress, watching
from jobs.runner import FUSED_JOBS, SEPARATE_JOBS
from superres.imaging.colour import Planes
from superres.imaging.decoding import decode_file
from superres.imaging.limits import Limits
from superres.pipeline import storage
from superres.pipeline.config import Processing, Settings
from superres.pipeline.layout import Layout

THREE, LOOP, FUSED_PATH, OPENCV = "three jobs", "plain loop", "fused", "OpenCV"
RAY, FIRST_SPARK = "Ray Data", "a first Spark version"
GROWTH = 4  # the larger set has this many times the images of the smaller


@dataclass(frozen=True)
class Bar:
    """The largest allowed ratio to the plain loop, and the aim."""

    must: float
    aim: float


BARS = {THREE: Bar(1.2, 1.1), FUSED_PATH: Bar(1.08, 1.03)}


@dataclass(frozen=True)
class ImageSet:
    """Images on disk: their files, the layout of their run, and megapixels of output."""

    settings: Settings
    layout: Layout
    images: list[Path]
    megapixels: float

    @property
    def outputs(self) -> Path:
        """The folder for the PNG files of a way."""
        return Path(self.layout.result("any")).parent

    def clear(self) -> None:
        """Deletes the output of an earlier way and synchronises the disk, untimed."""
        for folder in (self.settings.dataset.reconstructed_images_dir, self.layout.patches):
            storage.delete_tree(folder)
        storage.delete_tree(self.layout.inference)
        storage.delete_tree(self.layout.reconstructed)
        self.outputs.mkdir(parents=True)
        os.sync()


Work = Callable[[ImageSet], Parts]
"""Upscales a set of images; returns seconds by part."""


@dataclass
class Way:
    """One way to do the work, with its measurements: seconds per megapixel for each round."""

    name: str
    kind: str
    work: Work
    rounds: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    check: str = ""

    def measure(self, small: ImageSet, large: ImageSet) -> None:
        """One round: the slope between the small and the large set."""
        seconds, parts = zip(*(_timed(self.work, images) for images in (small, large)), strict=True)
        growth = large.megapixels - small.megapixels
        self.rounds.append((seconds[1] - seconds[0]) / growth)
        for name in parts[1]:
            self.parts.setdefault(name, []).append((parts[1][name] - parts[0][name]) / growth)


def _timed(work: Work, images: ImageSet) -> tuple[float, Parts]:
    images.clear()
    started = time.perf_counter()
    parts = work(images)
    seconds = time.perf_counter() - started
    written = len(list(images.outputs.glob("*.png")))
    if written != len(images.images):
        raise click.ClickException(f"{written} of {len(images.images)} images were written")
    return seconds, parts


# ---- the ways


def spark_way(
    jobs: dict[str, Job], session: SparkSession, progress: Progress, patch_size: int
) -> Work:
    """The jobs, one after the other as the runner chains them; evaluation is left out."""
    chained = {stage: job for stage, job in jobs.items() if stage != "evaluate"}

    def work(images: ImageSet) -> Parts:
        processing = images.settings.processing.model_copy(update={"patch_size": patch_size})
        settings = images.settings.model_copy(update={"processing": processing})
        parts: Parts = {}
        table: str | None = None
        for stage, job in chained.items():
            started = time.perf_counter()
            table = job(Run(session, settings, images.layout, progress, True, table)).table
            parts[stage] = time.perf_counter() - started
        return parts

    return work


def pool_way(pool: WarmPool, upscale: Callable[[Path, Path], Parts]) -> Work:
    """A plain loop in the processes of ``pool``."""
    return lambda images: pool.run(upscale, images.images, images.outputs)


def ray_way(stack: ExitStack, cores: int) -> Work:
    """The functions of the jobs under Ray Data."""
    upscale = start_ray(stack, cores)

    def work(images: ImageSet) -> Parts:
        upscale(images.images, images.settings.processing, images.layout)
        return {}

    return work


def first_spark_way(session: SparkSession) -> Work:
    """Spark as anyone would write it first."""

    def work(images: ImageSet) -> Parts:
        low = Path(images.layout.low_resolution)
        upscale_folder(session, low, images.outputs, images.layout.scale)
        return {}

    return work


@dataclass(frozen=True)
class Others:
    """Which ways are measured beside the three jobs and the plain loop."""

    fused: bool
    opencv: bool
    ray: bool
    first_spark: bool


def all_ways(
    stack: ExitStack, session: SparkSession, scale: int, patch_sizes: Sequence[int], others: Others
) -> list[Way]:
    """The ways in the order in which they take turns: jobs, loop, fused, then the others."""
    progress = stack.enter_context(watching(session.sparkContext, lambda _: None))
    cores = session.sparkContext.defaultParallelism
    ways = []
    kinds = {THREE: SEPARATE_JOBS} | ({FUSED_PATH: FUSED_JOBS} if others.fused else {})
    for kind, jobs in kinds.items():
        for size in patch_sizes:
            name = f"{kind}, {size}" if len(patch_sizes) > 1 else kind
            ways.append(Way(name, kind, spark_way(jobs, session, progress, size)))
    plain = WarmPool(cores, prepare_plainly, scale)
    stack.callback(plain.close)
    ways.insert(len(patch_sizes), Way(LOOP, LOOP, pool_way(plain, upscale_plainly)))
    if others.ray:
        ways.append(Way(RAY, RAY, ray_way(stack, cores)))
    if others.first_spark:
        ways.append(Way(FIRST_SPARK, FIRST_SPARK, first_spark_way(session)))
    if others.opencv:
        pool = WarmPool(cores, prepare_with_opencv, scale)
        stack.callback(pool.close)
        ways.append(Way(OPENCV, OPENCV, pool_way(pool, upscale_with_opencv)))
    return ways


# ---- measuring


def make_set(folder: Path, count: int, size: tuple[int, int], scale: int) -> ImageSet:
    """Writes ``count`` images as the low resolution of a run."""
    settings = settings_in(folder, Processing())
    layout = layout_in(settings, scale)
    low = Path(layout.low_resolution)
    write_mosaics(low, count, *size)
    megapixels = count * size[0] * size[1] * scale**2 / 1e6
    return ImageSet(settings, layout, sorted(low.iterdir()), megapixels)


def measure(
    ways: list[Way], small: ImageSet, large: ImageSet, rounds: int, console: Console
) -> None:
    """Warms every way up, compares pixels, and measures in turns, every other round backwards."""
    pictures: dict[str, Planes] = {}
    for way in ways:
        console.print(f"warming up: {way.name}")
        _timed(way.work, small)
        first = next(iter(sorted(small.outputs.glob("*.png"))))
        pictures[way.name] = decode_file(first, Limits(1 << 62, 1 << 62)).planes()
    for way in ways:
        way.check = describe_difference(pictures[way.name], pictures[LOOP])
    for number in range(rounds):
        for way in ways if number % 2 == 0 else reversed(ways):
            way.measure(small, large)
            console.print(f"round {number + 1} of {rounds}: {way.name} {way.rounds[-1]:.4f} s/Mpx")


def describe_difference(picture: Planes, reference: Planes) -> str:
    """How a way's first image differs from the plain loop's."""
    difference = np.abs(picture.astype(np.int16) - reference)
    if not difference.any():
        return "same pixels"
    error = float(np.mean(np.square(difference, dtype=np.float64)))
    share = np.count_nonzero(difference) / difference.size
    psnr = 10 * np.log10(255**2 / error)
    return f"{share:.2%} of samples differ, by {difference.max()} at most ({psnr:.1f} dB)"


# ---- results


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest over the rounds."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.least:.3f}–{self.greatest:.3f})"


def spread(values: Iterable[float]) -> Spread:
    """Of a value per round."""
    listed = list(values)
    return Spread(statistics.median(listed), min(listed), max(listed))


def ratio_to(way: Way, loop: Way) -> Spread:
    """Ratio of each round's slope to the loop's in the same round."""
    return spread(mine / its for mine, its in zip(way.rounds, loop.rounds, strict=True))


def verdict(way: Way, ratio: Spread) -> str:
    """The bar of the way, and whether the median ratio meets it."""
    if way.kind not in BARS:
        return ""
    bar = BARS[way.kind]
    met = "aim met" if ratio.median <= bar.aim else "met" if ratio.median <= bar.must else "MISSED"
    return f"≤ {bar.must:g}, aim {bar.aim:g}: {met}"


def print_results(console: Console, ways: list[Way]) -> None:
    """The table of ratios, then the tables of parts."""
    loop = next(way for way in ways if way.kind == LOOP)
    table = Table(title="Seconds per output megapixel: median (least–greatest) of the rounds")
    for heading in ("way", "s / Mpx", "ratio to the loop", "bar", "pixels against the loop's"):
        table.add_column(heading)
    for way in ways:
        ratio = ratio_to(way, loop)
        bar = "" if way is loop else verdict(way, ratio)
        table.add_row(way.name, str(spread(way.rounds)), str(ratio), bar, way.check)
    console.print(table)
    opencv = next((way for way in ways if way.kind == OPENCV), None)
    if opencv is not None:
        for way in ways:
            if way is not opencv:
                times = spread(
                    its / mine for mine, its in zip(way.rounds, opencv.rounds, strict=True)
                )
                faster = "ours is faster" if times.median > 1 else "OPENCV IS FASTER"
                console.print(f"OpenCV takes {times} times as long as {way.name}: {faster}")
    table = Table(
        title="Where it goes: s / Mpx by stage (jobs), or by process over the cores (loops)"
    )
    table.add_column("way")
    table.add_column("parts")
    for way in ways:
        parts = (f"{name} {statistics.median(own):.3f}" for name, own in way.parts.items())
        table.add_row(way.name, "  ".join(parts))
    console.print(table)


def machine(cores: int, master: str) -> dict[str, str | int]:
    """What the figures depend on."""
    model = platform.processor()
    with Path("/proc/cpuinfo").open() as lines:
        model = next((line.split(":")[1].strip() for line in lines if "model name" in line), model)
    packages = ("pyspark", "openvino", "numpy", "isal", "opencv-python-headless")
    return {
        "processor": model,
        "cores": cores,
        "master": master,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def as_json(ways: list[Way], about: dict[str, object]) -> str:
    """Everything measured, per round."""
    loop = next(way for way in ways if way.kind == LOOP)
    measured = {
        way.name: {
            "seconds_per_megapixel": way.rounds,
            "ratio_to_loop": asdict(ratio_to(way, loop)),
            "parts": way.parts,
            "pixels": way.check,
        }
        for way in ways
    }
    return json.dumps(about | {"ways": measured}, indent=2) + "\n"


def _sizes(_: click.Context, __: click.Parameter, value: str) -> list[int]:
    try:
        return [int(size) for size in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r}: write numbers with commas, as 128,256") from None


@click.command()
@click.option("--images", default=8, show_default=True, help="N; the larger set has 4 N.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--width", default=960, show_default=True, help="Of an input image.")
@click.option("--height", default=540, show_default=True)
@click.option("--scale", default=2, show_default=True)
@click.option(
    "--patch-sizes",
    default=str(Processing().patch_size),
    show_default=True,
    callback=_sizes,
    help="Measures the jobs with each, to choose a default: 128,256,512,1024.",
)
@click.option("--master", help="As in local[2].  [default: a standalone cluster of our own]")
@click.option("--cores", default=os.cpu_count() or 1, show_default=True, help="Of that cluster.")
@click.option("--fused/--no-fused", default=True, show_default=True)
@click.option("--opencv/--no-opencv", default=True, show_default=True)
@click.option("--ray", is_flag=True, help="Also Ray Data; needs the package ray[data].")
@click.option("--first-spark", is_flag=True, help="Also Spark with lists of floats; slow.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write all figures here."
)
def main(
    images: int,
    rounds: int,
    width: int,
    height: int,
    scale: int,
    patch_sizes: list[int],
    master: str | None,
    cores: int,
    fused: bool,
    opencv: bool,
    ray: bool,
    first_spark: bool,
    json_file: Path | None,
) -> None:
    """Measures throughput of the Spark jobs against a plain loop and OpenCV."""
    end_in_order()
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="superres-throughput-"))
    try:
        small = make_set(folder / "small", images, (width, height), scale)
        large = make_set(folder / "large", GROWTH * images, (width, height), scale)
        with ExitStack() as stack:
            session = stack.enter_context(
                spark_session(small.settings, folder, cores=cores, master=master)
            )
            context = session.sparkContext
            about = machine(context.defaultParallelism, master or "standalone")
            console.print(", ".join(f"{key} {value}" for key, value in about.items()))
            others = Others(fused, opencv, ray, first_spark)
            ways = all_ways(stack, session, scale, patch_sizes, others)
            measure(ways, small, large, rounds, console)
        print_results(console, ways)
        if json_file is not None:
            inputs = {"images": images, "width": width, "height": height, "scale": scale}
            json_file.write_text(as_json(ways, {"machine": about, "input": inputs}))
            console.print(f"Figures  {json_file}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
