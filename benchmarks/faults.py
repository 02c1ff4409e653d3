"""Random faults over a running pipeline: kills, freezes, full disks, damaged files, failing peers.

    .venv/bin/python -m benchmarks.faults --minutes 30 --seed 7

Images are offered all the time; producer, two consumers, jobs on Spark and the notifier work on
them, and are started again when they end. Every few seconds something is broken. Then the faults
stop, the pipeline gets time to finish, and every image is counted. Exits 1 when anything is wrong.
The same seed makes the same images and the same sequence of faults; what they hit depends on
timing.
"""

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.cluster import end_in_order
from benchmarks.fault_verdict import Observed, findings
from benchmarks.fault_world import HOOK, SPARK_PARTS, Pipeline, Slot
from superres.imaging.colour import Planes
from superres.imaging.decoding import decode_file
from superres.imaging.limits import Limits
from superres.pipeline import storage
from tests.support.http_server import until
from tests.support.ingestion_processes import World
from tests.support.kafka_broker import unstarted_broker
from tests.support.processes import SUPERRES
from tests.support.webhook_receiver import Reply

_PAUSE = (1.0, 5.0)  # seconds between two faults
_LASTING = (1.0, 8.0)  # seconds that a freeze, an outage or a full disk lasts
_DISK_MIB = 256
_LEFT_SECONDS = 60.0  # for processes of Spark to notice that whom they belong to is gone
_ANY_SIZE = Limits(1 << 40, 1 << 40)


@dataclass
class Injector:
    """Breaks things, one after the other."""

    pipeline: Pipeline
    rng: random.Random
    has_own_disk: bool
    counts: Counter[str] = field(default_factory=Counter)

    def inject(self) -> None:
        """Breaks one thing that is there, and mends it after a while where it lasts."""
        faults: list[tuple[str, Callable[[], bool]]] = [
            ("kill", self._kill),
            ("kill", self._kill),
            ("stop", self._stop),
            ("freeze", self._freeze),
            ("kill a part of Spark", self._kill_spark),
            ("kill a part of Spark", self._kill_spark),
            ("kill the broker", self._kill_broker),
            ("failing receiver", self._fail_receiver),
            ("damage a table", self._damage),
            ("full disk", self._fill),
        ]
        name, fault = self.rng.choice(faults)
        if fault():
            self.counts[name] += 1

    def _slot(self) -> Slot:
        return self.rng.choice(self.pipeline.slots)

    def _kill(self) -> bool:
        slot = self._slot()
        if slot.process is None or slot.service is None:
            return False
        slot.service.kill()
        self.counts[f"  killed: {slot.name}"] += 1
        return True

    def _stop(self) -> bool:
        slot = self._slot()
        if slot.process is None or slot.service is None:
            return False
        slot.service.terminate()
        return True

    def _freeze(self) -> bool:
        slot = self._slot()
        processes = [slot.process] if slot.process else []
        if slot.name == "jobs" and processes:
            part = self.rng.choice(sorted(SPARK_PARTS))
            processes = self.pipeline.spark_processes(part) or processes
        for process in processes:
            with suppress(psutil.Error):
                process.suspend()
        time.sleep(self.rng.uniform(*_LASTING))
        for process in processes:
            with suppress(psutil.Error):
                process.resume()
        return bool(processes)

    def _kill_spark(self) -> bool:
        part = self.rng.choice(sorted(SPARK_PARTS))
        processes = self.pipeline.spark_processes(part)
        if not processes:
            return False
        with suppress(psutil.Error):
            self.rng.choice(processes).kill()
        self.counts[f"  killed: {part}"] += 1
        return True

    def _kill_broker(self) -> bool:
        broker = self.pipeline.world.broker
        broker.kill()
        time.sleep(self.rng.uniform(0, 2))
        broker.start()
        return True

    def _fail_receiver(self) -> bool:
        receiver = self.pipeline.receiver
        receiver.default[HOOK] = Reply(self.rng.choice([500, 503, 429]))
        time.sleep(self.rng.uniform(*_LASTING))
        del receiver.default[HOOK]
        return True

    def _damage(self) -> bool:
        """Cuts a part of a table in half, or zeroes bytes in its middle."""
        parts = sorted(Path(self.pipeline.world.base, "work").rglob("*.parquet"))
        if not parts:
            return False
        with suppress(OSError), self.rng.choice(parts).open("r+b") as part:
            size = part.seek(0, 2)
            if self.rng.random() < 0.5:
                part.truncate(size // 2)
            else:
                part.seek(size // 2)
                part.write(bytes(64))
        return True

    def _fill(self) -> bool:
        if not self.has_own_disk:
            return False
        filler = Path(self.pipeline.world.base, "filler")
        with suppress(OSError), filler.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(1 << 16))
        time.sleep(self.rng.uniform(*_LASTING))
        filler.unlink(missing_ok=True)
        return True


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of its own at the folder, if this process may make one; yields whether."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs"]
    mounted = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def equal_to_upscale(pipeline: Pipeline, scratch: Path) -> set[str]:
    """The finished images whose samples are those that `superres upscale` makes of them."""
    lows = {
        file.stem: Path(file.uri)
        for file in storage.list_files(f"{pipeline.world.base}/low")
        if not file.name.endswith(".json")
    }
    results = {
        file.stem: Path(file.uri)
        for file in storage.list_files(f"{pipeline.world.base}/results/images")
    }
    given, made = scratch / "given", scratch / "made"
    given.mkdir()
    finished = pipeline.finished().keys() & lows.keys() & results.keys()
    for image_id in finished:
        shutil.copyfile(lows[image_id], given / lows[image_id].name)
    subprocess.run(
        [str(SUPERRES), "upscale", str(given), "--output", str(made)],
        check=True,
        capture_output=True,
    )
    upscaled = {path.name.partition("_")[0]: path for path in made.glob("*.png")}
    return {
        image_id
        for image_id in finished & upscaled.keys()
        if np.array_equal(_samples(upscaled[image_id]), _samples(results[image_id]))
    }


def _samples(path: Path) -> Planes:
    return decode_file(path, _ANY_SIZE).planes()


def observed(pipeline: Pipeline, scratch: Path) -> Observed:
    """What became of every image."""
    return Observed(
        good=frozenset(pipeline.good),
        bad=frozenset(pipeline.bad),
        stored=pipeline.stored(),
        finished=pipeline.finished(),
        rejected=pipeline.rejected(),
        shown=pipeline.shown(),
        announced=pipeline.announced(),
        equal=equal_to_upscale(pipeline, scratch),
        committed_early=pipeline.world.watch.violations,
    )


def tracebacks(scratch: Path) -> list[str]:
    """The logs of commands that have a traceback in them."""
    logs = sorted(scratch.glob("process-*/log"))
    return [log.parent.name for log in logs if "Traceback (most" in log.read_text(errors="replace")]


def report(console: Console, wrong: dict[str, list[str]], injector: Injector) -> None:
    """Prints the table of faults and the table of findings."""
    table = Table("fault", "times", title="Injected")
    for name, count in sorted(injector.counts.items(), key=lambda each: each[0].strip()):
        table.add_row(name, str(count))
    for slot in injector.pipeline.slots:
        ended = ", ".join(f"{code}: {count}" for code, count in sorted(slot.exits.items()))
        table.add_row(f"exits of {slot.name}", ended)
    console.print(table)
    table = Table("finding", "images", title="Found")
    for name, images in wrong.items():
        table.add_row(name, str(len(images)) + (f" ({', '.join(images[:3])})" if images else ""))
    console.print(table)


@click.command()
@click.option("--minutes", type=float, default=30.0, show_default=True, help="Time with faults.")
@click.option("--seed", type=int, default=None, help="Of images and faults.  [default: random]")
@click.option("--settle-minutes", type=float, default=15.0, show_default=True)
@click.option("--keep", is_flag=True, help="Keep the folder with storage and logs.")
def main(minutes: float, seed: int | None, settle_minutes: float, keep: bool) -> None:
    """Breaks a running pipeline at random, then counts what became of every image."""
    end_in_order()
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    console = Console(highlight=False)
    console.print(f"{minutes:g} minutes of faults, seed {seed}")
    scratch = Path(tempfile.mkdtemp(prefix="superres-faults-"))
    right = False
    try:
        with small_disk(scratch / "disk") as own_disk:
            if not own_disk:
                console.print("no file system of its own (needs root): the disk is never full")
            right = _run(console, scratch, own_disk, minutes, seed, settle_minutes)
    finally:
        if keep or not right:
            console.print(f"Logs and storage in {scratch}")
        else:
            shutil.rmtree(scratch)
    sys.exit(0 if right else 1)


def _run(
    console: Console,
    scratch: Path,
    own_disk: bool,
    minutes: float,
    seed: int,
    settle_minutes: float,
) -> bool:
    """Returns whether everything is right."""
    broker = unstarted_broker(scratch / "kafka")
    broker.start()
    try:
        images, faults = random.Random(f"images {seed}"), random.Random(f"faults {seed}")
        with (
            World(broker, str(scratch / "disk"), scratch / "world") as world,
            Pipeline(world, images) as pipeline,
        ):
            injector = Injector(pipeline, faults, own_disk)
            deadline = time.monotonic() + 60 * minutes
            while time.monotonic() < deadline:
                pipeline.offer(images.randint(1, 4))
                time.sleep(faults.uniform(*_PAUSE))
                injector.inject()
            console.print("The faults have ended; waiting until every image is done …")
            with suppress(AssertionError):  # what is missing is in the findings
                until(pipeline.settled, 60 * settle_minutes)
            wrong = findings(observed(pipeline, scratch))
            report(console, wrong, injector)
            console.print(f"{len(pipeline.good)} good images, {len(pipeline.bad)} bad ones")
    finally:
        broker.stop()
    with suppress(AssertionError):
        until(lambda: not pipeline.left_behind(), _LEFT_SECONDS)
    left = pipeline.left_behind()
    console.print(f"Processes left behind: {len(left)}", *left, sep="\n  ")
    shown = tracebacks(world.scratch)
    console.print(f"Commands with a traceback in their log: {len(shown)} {', '.join(shown[:5])}")
    return not (any(wrong.values()) or left or shown)


if __name__ == "__main__":
    main()
