"""What the environment says about this machine; README.md lists the variables."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localstack_emr_msk.errors import SettingsError

_NODE = "LOCAL_EMR_NODE_ENV_"
# Short-lived on a small machine: the first compiler and the plain collector start quickest.
_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


@dataclass(frozen=True)
class Settings:
    """How clusters run here.

    Args:
        endpoint: Where this LocalStack answers; nodes talk to it as to AWS.
        folder: A folder per cluster lies in it, with logs and scratch space.
        mount: What a node has as ``/mnt``. All clusters share it: they are one machine.
        spark_home: A Spark, such as the folder of the pip package ``pyspark``.
        spark_classpath: Jars of Spark's S3 connector, as in ``/jars/*``.
        spark_java: Options for each JVM of Spark.
        worker_cores: Cores that a cluster's Spark worker offers.
        worker_memory: MiB that it offers to executors.
        spark_seconds: How long Spark may take to come up.
        stop_seconds: How long a process may take to end before it is killed.
        node_environment: What bootstrap actions and steps find in their environment.
    """

    endpoint: str
    folder: Path
    mount: Path
    spark_home: Path | None = None
    spark_classpath: str = ""
    spark_java: str = _JAVA
    worker_cores: int = 2
    worker_memory: int = 4096
    spark_seconds: float = 120.0
    stop_seconds: float = 5.0
    node_environment: Mapping[str, str] = field(default_factory=dict)


def settings_from(endpoint: str, variables: Mapping[str, str] = os.environ) -> Settings:
    """Reads the environment.

    Raises:
        SettingsError: A value is not a number where it must be one.
    """
    folder = Path(
        variables.get("LOCAL_EMR_FOLDER") or Path(tempfile.gettempdir()) / "localstack-emr"
    )
    home = variables.get("LOCAL_EMR_SPARK_HOME") or variables.get("SPARK_HOME")
    return Settings(
        endpoint=endpoint,
        folder=folder,
        mount=Path(variables.get("LOCAL_EMR_MOUNT") or folder / "mnt"),
        spark_home=Path(home) if home else None,
        spark_classpath=variables.get("LOCAL_EMR_SPARK_CLASSPATH", ""),
        spark_java=variables.get("LOCAL_EMR_SPARK_JAVA", _JAVA),
        worker_cores=_number(variables, "LOCAL_EMR_WORKER_CORES", os.cpu_count() or 2),
        worker_memory=_number(variables, "LOCAL_EMR_WORKER_MEMORY", 4096),
        spark_seconds=_number(variables, "LOCAL_EMR_SPARK_SECONDS", 120),
        stop_seconds=_number(variables, "LOCAL_EMR_STOP_SECONDS", 5),
        node_environment={
            name.removeprefix(_NODE): value
            for name, value in variables.items()
            if name.startswith(_NODE)
        },
    )


def _number(variables: Mapping[str, str], name: str, default: int) -> int:
    text = variables.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise SettingsError(f"{name} is {text!r}; it must be a whole number from 1")
    return int(text)
