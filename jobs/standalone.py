"""A standalone Spark master and worker on this machine, started and stopped with a block.

The pip package of Spark has no start scripts, so the two Java classes are started directly.
"""

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyspark

from jobs.session import jars_folder
from superres.errors import PrerequisiteError

_READY_WITHIN = 90.0  # seconds; about 15 on two idle cores
_HOST = "127.0.0.1"
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

    Logs and work files go to ``folder``. Raises ``PrerequisiteError`` when they do not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    master_port, ui_port, worker_ui_port = _free_ports(3)
    url = f"spark://{_HOST}:{master_port}"
    class_path, archive = _archived_classes()
    environment = os.environ | {
        "SPARK_LOCAL_IP": _HOST,
        "SPARK_LOG_DIR": str(folder),
        "SPARK_DAEMON_CLASSPATH": class_path,
        "SPARK_DAEMON_JAVA_OPTS": f"{_DRIVER_JAVA} {archive}",
    }
    gpu = _gpu_options(resources)
    environment["SPARK_WORKER_OPTS"] = " ".join(f"-D{key}={value}" for key, value in gpu.items())
    processes: list[subprocess.Popen[bytes]] = []
    try:
        master = ["master.Master", "--port", str(master_port), "--webui-port", str(ui_port)]
        processes.append(_start([*master, "--host", _HOST], folder / "master.log", environment))
        worker = ["worker.Worker", url, "--host", _HOST, "--webui-port", str(worker_ui_port)]
        worker += ["--cores", str(resources.cores), "--memory", f"{resources.memory_mib}m"]
        worker += ["--work-dir", str(folder / "work")]
        processes.append(_start(worker, folder / "worker.log", environment))
        _await_worker(ui_port, processes, folder)
        yield url
    finally:
        for process in reversed(processes):
            _end(process)


def _gpu_options(resources: Resources) -> dict[str, str]:
    if resources.gpu_discovery_script is None:
        return {}
    return {
        "spark.worker.resource.gpu.amount": "1",
        "spark.worker.resource.gpu.discoveryScript": str(resources.gpu_discovery_script),
    }


def _start(arguments: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    home = Path(pyspark.__file__).parent
    command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{arguments[0]}"]
    # In a session of its own: Ctrl-C reaches only us, and we stop it in order.
    with log.open("wb") as stream:
        return subprocess.Popen(
            [*command, *arguments[1:]],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment | {"SPARK_HOME": str(home), "SPARK_DAEMON_MEMORY": "512m"},
            start_new_session=True,
        )


def _await_worker(ui_port: int, processes: list[subprocess.Popen[bytes]], folder: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    address = f"http://{_HOST}:{ui_port}/json/"
    while time.monotonic() < deadline:
        if any(process.poll() is not None for process in processes):
            break
        with suppress(OSError, ValueError), urllib.request.urlopen(address, timeout=2) as answer:
            if json.load(answer)["aliveworkers"] >= 1:
                return
        time.sleep(0.2)
    raise PrerequisiteError(
        f"Spark's master or worker did not start; see {folder}/master.log and worker.log, "
        "and `make doctor` for Java, memory and ports"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for opened in sockets:
            opened.bind((_HOST, 0))
        return [int(opened.getsockname()[1]) for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()
