"""Settings from environment variables; README.md lists them."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localstack_emr_msk.errors import SettingsError

_NODE = "LOCAL_EMR_NODE_ENV_"
_MODES = ("off", "log", "enforce")
# For short-lived JVMs on a small machine: this compiler and collector start fastest.
_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


@dataclass(frozen=True)
class Settings:
    """How clusters run on this machine.

    Args:
        endpoint: Endpoint of this LocalStack, which nodes use as AWS.
        folder: Contains a folder per cluster, with logs and scratch space.
        mount: Folder that replaces ``/mnt`` of nodes; all clusters share it, being one machine.
        spark_home: A Spark installation, such as the folder of the pip package ``pyspark``.
        spark_classpath: Jars of Spark's S3 connector, as in ``/jars/*``.
        spark_java: Options for each JVM of Spark.
        worker_cores: Cores that a cluster's Spark worker offers.
        worker_memory: Memory in MiB that it offers to executors.
        spark_seconds: How long Spark may take to start.
        stop_seconds: How long a process may take to end before it is killed.
        node_environment: Environment variables of bootstrap actions and steps.
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
    """Reads the settings from environment variables.

    Raises:
        SettingsError: A value that must be a number is not one.
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


@dataclass(frozen=True)
class PermissionSettings:
    """How permissions are evaluated.

    Args:
        mode: ``off``, ``log`` (calls that no policy allows are reported) or ``enforce`` (refused).
        report: File to which each decision is appended.
    """

    mode: str = "off"
    report: Path | None = None


def permission_settings(variables: Mapping[str, str] = os.environ) -> PermissionSettings:
    """Reads the settings of permissions from environment variables.

    Raises:
        SettingsError: The mode is not one of the three.
    """
    mode = variables.get("LOCAL_IAM_MODE") or "off"
    if mode not in _MODES:
        raise SettingsError(f"LOCAL_IAM_MODE is {mode!r}; it must be one of {', '.join(_MODES)}")
    report = variables.get("LOCAL_IAM_REPORT")
    return PermissionSettings(mode, Path(report) if report else None)


def _number(variables: Mapping[str, str], name: str, default: int) -> int:
    text = variables.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise SettingsError(f"{name} is {text!r}; it must be a whole number from 1")
    return int(text)
