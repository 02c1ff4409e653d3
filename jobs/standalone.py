"""A standalone Spark master and worker on this machine, started and stopped with a block.

The pip package of Spark has no start scripts, so the two Java classes are started directly. Both
end with this process, even if it is killed, and executors end with the worker.
"""

import json
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyspark

from jobs.session import jars_folder
from superres.errors import PrerequisiteError
from superres.pipeline.working_folder import clear_abandoned, working_folder
from superres.service.supervisor import Service, Supervisor, free_port

_READY_WITHIN = 90.0  # seconds; about 15 on two idle cores
_END_WITHIN = 10.0  # seconds
_HOST = "127.0.0.1"
_HOME = Path(pyspark.__file__).parent
EXECUTOR_MEMORY_MIB = 1536  # the heap alone; Python workers come on top
# Short jobs on one machine: the first-tier compiler and the serial collector start fastest.
# Executors hold arrays of megabytes, which G1 does not copy: a seventh less Java time.
_DRIVER_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_EXECUTOR_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseG1GC"
# Errors only: other log lines would tear the progress bars.
_QUIET_JAVA = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}"


@dataclass(frozen=True)
class Resources:
    """Cores, memory and GPU that the worker offers to executors."""

    cores: int
    memory_mib: int
    gpu_discovery_script: Path | None = None


def local_conf(master: str, executor_memory_mib: int = EXECUTOR_MEMORY_MIB) -> dict[str, str]:
    """Spark configuration for a session on this machine, for `jobs.session.get_session`."""
    class_path, archive = _archived_classes()
    class_paths = {
        "spark.driver.extraClassPath": class_path,
        "spark.executor.extraClassPath": class_path,
    }
    return (class_paths if class_path else {}) | {
        "spark.master": master,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": f"{_DRIVER_JAVA} {archive} {_QUIET_JAVA}",
        "spark.executor.extraJavaOptions": f"{_EXECUTOR_JAVA} {archive}",
        "spark.executor.memory": f"{executor_memory_mib}m",
    }


def _archived_classes() -> tuple[str, str]:
    """Class path and JVM option for the class archive of `make jars`; empty strings without one.

    A JVM starts in half the time with the archive, but only with the class path it was made for.
    """
    archive = jars_folder() / "spark.jsa"
    if not archive.is_file():
        return "", ""
    return f"{archive.parent}/*", f'"-XX:SharedArchiveFile={archive}" -Xlog:disable'


@contextmanager
def standalone_cluster(resources: Resources, folder: Path) -> Iterator[str]:
    """Starts a master and a worker and yields the master's URL; stops both when the block ends.

    Logs go to ``folder``; work files too, until the end, and those of a run that was killed until
    the next one starts. Raises ``PrerequisiteError`` when master or worker do not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clear_abandoned(folder)
    master_port, ui_port, worker_ui_port = (free_port() for _ in range(3))
    url = f"spark://{_HOST}:{master_port}"
    master = ["--port", str(master_port), "--webui-port", str(ui_port), "--host", _HOST]
    worker = [url, "--host", _HOST, "--webui-port", str(worker_ui_port)]
    worker += ["--cores", str(resources.cores), "--memory", f"{resources.memory_mib}m"]
    with working_folder(folder) as work, Supervisor(folder, _END_WITHIN) as cluster:
        environment = _environment(resources, folder, work)
        services = [
            cluster.start("master", _command("master.Master", master), environment),
            cluster.start(
                "worker",
                _command("worker.Worker", [*worker, "--work-dir", str(work / "work")]),
                environment,
            ),
        ]
        _await_worker(ui_port, services, folder)
        yield url


def _environment(resources: Resources, logs: Path, work: Path) -> dict[str, str]:
    class_path, archive = _archived_classes()
    gpu = _gpu_options(resources)
    return {
        "SPARK_HOME": str(_HOME),
        "SPARK_LOCAL_IP": _HOST,
        "SPARK_LOCAL_DIRS": str(work / "local"),
        "SPARK_LOG_DIR": str(logs),
        "SPARK_DAEMON_CLASSPATH": class_path,
        "SPARK_DAEMON_JAVA_OPTS": f"{_DRIVER_JAVA} {archive}",
        "SPARK_DAEMON_MEMORY": "512m",
        "SPARK_WORKER_OPTS": " ".join(f"-D{key}={value}" for key, value in gpu.items()),
    }


def _gpu_options(resources: Resources) -> dict[str, str]:
    if resources.gpu_discovery_script is None:
        return {}
    return {
        "spark.worker.resource.gpu.amount": "1",
        "spark.worker.resource.gpu.discoveryScript": str(resources.gpu_discovery_script),
    }


def _command(name: str, arguments: list[str]) -> list[str]:
    return [str(_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *arguments]


def _await_worker(ui_port: int, services: Sequence[Service], folder: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    address = f"http://{_HOST}:{ui_port}/json/"
    while time.monotonic() < deadline and all(service.running for service in services):
        with suppress(OSError, ValueError), urllib.request.urlopen(address, timeout=2) as answer:
            if json.load(answer)["aliveworkers"] >= 1:
                return
        time.sleep(0.2)
    raise PrerequisiteError(
        f"Spark's master or worker did not start; see {folder}/master.log and worker.log, "
        "and `make doctor` for Java, memory and ports"
    )
