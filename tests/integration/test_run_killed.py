"""A run whose driver is killed leaves no process behind, and the next one clears the rest."""

from pathlib import Path

import psutil
import pytest

from tests.support.http_server import until
from tests.support.image_files import noise, pillow
from tests.support.kafka_broker import PATIENCE
from tests.support.processes import Service
from tests.support.required_tools import require

pytestmark = [pytest.mark.spark, pytest.mark.cluster, pytest.mark.slow]


def processes_with(variable: str, value: str) -> list[psutil.Process]:
    """Those that live and have the variable in their environment."""
    found = []
    for process in psutil.process_iter(["environ", "status"]):
        ours = (process.info["environ"] or {}).get(variable) == value
        if ours and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def test_a_killed_driver_leaves_no_process_and_the_next_run_clears_its_tables(tmp_path: Path):
    require("java", "make system-packages")
    inbox, out, local = (tmp_path / name for name in ("inbox", "out", "local"))
    inbox.mkdir()
    for number in range(6):
        (inbox / f"{number}.png").write_bytes(pillow(noise(500, 500, 3, 8), "PNG"))
    command = ["run", "--input", str(inbox), "--output", str(out), "--mode", "upscale"]
    command += ["--ingest-date", "2026-01-31"]
    environment = {"SUPERRES_LOCAL_DIR": str(local)}

    def of_the_run() -> list[psutil.Process]:
        return processes_with("SUPERRES_LOCAL_DIR", str(local))

    def names(pattern: str) -> list[str]:
        return [path.name for path in out.glob(pattern)]

    first = Service(command, environment, tmp_path / "first")
    try:
        writing = "work/*/patches/*/_temporary/*"
        until(lambda: names(writing) or not first.running, 3 * PATIENCE)
        assert first.running, first.log
        assert len(of_the_run()) >= 6  # driver, tethers, master, worker, JVM of the driver, …
    finally:
        first.kill()
    until(lambda: not of_the_run(), PATIENCE)
    (dead,) = names("work/*/patches/*")
    assert list((local / "spark").glob(".superres-*"))
    second = Service(command, environment, tmp_path / "second")
    try:
        written = "work/*/patches/*"
        until(lambda: set(names(written)) - {dead} or not second.running, 3 * PATIENCE)
        assert second.running, second.log
        assert dead not in names("work/*/patches/*")
        assert second.wait(3 * PATIENCE) == 0, second.log
    finally:
        second.kill()
    assert names("work/*/*/attempt=*") == names("work/*/owners/*") == []
    assert not list((local / "spark").glob(".superres-*"))
    assert len(names("results/images/**/*.png")) == 6
