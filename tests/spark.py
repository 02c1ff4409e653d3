"""How tests start Spark: on one machine, for a short while, with S3's connector if it is there."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.session import jars_folder
from tests.kept import ROOT


def run_program(
    command: Sequence[str], folder: Path = ROOT, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Runs what starts Spark, with this Python for its workers, to its end."""
    ours = {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    return subprocess.run(
        list(command),
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | ours | environment,
        cwd=folder,
        check=False,
    )


def quick_conf() -> dict[str, str]:
    """Configuration with which a JVM starts soonest.

    The archive of classes (scripts/spark_archive.sh) is for a class path with the connector in it,
    whether it is used or not. Where it is missing Spark takes a little longer.
    """
    jars = jars_folder()
    java = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xlog:disable"
    java = f"{java} -XX:SharedArchiveFile={jars / 'spark.jsa'}"
    return {
        "spark.driver.extraClassPath": f"{jars}/*",
        "spark.executor.extraClassPath": f"{jars}/*",
        "spark.driver.extraJavaOptions": java,
        "spark.executor.extraJavaOptions": java,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
