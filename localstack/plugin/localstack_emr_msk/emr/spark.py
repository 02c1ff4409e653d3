"""A Spark master and worker of a cluster, and the configuration that its applications find."""

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
    """Spark is not there or does not come up: what, where and the remedy."""


def spark_home(settings: Settings) -> Path:
    """The Spark installation; raises ``SparkError`` when there is none."""
    if settings.spark_home is None:
        raise SparkError(
            "no Spark is named; set LOCAL_EMR_SPARK_HOME to one, such as the folder of pyspark"
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
    """What spark-defaults.conf says: this machine's needs, then the cluster's configurations.

    On EMR s3:// is served by S3A; here it is too, with this LocalStack as its endpoint. Keys come
    from the environment of the processes. A JVM that is killed leaves what it had in ``scratch``.
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


def written(conf: Mapping[str, str]) -> str:
    """The content of spark-defaults.conf."""
    return "".join(f"{key} {value}\n" for key, value in conf.items())


class StandaloneSpark:
    """A master and a worker, on ports that the system chooses.

    Args:
        settings: This machine's.
        folder: Logs and scratch space of Spark go there.
        environment: What the processes, and executors after them, find in their environment.
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
        """Starts both and waits until the worker is known to the master; raises ``SparkError``."""
        deadline = time.monotonic() + self._settings.spark_seconds
        pages = ["--host", _HOST, "--webui-port", "0"]
        log = self._run("master", "master.Master", [*pages, "--port", "0"])
        self.master = self._wait_for(_MASTER, log, deadline)
        offered = ["--cores", str(self._settings.worker_cores)]
        offered += ["--memory", f"{self._settings.worker_memory}m"]
        offered += ["--work-dir", str(self._folder / "work")]
        log = self._run("worker", "worker.Worker", [*pages, *offered, self.master])
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
        """The group of the line, or the line, once it stands in the log."""
        while True:
            gone = not all(process.running for process in self._processes)
            found = line.search(log.read_text(errors="replace"))
            if found:
                return found[1] if found.groups() else found[0]
            if gone or time.monotonic() > deadline:
                why = "has ended" if gone else "takes too long (LOCAL_EMR_SPARK_SECONDS)"
                raise SparkError(f"Spark does not come up: a process {why}; see {log}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends both, and the executors; waits until they are gone."""
        for process in self._processes:
            process.stop()
        for process in self._processes:
            process.wait()
