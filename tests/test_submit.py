"""The jobs as spark-submit files on a real standalone master and worker."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyspark
import pytest
import yaml

from jobs.standalone import Resources, standalone_cluster
from superres import storage
from superres.records import RunManifest
from tests.conftest import Place
from tests.test_jobs import photograph, planes_of, take, upscaled, write_photograph
from tests.tools import require

pytestmark = [pytest.mark.spark, pytest.mark.cluster, pytest.mark.slow]
ROOT = Path(__file__).resolve().parent.parent
JOBS = ["mass_split", "batch_inference", "mass_reconstruct", "evaluate"]


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require("java", "make system-packages")
    with standalone_cluster(Resources(2, 1536), tmp_path_factory.mktemp("cluster")) as url:
        yield url


def submit(
    master: str, job: str, *arguments: str, conf: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    home = Path(pyspark.__file__).parent
    options = [f"--conf={entry}" for entry in ("spark.executor.memory=1g", *conf)]
    command = [str(home / "bin" / "spark-submit"), "--master", master, *options]
    environment = os.environ | {
        "SPARK_HOME": str(home),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    return subprocess.run(
        [*command, str(ROOT / "jobs" / f"{job}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        check=False,
    )


def lines_of(done: "subprocess.CompletedProcess[str]", beginning: str) -> list[str]:
    """What the job said; spark-submit passes a Python program's stderr on to its own stdout."""
    lines = (done.stdout + done.stderr).splitlines()
    assert not any(line.startswith("Traceback") for line in lines)
    return [line for line in lines if line.startswith(beginning)]


def config_file(place: Place, folder: Path) -> str:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(place.settings.model_dump()))
    return str(path)


def test_the_four_steps(master: str, place: Place, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    write_photograph(inbox / "one.png", photograph(120, 90, seed=1))
    write_photograph(inbox / "two.png", photograph(64, 200, seed=2))
    ids = take(inbox, place)
    config = config_file(place, tmp_path)
    for job in JOBS:
        report = str(tmp_path / f"{job}.json")
        options = ["--config", config, "--run-id", place.layout.run_id, "--report", report]
        done = submit(master, job, *options)
        assert done.returncode == 0, done.stderr
        line = json.loads(done.stdout.splitlines()[-1])
        assert json.loads(Path(report).read_text()) == line
        assert line["job"] == job
        assert line["seconds"] > 0
        assert line.get("images", 2) == 2
    manifest = RunManifest.from_json(storage.read_bytes(place.layout.manifest))
    assert manifest.counts == {"evaluate_images": 2, "evaluate_rejected": 0}
    for image_id in ids.values():
        assert storage.exists(place.layout.evaluation(image_id))
        low = storage.join(place.layout.low_resolution, f"{image_id}.png")
        result = planes_of(place.layout.result(image_id))
        assert np.array_equal(result, upscaled(low, place.settings))


def test_configuration_given_to_spark_submit_wins(tmp_path: Path) -> None:
    keys = [f"spark.sql.execution.arrow.max{what}PerBatch" for what in ("Records", "Bytes")]
    (tmp_path / "probe.py").write_text(
        "from jobs.session import get_session\n"
        "from superres.config import Settings\n"
        "session = get_session('probe', Settings())\n"
        f"print([session.conf.get(key) for key in {keys}])\n"
    )
    done = submit("local[1]", str(tmp_path / "probe"), conf=(f"{keys[0]}=7",))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(["7", str(16 << 20)])


def test_a_wrong_configuration_is_one_line(master: str, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("processing:\n  upscale_factor: 5\n")
    done = submit(master, "mass_split", "--config", str(config), "--run-id", "2026-01-31-x2")
    assert done.returncode == 1
    told = lines_of(done, "mass_split: ")
    assert len(told) == 1
    assert "upscale_factor" in told[0]
    assert "5" in told[0]


def test_a_gpu_that_is_not_there_stops_at_once(master: str, place: Place, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    write_photograph(inbox / "one.png", photograph(50, 50))
    take(inbox, place)
    options = ["--config", config_file(place, tmp_path), "--run-id", place.layout.run_id]
    assert submit(master, "mass_split", *options).returncode == 0
    cuda = place.settings.model_dump()
    cuda["processing"]["device"] = "cuda"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(cuda))
    done = submit(master, "batch_inference", *options)
    assert done.returncode == 1
    told = lines_of(done, "batch_inference: ")
    assert len(told) == 1
    assert "GPU" in told[0]
