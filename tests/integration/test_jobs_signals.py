"""A run that is stopped while Spark works is reported as stopped, not as failed."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.http_server import until
from tests.support.image_files import noise, pillow
from tests.support.kafka_broker import PATIENCE
from tests.support.processes import Service
from tests.support.required_tools import require

pytestmark = [pytest.mark.spark, pytest.mark.slow]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Service]:
    """`superres run` while Spark writes a table, which a call of Java waits for."""
    require("java", "make system-packages")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number in range(12):
        (inbox / f"{number}.png").write_bytes(pillow(noise(1500, 1500, 3, 8), "PNG"))
    out = tmp_path / "out"
    command = ["run", "--input", str(inbox), "--output", str(out), "--mode", "upscale"]
    started = Service([*command, "--master", "local[1]"], {}, tmp_path / "process")
    try:
        writing = "work/*/patches/*/_temporary/*"
        until(lambda: any(out.glob(writing)) or not started.running, 3 * PATIENCE)
        assert started.running, started.log
        yield started
    finally:
        started.kill()


@pytest.mark.parametrize(("signal", "code"), [("interrupt", 130), ("terminate", 143)])
def test_a_run_stopped_during_a_job_ends_as_stopped(run: Service, signal: str, code: int) -> None:
    getattr(run, signal)()
    assert run.wait() == code, run.log
    assert "failed" not in run.log
    assert "superres: stopped" in run.log


def test_a_run_whose_jvm_is_killed_fails_with_one_line(run: Service) -> None:
    children = psutil.Process(run.pid).children()
    (jvm,) = [child for child in children if child.name() == "java"]
    jvm.kill()
    assert run.wait() == 1, run.log
    assert "superres: the Spark run failed: Spark's Java process is gone" in run.log
    assert "Traceback" not in run.log
