"""Peak memory of the four jobs on one very large image, Python workers included.

    .venv/bin/python benchmarks/memory.py

Runs split, inference, reconstruction and evaluation of a 12,000 x 9,000 JPEG on a standalone
cluster of one executor, and reads the memory of its JVM and all its Python workers four times a
second. benchmarks/README.md explains the columns.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Thread

import click
import psutil
from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table

from benchmarks.cluster import end_in_order, layout_in, settings_in, spark_session
from benchmarks.mosaics import load_samples, mosaic, write_jpeg
from jobs.import_folder import import_images
from jobs.job import Run
from jobs.progress import watching
from jobs.runner import FUSED_JOBS, SEPARATE_JOBS
from jobs.standalone import EXECUTOR_MEMORY_MIB
from superres.pipeline.config import Processing
from superres.pipeline.records import Mode

LARGE, SMALL = (12_000, 9_000), (3_000, 2_000)
LIMIT_MIB = 4096.0
_EVERY = 0.25  # seconds between samples
_MIB = 2.0**20


@dataclass
class Peak:
    """The peak memory of the executor during a job, in MiB.

    ``jvm`` and ``python`` are its parts at the moment of the highest resident sum;
    ``shared_once`` is the highest proportional set size, which counts shared pages once.
    """

    resident: float = 0.0
    jvm: float = 0.0
    python: float = 0.0
    processes: int = 0
    shared_once: float = 0.0
    samples: int = 0
    seconds: float = 0.0

    def add(self, jvm: float, python: list[float], shared_once: float) -> None:
        """Takes one sample into account."""
        self.samples += 1
        self.shared_once = max(self.shared_once, shared_once)
        if jvm + sum(python) > self.resident:
            self.resident = jvm + sum(python)
            self.jvm, self.python, self.processes = jvm, sum(python), len(python)


@dataclass
class Sampler:
    """Reads the memory of an executor and all processes below it while a job runs."""

    executor: psutil.Process
    peaks: dict[str, Peak] = field(default_factory=dict)

    @contextmanager
    def measuring(self, job: str) -> Iterator[None]:
        """Samples until the block ends."""
        peak = self.peaks.setdefault(job, Peak())
        ended = Event()

        def watch() -> None:
            while not ended.wait(_EVERY):
                peak.add(*self._sample())

        thread = Thread(target=watch, name="sampler", daemon=True)
        started = time.monotonic()
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            peak.seconds = time.monotonic() - started

    def _sample(self) -> tuple[float, list[float], float]:
        python: list[float] = []
        jvm = self.executor.memory_full_info()
        shared_once = jvm.pss / _MIB
        for child in self.executor.children(recursive=True):
            # A worker may end between the listing and the reading.
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                memory = child.memory_full_info()
                python.append(memory.rss / _MIB)
                shared_once += memory.pss / _MIB
        return jvm.rss / _MIB, python, shared_once


def find_executor(session: SparkSession) -> psutil.Process:
    """The only executor of the cluster that this process started."""
    session.range(1).count()  # the session is ready before its executor is
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if any("CoarseGrainedExecutorBackend" in word for word in child.cmdline()):
                return child
    raise click.ClickException("no executor below this process; is SPARK_MASTER set?")


def make_images(folder: Path, count: int, size: tuple[int, int], factor: int) -> list[Path]:
    """Writes mosaics of ``factor`` times the size as JPEG."""
    samples = load_samples()
    files = [folder / f"photo-{index}.jpg" for index in range(count)]
    for index, file in enumerate(files):
        write_jpeg(mosaic(samples, size[0] * factor, size[1] * factor, seed=index), file)
    return files


def print_peaks(console: Console, peaks: dict[str, Peak], limit: float) -> None:
    """The table of peaks and whether the limit holds."""
    table = Table(title="Peak memory of the executor and its Python workers, MiB")
    for heading in ("job", "seconds", "resident", "of it JVM", "of it Python", "processes", "PSS"):
        table.add_column(heading, justify="left" if heading == "job" else "right")
    for job, peak in peaks.items():
        figures = (peak.seconds, peak.resident, peak.jvm, peak.python, peak.processes)
        cells = [f"{figure:,.0f}" for figure in (*figures, peak.shared_once)]
        table.add_row(job, *cells)
    console.print(table)
    job, peak = max(peaks.items(), key=lambda entry: entry[1].resident)
    relation = "within" if peak.resident <= limit else "OVER"
    console.print(
        f"Peak {peak.resident:,.0f} MiB resident, in {job}: {relation} the {limit:,.0f} MiB "
        "that an executor may take"
    )


@click.command()
@click.option("--mode", type=click.Choice(["upscale", "evaluate"]), default="upscale")
@click.option("--fused", is_flag=True, help="The fused job instead of the three.")
@click.option("--small", is_flag=True, help="3,000 x 2,000 pixels, for a quick look.")
@click.option("--images", default=1, show_default=True, help="As many at once as there are cores.")
@click.option("--scale", default=2, show_default=True)
@click.option("--patch-size", default=Processing().patch_size, show_default=True)
@click.option("--cores", default=2, show_default=True, help="Tasks at once in the executor.")
@click.option("--heap-mib", default=EXECUTOR_MEMORY_MIB, show_default=True, help="Of the JVM.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write all figures here."
)
def main(
    mode: Mode,
    fused: bool,
    small: bool,
    images: int,
    scale: int,
    patch_size: int,
    cores: int,
    heap_mib: int,
    json_file: Path | None,
) -> None:
    """Measures the peak memory of an executor, Python workers included, on large images.

    In mode evaluate the original is as large as the result, and quality is measured in strips.
    """
    end_in_order()
    console = Console()
    width, height = SMALL if small else LARGE
    folder = Path(tempfile.mkdtemp(prefix="superres-memory-"))
    try:
        console.print(f"making {images} image(s) of {width:,} x {height:,}, mode {mode} …")
        settings = settings_in(folder, Processing(patch_size=patch_size))
        layout = layout_in(settings, scale)
        factor = scale if mode == "evaluate" else 1
        files = make_images(folder / "images", images, (width, height), factor)
        for imported in import_images(files, mode, settings.processing, layout):
            if imported.rejected:
                raise click.ClickException(imported.rejected)
        with spark_session(settings, folder, cores=cores, executor_memory_mib=heap_mib) as session:
            sampler = Sampler(find_executor(session))
            with watching(session.sparkContext, lambda _: None) as progress:
                table: str | None = None
                for name, job in (FUSED_JOBS if fused else SEPARATE_JOBS).items():
                    with sampler.measuring(name):
                        run = Run(session, settings, layout, progress, table=table)
                        report = job(run)
                    table = report.table
                    peak = sampler.peaks[name]
                    console.print(
                        f"{name}: {peak.seconds:.0f} s, {peak.resident:,.0f} MiB, {report.counts}"
                    )
        print_peaks(console, sampler.peaks, LIMIT_MIB)
        if json_file is not None:
            peaks = {job: asdict(peak) for job, peak in sampler.peaks.items()}
            json_file.write_text(json.dumps(peaks, indent=2) + "\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
