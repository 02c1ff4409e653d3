"""Damaged and hostile images: what checking and decoding them costs, and how it ends.

    .venv/bin/python benchmarks/fuzz.py --minutes 10

Each input is read in a process of its own, which is forked for it; the one before may crash. Only
pixels or ``ImageRejectedError`` may come out, within the bars. Inputs come from seeds: ``--seed``
repeats a run, and each failure is kept as a file in ``--failures``. benchmarks/README.md explains
the figures.
"""

import hashlib
import json
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import click
import pyvips

from superres.errors import ImageRejectedError
from superres.imaging.decoding import check, decode
from superres.imaging.jpeg import jpeg_quality
from superres.pipeline.config import Processing
from tests.support.hostile_files import HOSTILE
from tests.support.image_corpus import corpus, damaged

CHECK_SECONDS, DECODE_SECONDS, MEMORY_MIB = 1.0, 10.0, 1024.0
"""The bars for any file of at most 1 MiB."""
_MOST_CPU_SECONDS = 60
_MOST_ADDRESSES = 8 << 30  # bytes
_KIB_PER_MIB = 1024


@dataclass(frozen=True)
class Outcome:
    """How reading one input ended.

    Attributes:
        check_seconds: of the processor, for the header and the quality of a JPEG.
        decode_seconds: of the processor, for all pixels.
        memory_mib: the peak of the process.
        reason: of the rejection; None for pixels.
        fault: what must not happen; None if it did not.
    """

    check_seconds: float
    decode_seconds: float
    memory_mib: float
    reason: str | None = None
    fault: str | None = None

    @property
    def failure(self) -> str | None:
        """What is wrong with it, in one line; None if nothing is."""
        if self.fault:
            return self.fault
        if self.check_seconds > CHECK_SECONDS:
            return f"checking took {self.check_seconds:.1f} s"
        if self.decode_seconds > DECODE_SECONDS:
            return f"decoding took {self.decode_seconds:.1f} s"
        if self.memory_mib > MEMORY_MIB:
            return f"took {self.memory_mib:.0f} MiB"
        return None


@dataclass
class Totals:
    """Counts and extremes of a run."""

    inputs: int = 0
    decoded: int = 0
    failures: int = 0
    slowest_check: tuple[float, str] = (0.0, "")
    slowest_decode: tuple[float, str] = (0.0, "")
    largest: tuple[float, str] = (0.0, "")
    reasons: set[str] = field(default_factory=set)

    def add(self, name: str, outcome: Outcome) -> None:
        """Takes one outcome into account."""
        self.inputs += 1
        self.failures += outcome.failure is not None
        if outcome.reason is None:
            self.decoded += 1
        else:
            self.reasons.add(outcome.reason)
        self.slowest_check = max(self.slowest_check, (outcome.check_seconds, name))
        self.slowest_decode = max(self.slowest_decode, (outcome.decode_seconds, name))
        self.largest = max(self.largest, (outcome.memory_mib, name))

    def lines(self) -> Iterator[str]:
        """The report."""
        yield f"{self.inputs} inputs: {self.decoded} decoded, {self.inputs - self.decoded} rejected"
        yield f"slowest check {self.slowest_check[0]:.2f} s ({self.slowest_check[1]})"
        yield f"slowest decoding {self.slowest_decode[0]:.2f} s ({self.slowest_decode[1]})"
        yield f"most memory {self.largest[0]:.0f} MiB ({self.largest[1]})"
        yield f"{self.failures} failures"


def read_in_child(data: bytes, page: int | None) -> Outcome:
    """Checks and decodes an input in a forked process."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        _report(sending, data, page)
    os.close(sending)
    with os.fdopen(receiving, "rb") as stream:
        report = stream.read()
    _, status, usage = os.wait4(child, 0)
    memory = usage.ru_maxrss / _KIB_PER_MIB
    if not report:
        seconds = usage.ru_utime + usage.ru_stime
        code = os.waitstatus_to_exitcode(status)
        return Outcome(0, seconds, memory, fault=f"the process ended with {code}")
    return Outcome(memory_mib=memory, **json.loads(report))


def _report(sending: int, data: bytes, page: int | None) -> None:
    """Runs in the child, and ends it."""
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_CPU_SECONDS, _MOST_CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_ADDRESSES, _MOST_ADDRESSES))
    os.write(sending, json.dumps(_read(data, page)).encode())
    os._exit(0)


def _read(data: bytes, page: int | None) -> dict[str, float | str | None]:
    limits = Processing().limits
    begun = checked = time.process_time()
    reason = fault = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                check(data, limits)
                jpeg_quality(data)
            finally:
                checked = time.process_time()
            image = decode(data, limits, page=page)
            planes = image.planes()
            if planes.shape != (image.info.channels, image.info.height, image.info.width):
                fault = f"planes of shape {planes.shape}"
    except ImageRejectedError as error:
        reason = str(error)
        if len(reason.splitlines()) != 1:
            fault = f"a reason of several lines: {reason!r}"
    except BaseException:
        fault = traceback.format_exc()
    ended = time.process_time()
    return {
        "check_seconds": checked - begun,
        "decode_seconds": ended - checked,
        "reason": reason,
        "fault": fault,
    }


def hostile_inputs() -> Iterator[tuple[str, bytes, int | None]]:
    """The files that were made to cost much."""
    for name, make in HOSTILE.items():
        yield name, make(), None


def random_inputs(seed: int, minutes: float) -> Iterator[tuple[str, bytes, int | None]]:
    """Damaged images, named by their seeds, until the time is over."""
    good = corpus()
    names = sorted(good)
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        random = Random(seed)
        name = random.choice(names)
        page = random.choice((None, None, None, 2))
        yield f"{seed}-{name}", damaged(good[name], random), page
        seed += 1


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="Time for random inputs.")
@click.option("--seed", default=1, show_default=True, help="Of the first random input.")
@click.option("--hostile/--no-hostile", default=True, show_default=True)
@click.option(
    "--failures",
    type=click.Path(path_type=Path),
    help="Folder for inputs that failed.  [default: a new temporary one]",
)
def main(minutes: float, seed: int, hostile: bool, failures: Path | None) -> None:
    """Read hostile files, then random ones, and report what they cost."""
    assert pyvips.API_mode  # imported and set up before the first fork
    folder = failures or Path(tempfile.mkdtemp(prefix="superres-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    totals, last = Totals(), ""
    for source in (hostile_inputs() if hostile else iter(()), random_inputs(seed, minutes)):
        for name, data, page in source:
            outcome = read_in_child(data, page)
            totals.add(name, outcome)
            last = name
            if outcome.failure:
                digest = hashlib.sha256(data).hexdigest()[:12]
                (folder / f"{digest}-{name}").write_bytes(data)
                click.echo(f"{name}: page {page}: {outcome.failure}", err=True)
    for line in totals.lines():
        click.echo(line)
    click.echo(f"seeds from {seed}, the last input was {last}; failures are in {folder}")
    sys.exit(1 if totals.failures else 0)


if __name__ == "__main__":
    main()
