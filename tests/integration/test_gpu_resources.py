"""Tasks learn which GPU Spark assigned to them; no GPU is needed to show it.

``local-cluster`` gives real executors, and a script that claims a GPU stands for the driver's tool.
"""

import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.required_tools import require
from tests.support.spark_commands import run_program

pytestmark = [pytest.mark.spark, pytest.mark.cluster, pytest.mark.slow]

# A process of its own: a local-cluster cannot share a JVM with the tests' session.
PROGRAM = """
import sys
from pyspark.sql import SparkSession
from jobs.session import worker_device

discovery = sys.argv[1]
session = (
    SparkSession.builder.master("local-cluster[1,2,1024]")
    .config("spark.ui.enabled", "false")
    .config("spark.executor.memory", "512m")
    .config("spark.executor.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    .config("spark.worker.resource.gpu.amount", "1")
    .config("spark.worker.resource.gpu.discoveryScript", discovery)
    .config("spark.executor.resource.gpu.amount", "1")
    .config("spark.executor.resource.gpu.discoveryScript", discovery)
    .config("spark.task.resource.gpu.amount", "0.5")
    .getOrCreate()
)
devices = session.sparkContext.parallelize(range(4), 4).map(lambda _: worker_device("cuda"))
print("devices", sorted(set(devices.collect())))
session.stop()
"""


def test_a_task_gets_the_address_that_spark_assigned(tmp_path: Path) -> None:
    require("java", "make system-packages")
    discovery = tmp_path / "discover.sh"
    discovery.write_text("""#!/bin/sh\necho '{"name": "gpu", "addresses": ["3"]}'\n""")
    discovery.chmod(0o755)
    done = run_program(
        [sys.executable, "-c", PROGRAM, str(discovery)], tmp_path, PYTHONPATH=str(ROOT)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "devices ['cuda:3']" in done.stdout
