"""The Spark master and worker of a cluster, and the configuration of its applications."""

import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from localstack_emr_msk.emr.processes import Process
from localstack_emr_msk.settings import Settings

_HOST = "127.0.0.1"
_MASTER = re.compile(r"Starting Spark master at (spark://\S+)")
_WORKER = re.compile(r"Successfully registered with master")


class SparkError(Exception):
    """Spark is missing or does not start; the message has the remedy."""


def spark_home(settings: Settings) -> Path:
    """Returns the Spark installation; raises ``SparkError`` when there is none."""
    if settings.spark_home is None:
        raise SparkError(
            "no Spark is configured; set LOCAL_EMR_SPARK_HOME, for example to the folder of pyspark"
        )
    if not (settings.spark_home / "bin" / "spark-class").is_file():
        raise SparkError(f"LOCAL_EMR_SPARK_HOME: {settings.spark_home} has no bin/spark-class")
    return settings.spark_home


def defaults(
    settings: Settings,
    region: str,
    scratch: Path,
    configurations: Iterable[Mapping[str, Any]] = (),
) -> dict[str, str]:
    """Returns the content of spark-defaults.conf: for this machine, then the cluster's own.

    As on EMR, S3A serves s3://, here with this LocalStack as endpoint. Credentials come from the
    environment of the processes. A killed JVM leaves its temporary files in ``scratch``.
    """
    java = f'{settings.spark_java} "-Djava.io.tmpdir={scratch}"'
    conf = {
        "spark.driver.extraJavaOptions": java,
        "spark.executor.extraJavaOptions": java,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": settings.endpoint,
        "spark.hadoop.fs.s3a.endpoint.region": region,
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
    }
    if settings.spark_classpath:
        conf["spark.driver.extraClassPath"] = settings.spark_classpath
        conf["spark.executor.extraClassPath"] = settings.spark_classpath
    for each in configurations:
        if each.get("Classification") == "spark-defaults":
            properties = each.get("Properties") or {}
            conf |= {k: v for k, v in properties.items() if not k.startswith("spark.yarn.")}
    return conf


def properties_file(conf: Mapping[str, str]) -> str:
    """Formats properties as spark-defaults.conf."""
    return "".join(f"{key} {value}\n" for key, value in conf.items())


class StandaloneSpark:
    """A master and a worker, on free ports.

    Args:
        settings: Settings of this machine.
        folder: For logs and scratch space of Spark.
        environment: Environment variables of both and of executors.
    """

    def __init__(self, settings: Settings, folder: Path, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._folder = folder
        self._environment = {
            **environment,
            "SPARK_DAEMON_MEMORY": "512m",
            "SPARK_DAEMON_JAVA_OPTS": settings.spark_java,
            "SPARK_DAEMON_CLASSPATH": settings.spark_classpath,
        }
        self._processes: list[Process] = []
        self.master = ""

    def start(self) -> None:
        """Starts both and waits until the worker is registered; raises ``SparkError``."""
        deadline = time.monotonic() + self._settings.spark_seconds
        web_ui = ["--host", _HOST, "--webui-port", "0"]
        log = self._run("master", "master.Master", [*web_ui, "--port", "0"])
        self.master = self._wait_for(_MASTER, log, deadline)
        resources = ["--cores", str(self._settings.worker_cores)]
        resources += ["--memory", f"{self._settings.worker_memory}m"]
        resources += ["--work-dir", str(self._folder / "work")]
        log = self._run("worker", "worker.Worker", [*web_ui, *resources, self.master])
        self._wait_for(_WORKER, log, deadline)

    def _run(self, name: str, program: str, arguments: list[str]) -> Path:
        launcher = spark_home(self._settings) / "bin" / "spark-class"
        log = self._folder / f"{name}.log"
        self._processes.append(
            Process(
                [str(launcher), f"org.apache.spark.deploy.{program}", *arguments],
                environment=self._environment,
                folder=self._folder,
                stdout=log,
                stderr=log,
                stop_seconds=self._settings.stop_seconds,
            )
        )
        return log

    def _wait_for(self, line: re.Pattern[str], log: Path, deadline: float) -> str:
        """Waits for a line in the log; returns its group, or all of it."""
        while True:
            ended = not all(process.running for process in self._processes)
            found = line.search(log.read_text(errors="replace"))
            if found:
                return found[1] if found.groups() else found[0]
            if ended or time.monotonic() > deadline:
                reason = "has ended" if ended else "takes too long (LOCAL_EMR_SPARK_SECONDS)"
                raise SparkError(f"Spark does not start: a process {reason}; see {log}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stops both and the executors, and waits until they have ended."""
        for process in self._processes:
            process.stop()
        for process in self._processes:
            process.wait()
