"""The machine of a cluster: its folder, its environment and its processes.

All nodes of a cluster are this one machine, so bootstrap actions run once.
"""

import gzip
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from localstack_emr_msk.calls import Caller, now
from localstack_emr_msk.credentials import CREDENTIALS_VARIABLE
from localstack_emr_msk.emr import spark, submit
from localstack_emr_msk.emr.processes import Process
from localstack_emr_msk.node import aws
from localstack_emr_msk.objects import ObjectError, Objects, is_s3
from localstack_emr_msk.settings import Settings

# Environment variables of LocalStack that processes inherit.
_INHERITED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "JAVA_HOME")

_LAST_LINES = 40  # of a driver that failed


class MachineError(Exception):
    """Something that this machine cannot do; the message is one line."""


class Task(Protocol):
    """A running process."""

    def wait(self) -> int:
        """Waits for its end and returns the exit status."""
        ...

    def stop(self) -> None:
        """Starts to end it."""
        ...


class Machine(Protocol):
    """What a cluster needs from its machine."""

    def bootstrap(self, number: int, script: str, arguments: Sequence[str]) -> Task:
        """Starts a bootstrap action; raises ``MachineError``."""
        ...

    def start_applications(self) -> None:
        """Starts Spark if the cluster has it; raises ``MachineError``."""
        ...

    def step(self, step: str, jar: str, arguments: Sequence[str]) -> Task:
        """Starts a step; raises ``MachineError``."""
        ...

    def failure(self, logs: str) -> str:
        """Returns the last line of something that failed."""
        ...

    def append_error(self, logs: str, text: str) -> None:
        """Appends text to the standard error log, such as why something could not start."""
        ...

    def copy_logs(self, logs: str) -> str | None:
        """Copies logs to the cluster's log URI; returns the URI of their folder."""
        ...

    def stop(self) -> None:
        """Stops everything and waits for its end."""
        ...


@dataclass(frozen=True)
class Identity:
    """The cluster to which the machine belongs, and its settings.

    ``credentials`` is the address from which its processes get those of its instance profile.
    """

    cluster: str
    primary: str  # instance id
    caller: Caller
    log_uri: str | None
    applications: frozenset[str]
    configurations: tuple[Mapping[str, Any], ...]
    credentials: str


class LocalMachine:
    """This machine."""

    def __init__(self, settings: Settings, identity: Identity, objects: Objects) -> None:
        self._settings = settings
        self._identity = identity
        self._objects = objects
        self._folder = settings.folder / identity.cluster
        self._spark: spark.StandaloneSpark | None = None
        self._drivers: set[str] = set()  # logs of steps that run a driver

    # ---- operations

    def bootstrap(self, number: int, script: str, arguments: Sequence[str]) -> Process:
        """Downloads a script and starts it, as the current user."""
        logs = bootstrap_logs(self._identity.primary, number)
        file = self._download(script, self._folder / "bootstrap-actions" / str(number))
        file.chmod(0o755)
        # Without a #! line, EMR's agent runs the script in its shell.
        command = [str(file)] if file.read_bytes().startswith(b"#!") else ["bash", str(file)]
        return self._run([*command, *arguments], logs)

    def start_applications(self) -> None:
        """Starts a Spark master and worker if Spark is among the applications."""
        if "spark" not in self._identity.applications:
            return
        scratch = self._folder / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        identity = self._identity
        conf = spark.defaults(
            self._settings, identity.caller.region, scratch, identity.configurations
        )
        self._defaults.write_text(spark.properties_file(conf))
        folder = self._folder / "spark"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            environment = self._environment() | self._without_conf
            self._spark = spark.StandaloneSpark(self._settings, folder, environment)
            self._spark.start()
        except spark.SparkError as error:
            raise MachineError(str(error)) from None

    def step(self, step: str, jar: str, arguments: Sequence[str]) -> Process:
        """Starts a step: command-runner.jar or script-runner.jar."""
        logs, name = step_logs(step), jar.rpartition("/")[2]
        if name not in ("command-runner.jar", "script-runner.jar"):
            raise MachineError(
                f"{jar} cannot run here; only command-runner.jar and script-runner.jar can"
            )
        if not arguments:
            raise MachineError(f"{name} needs arguments: what to run")
        if name == "script-runner.jar":
            file = self._download(arguments[0], self._folder / "steps" / step)
            return self._run(["bash", str(file), *arguments[1:]], logs)
        if arguments[0] == "spark-submit":
            return self._submit(step, arguments[1:], logs)
        return self._run(list(arguments), logs)

    def failure(self, logs: str) -> str:
        """Returns the last line of something that failed, and appends a driver's to the log.

        Spark writes all output of a Python driver to standard output.
        """
        printed = self._lines(logs, "stdout") if logs in self._drivers else []
        if printed:
            self.append_error(
                logs, "\n".join(["Last output of the driver:", *printed[-_LAST_LINES:]])
            )
        return next(iter((printed or self._lines(logs, "stderr"))[-1:]), "")[:1000]

    def _lines(self, logs: str, name: str) -> list[str]:
        file = self._log(logs, name)
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        return [line.rstrip() for line in lines if line.strip()]

    def append_error(self, logs: str, text: str) -> None:
        """Appends text to a standard error log."""
        file = self._log(logs, "stderr")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as stream:
            stream.write(text + "\n")

    def copy_logs(self, logs: str) -> str | None:
        """Copies logs, compressed; a failure to copy is only logged, as on EMR."""
        if not self._identity.log_uri:
            return None
        base = f"{self._identity.log_uri.rstrip('/')}/{self._identity.cluster}/{logs}"
        for file in sorted((self._folder / "logs" / logs).glob("*")):
            try:
                self._objects.write(f"{base}/{file.name}.gz", gzip.compress(file.read_bytes()))
            except ObjectError as error:
                self.append_error("agent", str(error))
                return None
        return base

    def stop(self) -> None:
        """Stops Spark, and deletes what only running steps needed; logs stay."""
        if self._spark is not None:
            self._spark.stop()
            self._spark = None
        for name in ("local", "tmp", "spark/work", "home"):
            shutil.rmtree(self._folder / name, ignore_errors=True)

    # ---- processes and files

    def _submit(self, step: str, arguments: Sequence[str], logs: str) -> Process:
        if self._spark is None:
            raise MachineError("spark-submit: Spark is not among this cluster's applications")
        target = submit.Target(
            self._spark.master,
            self._settings.mount,
            self._settings.worker_cores,
            self._settings.worker_memory,
        )
        try:
            adapted = submit.adapt(arguments, target)
        except submit.SubmitError as error:
            raise MachineError(str(error)) from None
        application = adapted.application
        if is_s3(application):
            application = str(self._download(application, self._folder / "steps" / step))
        program = spark.spark_home(self._settings) / "bin" / "spark-submit"
        options = ["--properties-file", str(self._defaults), *adapted.options]
        command = [str(program), *options, application, *adapted.arguments]
        self._drivers.add(logs)
        return self._run(command, logs, self._without_conf | dict(adapted.environment))

    def _run(
        self, command: Sequence[str], logs: str, variables: Mapping[str, str] | None = None
    ) -> Process:
        home = self._folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        controller = self._log(logs, "controller")
        controller.parent.mkdir(parents=True, exist_ok=True)
        controller.write_text(f"{now():%Y-%m-%dT%H:%M:%SZ} INFO {shlex.join(command)}\n")
        return Process(
            command,
            environment=self._environment() | dict(variables or {}),
            folder=home,
            stdout=self._log(logs, "stdout"),
            stderr=self._log(logs, "stderr"),
            stop_seconds=self._settings.stop_seconds,
        )

    def _log(self, logs: str, name: str) -> Path:
        return self._folder / "logs" / logs / name

    def _download(self, uri: str, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / uri.rpartition("/")[2]
        try:
            target.write_bytes(self._objects.read(uri))
        except ObjectError as error:
            raise MachineError(str(error)) from None
        return target

    @property
    def _conf_folder(self) -> Path:
        folder = self._folder / "conf"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def _defaults(self) -> Path:
        return self._conf_folder / "spark-defaults.conf"

    @property
    def _without_conf(self) -> dict[str, str]:
        """Variables for a JVM that gets its configuration in another way.

        SPARK_CONF_DIR is in the class path, and a JVM ignores a class archive
        (-XX:SharedArchiveFile) if its path contains a folder that is not empty.
        """
        return {"SPARK_CONF_DIR": str(self._folder / "no-conf")}

    def _environment(self) -> dict[str, str]:
        """Returns the environment variables of every process."""
        self._settings.mount.mkdir(parents=True, exist_ok=True)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        own = {
            "AWS_ENDPOINT_URL": self._settings.endpoint,
            "AWS_REGION": self._identity.caller.region,
            "AWS_DEFAULT_REGION": self._identity.caller.region,
            CREDENTIALS_VARIABLE: self._identity.credentials,
            "AWS_EC2_METADATA_DISABLED": "true",
            "EMR_CLUSTER_ID": self._identity.cluster,
            "SPARK_CONF_DIR": str(self._conf_folder),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self._folder / "local"),
        }
        if self._settings.spark_home is not None:
            own["SPARK_HOME"] = str(self._settings.spark_home)
        if not _has_aws():
            inherited["PATH"] = f"{self._aws_folder()}:{inherited.get('PATH', os.defpath)}"
        return inherited | own | dict(self._settings.node_environment)

    def _aws_folder(self) -> Path:
        """Returns a folder with a replacement for the command aws."""
        folder = self._settings.folder / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        text = f'#!/bin/sh\nexec {shlex.join([sys.executable, "-I", aws.__file__])} "$@"\n'
        file = folder / "aws"
        if not file.exists() or file.read_text() != text:
            # Renamed into place: another cluster may be about to run it.
            fresh = folder / f"aws.{self._identity.cluster}"
            fresh.write_text(text)
            fresh.chmod(0o755)
            fresh.rename(file)
        return folder


def bootstrap_logs(instance: str, number: int) -> str:
    """Returns the folder of a bootstrap action's logs, below the cluster's."""
    return f"node/{instance}/bootstrap-actions/{number}"


def step_logs(step: str) -> str:
    """Returns the folder of a step's logs, below the cluster's."""
    return f"steps/{step}"


def applications_of(names: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Returns the lower-case names of a request's applications."""
    return frozenset(str(each.get("Name", "")).lower() for each in names)


_found: list[bool] = []


def _has_aws() -> bool:
    """Whether this machine has an AWS command line that runs; a version manager's shim may not."""
    if not _found:
        program = shutil.which("aws")
        try:
            _found.append(
                program is not None
                and subprocess.run(
                    [program, "--version"], capture_output=True, timeout=30
                ).returncode
                == 0
            )
        except (OSError, subprocess.TimeoutExpired):
            _found.append(False)
    return _found[0]
