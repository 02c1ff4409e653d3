"""Requests per second and their latency: wrk against a notifier with many images and open pages.

    .venv/bin/python benchmarks/notifier.py      # needs Debian's wrk: `make system-packages`

The store has 20,000 images and 100 streams of changes are open all the time. wrk uses 16
connections from this machine, so it shares the cores with the notifier. It requests one URL again
and again, which the notifier caches, and each image in turn, which it does not. Any answer but 200
is a failure.
"""

import sys

if not __package__:
    sys.path.pop(0)  # run as a script, this file would hide the package that it measures

import json
import os
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from shutil import which

import click
from rich.console import Console
from rich.table import Table

from notifier.store.database import open_database
from notifier.store.images import record_evaluation
from superres.errors import PrerequisiteError
from superres.pipeline.records import Evaluation, Metrics, StoredImage, image_id_of

RATE_BAR, P99_BAR = 300.0, 100.0  # requests per second; milliseconds
_STREAMS, _CONNECTIONS, _SECONDS = 100, 16, 15
_EACH = "API, each image"
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Load:
    """Results of wrk: requests per second, median and 99th percentile in ms, and failures."""

    rate: float
    p50: float
    p99: float
    failed: int


def image(number: int, folder: Path) -> Evaluation:
    """An evaluation as the jobs write it, of an image that does not exist."""
    random.seed(number)
    image_id, psnr = image_id_of("evaluate", 2, f"benchmark:{number}"), random.gauss(31, 2)
    return Evaluation(
        image_id=image_id,
        run_id="2026-01-01-x2",
        mode="evaluate",
        scale=2,
        ingest_date=datetime(2026, 1, 1).date(),
        source=f"folder:photograph-{number}.jpg",
        low_resolution=StoredImage(uri=f"{folder}/low/{image_id}.png", width=480, height=270),
        result=StoredImage(uri=f"{folder}/result/{image_id}.png", width=960, height=540),
        original=StoredImage(uri=f"{folder}/high/{image_id}.jpg", width=960, height=540),
        protocol="Y, shave 2",
        ours=Metrics(psnr=psnr, ssim=0.91),
        bicubic=Metrics(psnr=psnr - random.gauss(2, 0.5), ssim=0.88),
        seconds=0.4,
        model_digest="0" * 64,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
    )


@contextmanager
def serving(folder: Path, images: int) -> Iterator[tuple[str, int]]:
    """Runs a notifier with this number of images; yields its host and port."""
    config = {
        "dataset": {"reconstructed_images_dir": str(folder / "results")},
        "notifier": {
            "database_url": f"sqlite:///{folder}/notifier.db",
            "cache_dir": str(folder / "cache"),
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    database = open_database(config["notifier"]["database_url"])
    with database.writing() as session:
        for number in range(images):
            record_evaluation(session, image(number, folder), f"benchmark:{number}", "")
    database.close()
    command = [str(Path(sys.executable).with_name("superres")), "notify", "--port", "0"]
    with subprocess.Popen(
        [*command, "--config", str(folder / "config.json")],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(r"http://([\d.]+):(\d+)", line):
                    break
            else:
                raise click.ClickException("the notifier did not start")
            yield found[1], int(found[2])
        finally:
            process.terminate()
            process.communicate()


@contextmanager
def open_stream(host: str, port: int) -> Iterator[None]:
    """Opens a stream of changes, as a page of the gallery does."""
    connection = HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", "/events")
        answer = connection.getresponse()
        if answer.status != 200 or b"retry" not in answer.readline():
            raise click.ClickException(f"/events answered {answer.status}")
        yield
    finally:
        connection.close()


def measure(url: str, script: Path | None = None) -> Load:
    """Runs wrk on one URL, or on those of a script."""
    command = ["wrk", "-t", "1", "-c", str(_CONNECTIONS), "-d", f"{_SECONDS}s", "--latency", url]
    if script is not None:
        command += ["-s", str(script)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", output)))
    for counts in re.findall(r"Socket errors: (.*)", output):
        failed += sum(map(int, re.findall(r"\d+", counts)))
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert rate is not None, output
    return Load(float(rate[1]), _milliseconds(output, 50), _milliseconds(output, 99), failed)


def _milliseconds(output: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s)\s*$", output, re.MULTILINE)
    assert found is not None, output
    return float(found[1]) * _UNITS[found[2]]


def each_image(folder: Path, images: int) -> Path:
    """A script with which wrk requests one image after the other."""
    names = ",".join(f'"{image(number, folder).image_id}"' for number in range(images))
    script = folder / "each.lua"
    script.write_text(f"""local names, last = {{{names}}}, 0
request = function()
  last = last % #names + 1
  return wrk.format("GET", "/api/v1/images/" .. names[last])
end
""")
    return script


@click.command()
@click.option("--images", default=20_000, show_default=True)
def main(images: int) -> None:
    """Measures the API and the gallery."""
    if which("wrk") is None:
        raise PrerequisiteError("wrk is missing; `make system-packages` installs it")
    pages = {
        "API, 20 images": "/api/v1/images",
        _EACH: "/api/v1/images",
        "API, best 20": "/api/v1/images?order=best",
        "gallery": "/",
    }
    table = Table("", "requests/s", "50 %", "99 %", "failed", "bar")
    good = True
    with tempfile.TemporaryDirectory(prefix="superres-notifier-") as name, ExitStack() as stack:
        host, port = stack.enter_context(serving(Path(name), images))
        for _ in range(_STREAMS):
            stack.enter_context(open_stream(host, port))
        for title, path in pages.items():
            script = each_image(Path(name), images) if title == _EACH else None
            load = measure(f"http://{host}:{port}{path}", script)
            met = load.rate >= RATE_BAR and load.p99 <= P99_BAR and not load.failed
            good = good and (met or not path.startswith("/api"))
            times = (f"{load.p50:.0f} ms", f"{load.p99:.0f} ms")
            table.add_row(
                title, f"{load.rate:.0f}", *times, str(load.failed), "met" if met else "MISSED"
            )
    Console().print(table)
    sys.exit(not good)


if __name__ == "__main__":
    main()
