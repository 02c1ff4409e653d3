"""Runs programs that start Spark."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.standalone import local_conf
from tests.support.paths import ROOT


def run_program(
    command: Sequence[str], folder: Path = ROOT, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Runs a program that starts Spark, with this Python for its workers."""
    ours = {
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_SUBMIT_OPTS": local_conf("")["spark.driver.extraJavaOptions"],
    }
    return subprocess.run(
        list(command),
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | ours | environment,
        cwd=folder,
        check=False,
    )
