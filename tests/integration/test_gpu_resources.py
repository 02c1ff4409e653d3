"""Tasks learn which GPU Spark assigned to them, and a job fails when none comes; without a GPU.

``local-cluster`` gives real executors, and a script that claims a GPU stands for the driver's tool.
"""

import json
import sys
from pathlib import Path

import pyspark
import pytest
import yaml

from jobs.standalone import local_conf
from tests.conftest import RunSetup
from tests.support.job_images import import_folder, textured_planes, write_png
from tests.support.paths import ROOT
from tests.support.required_tools import require
from tests.support.spark_commands import run_program

pytestmark = [pytest.mark.spark, pytest.mark.cluster, pytest.mark.slow]

CLUSTER = "local-cluster[1,2,1024]"

# A process of its own: a local-cluster cannot share a JVM with the tests' session.
PROGRAM = """
import sys
from pyspark.sql import SparkSession
from jobs.session import worker_device

builder = SparkSession.builder
for option in sys.argv[1:]:
    builder = builder.config(*option.split("=", 1))
session = builder.getOrCreate()
devices = session.sparkContext.parallelize(range(4), 4).map(lambda _: worker_device("cuda"))
print("devices", sorted(set(devices.collect())))
session.stop()
"""


@pytest.fixture
def wanted(tmp_path: Path) -> dict[str, str]:
    """Configuration of an application whose executors need a GPU, which is called 3."""
    require("java", "make system-packages")
    discovery = tmp_path / "discover.sh"
    discovery.write_text("""#!/bin/sh\necho '{"name": "gpu", "addresses": ["3"]}'\n""")
    discovery.chmod(0o755)
    return local_conf(CLUSTER, executor_memory_mib=512) | {
        "spark.executor.resource.gpu.amount": "1",
        "spark.executor.resource.gpu.discoveryScript": str(discovery),
        "spark.task.resource.gpu.amount": "0.5",
    }


def offered(wanted: dict[str, str]) -> dict[str, str]:
    """The same, with a worker that has the GPU."""
    script = wanted["spark.executor.resource.gpu.discoveryScript"]
    return wanted | {
        "spark.worker.resource.gpu.amount": "1",
        "spark.worker.resource.gpu.discoveryScript": script,
    }


def test_a_task_gets_the_address_that_spark_assigned(
    wanted: dict[str, str], tmp_path: Path
) -> None:
    options = [f"{key}={value}" for key, value in offered(wanted).items()]
    done = run_program([sys.executable, "-c", PROGRAM, *options], tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "devices ['cuda:3']" in done.stdout


def test_a_job_fails_when_no_gpu_comes_and_goes_on_when_started_again(
    wanted: dict[str, str], run_setup: RunSetup, tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    write_png(inbox / "one.png", textured_planes(48, 40))
    import_folder(inbox, run_setup)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(run_setup.settings.model_dump(mode="json")))
    home = Path(pyspark.__file__).parent
    job = [str(ROOT / "jobs" / "fused.py"), "--config", str(config)]
    job += ["--run-id", run_setup.layout.run_id]

    def submit(conf: dict[str, str], seconds: str) -> tuple[int, list[str]]:
        options = [f"--conf={key}={value}" for key, value in conf.items()]
        done = run_program(
            [str(home / "bin" / "spark-submit"), *options, *job],
            SPARK_HOME=str(home),
            SUPERRES_PROCESSING__GPU_WAIT_SECONDS=seconds,
        )
        return done.returncode, (done.stdout + done.stderr).splitlines()

    code, lines = submit(wanted, "2")
    assert code == 1
    assert not any(line.startswith("Traceback") for line in lines)
    (reason,) = [line for line in lines if line.startswith("fused: ")]
    assert reason.startswith("fused: no executor with a GPU for 2 s (processing.gpu_wait_seconds)")

    code, lines = submit(offered(wanted), "200")
    assert code == 0, lines[-40:]
    (line,) = [line for line in lines if line.startswith('{"job"')]
    assert json.loads(line)["images"] == 1
