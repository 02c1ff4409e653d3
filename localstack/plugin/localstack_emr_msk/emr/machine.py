"""The machine of a cluster: its folder, its environment, and what runs there.

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
from localstack_emr_msk.emr import spark, submit
from localstack_emr_msk.emr.processes import Process
from localstack_emr_msk.node import aws
from localstack_emr_msk.objects import ObjectError, Objects, is_s3
from localstack_emr_msk.settings import Settings

# What processes may know of the environment that LocalStack was started in.
_PASSED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "JAVA_HOME")

_LAST_LINES = 40  # of a driver that failed


class MachineError(Exception):
    """What was asked for cannot be done here: why, in one line."""


class Task(Protocol):
    """Something that runs."""

    def wait(self) -> int:
        """The exit status, once it has ended."""
        ...

    def stop(self) -> None:
        """Begins to end it."""
        ...


class Machine(Protocol):
    """What a cluster needs of the machine it runs on."""

    def bootstrap(self, number: int, script: str, arguments: Sequence[str]) -> Task:
        """Begins a bootstrap action; raises ``MachineError``."""
        ...

    def start_applications(self) -> None:
        """Brings up Spark where the cluster asks for it; raises ``MachineError``."""
        ...

    def step(self, step: str, jar: str, arguments: Sequence[str]) -> Task:
        """Begins a step; raises ``MachineError``."""
        ...

    def failure(self, logs: str) -> str:
        """What something that failed said last."""
        ...

    def note(self, logs: str, text: str) -> None:
        """Puts a line into a standard error, of something that could not begin."""
        ...

    def ship(self, logs: str) -> str | None:
        """Copies logs to where the cluster wants them; the address of their folder."""
        ...

    def stop(self) -> None:
        """Ends all that runs and waits for it."""
        ...


@dataclass(frozen=True)
class Identity:
    """Of which cluster the machine is, and what that one wants."""

    cluster: str
    primary: str  # its instance
    caller: Caller
    log_uri: str | None
    applications: frozenset[str]
    configurations: tuple[Mapping[str, Any], ...]


class LocalMachine:
    """This machine."""

    def __init__(self, settings: Settings, identity: Identity, objects: Objects) -> None:
        self._settings = settings
        self._identity = identity
        self._objects = objects
        self._folder = settings.folder / identity.cluster
        self._spark: spark.StandaloneSpark | None = None
        self._drivers: set[str] = set()  # logs of steps that are one

    # ---- what a cluster asks for

    def bootstrap(self, number: int, script: str, arguments: Sequence[str]) -> Process:
        """Fetches a script and begins it, as user of this machine."""
        logs = bootstrap_logs(self._identity.primary, number)
        file = self._fetch(script, self._folder / "bootstrap-actions" / str(number))
        file.chmod(0o755)
        # Without a #! line the shell that EMR's agent runs it with takes it for one of its own.
        command = [str(file)] if file.read_bytes().startswith(b"#!") else ["bash", str(file)]
        return self._run([*command, *arguments], logs)

    def start_applications(self) -> None:
        """Brings up a Spark master and worker if Spark is among the applications."""
        if "spark" not in self._identity.applications:
            return
        scratch = self._folder / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        identity = self._identity
        conf = spark.defaults(
            self._settings, identity.caller.region, scratch, identity.configurations
        )
        self._defaults.write_text(spark.written(conf))
        folder = self._folder / "spark"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            environment = self._environment() | self._without_conf
            self._spark = spark.StandaloneSpark(self._settings, folder, environment)
            self._spark.start()
        except spark.SparkError as error:
            raise MachineError(str(error)) from None

    def step(self, step: str, jar: str, arguments: Sequence[str]) -> Process:
        """Begins a step: command-runner.jar or script-runner.jar."""
        logs, name = step_logs(step), jar.rpartition("/")[2]
        if name not in ("command-runner.jar", "script-runner.jar"):
            raise MachineError(
                f"{jar} cannot run here; only command-runner.jar and script-runner.jar can"
            )
        if not arguments:
            raise MachineError(f"{name} needs arguments: what to run")
        if name == "script-runner.jar":
            file = self._fetch(arguments[0], self._folder / "steps" / step)
            return self._run(["bash", str(file), *arguments[1:]], logs)
        if arguments[0] == "spark-submit":
            return self._submit(step, arguments[1:], logs)
        return self._run(list(arguments), logs)

    def failure(self, logs: str) -> str:
        """What something that failed said last, which its standard error then ends with.

        Spark passes on all that a Python driver says as standard output.
        """
        said = self._said(logs, "stdout") if logs in self._drivers else []
        if said:
            self.note(logs, "\n".join(["The driver said last:", *said[-_LAST_LINES:]]))
        return next(iter((said or self._said(logs, "stderr"))[-1:]), "")[:1000]

    def _said(self, logs: str, name: str) -> list[str]:
        file = self._log(logs, name)
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        return [line.rstrip() for line in lines if line.strip()]

    def note(self, logs: str, text: str) -> None:
        """Puts a line into a standard error."""
        file = self._log(logs, "stderr")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as stream:
            stream.write(text + "\n")

    def ship(self, logs: str) -> str | None:
        """Copies logs, compressed; one that cannot be copied fails nothing, as on EMR."""
        if not self._identity.log_uri:
            return None
        base = f"{self._identity.log_uri.rstrip('/')}/{self._identity.cluster}/{logs}"
        for file in sorted((self._folder / "logs" / logs).glob("*")):
            try:
                self._objects.write(f"{base}/{file.name}.gz", gzip.compress(file.read_bytes()))
            except ObjectError as error:
                self.note("agent", str(error))
                return None
        return base

    def stop(self) -> None:
        """Ends Spark, and removes what only running steps needed. Logs stay."""
        if self._spark is not None:
            self._spark.stop()
            self._spark = None
        for name in ("local", "tmp", "spark/work", "home"):
            shutil.rmtree(self._folder / name, ignore_errors=True)

    # ---- how it is done

    def _submit(self, step: str, arguments: Sequence[str], logs: str) -> Process:
        if self._spark is None:
            raise MachineError("spark-submit: Spark is not among this cluster's applications")
        place = submit.Place(
            self._spark.master,
            self._settings.mount,
            self._settings.worker_cores,
            self._settings.worker_memory,
        )
        try:
            adapted = submit.adapt(arguments, place)
        except submit.SubmitError as error:
            raise MachineError(str(error)) from None
        application = adapted.application
        if is_s3(application):
            application = str(self._fetch(application, self._folder / "steps" / step))
        program = spark.spark_home(self._settings) / "bin" / "spark-submit"
        options = ["--properties-file", str(self._defaults), *adapted.options]
        command = [str(program), *options, application, *adapted.arguments]
        self._drivers.add(logs)
        return self._run(command, logs, self._without_conf | dict(adapted.environment))

    def _run(
        self, command: Sequence[str], logs: str, more: Mapping[str, str] | None = None
    ) -> Process:
        home = self._folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        controller = self._log(logs, "controller")
        controller.parent.mkdir(parents=True, exist_ok=True)
        controller.write_text(f"{now():%Y-%m-%dT%H:%M:%SZ} INFO {shlex.join(command)}\n")
        return Process(
            command,
            environment=self._environment() | dict(more or {}),
            folder=home,
            stdout=self._log(logs, "stdout"),
            stderr=self._log(logs, "stderr"),
            stop_seconds=self._settings.stop_seconds,
        )

    def _log(self, logs: str, name: str) -> Path:
        return self._folder / "logs" / logs / name

    def _fetch(self, uri: str, folder: Path) -> Path:
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
        """For a JVM whose configuration is given to it in another way.

        Spark has that folder in its class path, and a JVM uses no archive of classes
        (-XX:SharedArchiveFile) while the path has a folder in which something lies.
        """
        return {"SPARK_CONF_DIR": str(self._folder / "no-conf")}

    def _environment(self) -> dict[str, str]:
        """What everything on this machine finds in its environment."""
        self._settings.mount.mkdir(parents=True, exist_ok=True)
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        known = {
            "AWS_ENDPOINT_URL": self._settings.endpoint,
            "AWS_REGION": self._identity.caller.region,
            "AWS_DEFAULT_REGION": self._identity.caller.region,
            "AWS_ACCESS_KEY_ID": self._identity.caller.account,
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_EC2_METADATA_DISABLED": "true",
            "EMR_CLUSTER_ID": self._identity.cluster,
            "SPARK_CONF_DIR": str(self._conf_folder),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self._folder / "local"),
        }
        if self._settings.spark_home is not None:
            known["SPARK_HOME"] = str(self._settings.spark_home)
        if not _has_aws():
            passed["PATH"] = f"{self._stand_ins()}:{passed.get('PATH', os.defpath)}"
        return passed | known | dict(self._settings.node_environment)

    def _stand_ins(self) -> Path:
        """A folder with a program aws."""
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
    """Where the logs of a bootstrap action lie below those of the cluster."""
    return f"node/{instance}/bootstrap-actions/{number}"


def step_logs(step: str) -> str:
    """Where the logs of a step lie below those of the cluster."""
    return f"steps/{step}"


def applications_of(names: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The names of a request's applications, as they are compared."""
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
