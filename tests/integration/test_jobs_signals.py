"""A run that is stopped while Spark works is reported as stopped, not as failed."""

from pathlib import Path

import pytest

from tests.support.http_server import until
from tests.support.image_files import noise, pillow
from tests.support.kafka_broker import PATIENCE
from tests.support.processes import Service
from tests.support.required_tools import require

pytestmark = [pytest.mark.spark, pytest.mark.slow]


@pytest.mark.parametrize(("signal", "code"), [("interrupt", 130), ("terminate", 143)])
def test_a_run_stopped_during_a_job_ends_as_stopped(tmp_path: Path, signal: str, code: int) -> None:
    require("java", "make system-packages")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number in range(12):
        (inbox / f"{number}.png").write_bytes(pillow(noise(1500, 1500, 3, 8), "PNG"))
    out = tmp_path / "out"
    command = ["run", "--input", str(inbox), "--output", str(out), "--mode", "upscale"]
    run = Service([*command, "--master", "local[1]"], {}, tmp_path / "process")
    try:
        # Spark is writing a table, which a call of Java waits for.
        until(lambda: any(out.glob("work/*/patches/*/_temporary/*")), 3 * PATIENCE)
        getattr(run, signal)()
        assert run.wait() == code, run.log
    finally:
        run.kill()
    assert "failed" not in run.log
    assert ("superres: stopped" in run.log) == (code == 130)
