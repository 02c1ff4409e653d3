"""Adapts a spark-submit for EMR's YARN to a standalone master on this machine.

Only this module makes a step differ from the same step on EMR:

- the driver runs here (deploy mode client), with the cluster's own master;
- options of YARN are dropped; the environment of its application master becomes the driver's;
- paths below ``/mnt`` are moved into the folder that replaces it;
- executors get no more cores and memory than the worker has, or they would never start.

``s3://`` stays: as on EMR, S3A serves it (``spark.py``). Only the application file is downloaded.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Options of spark-submit without a value.
_FLAGS = {"--supervise", "--verbose", "-v", "--help", "-h", "--version", "--usage-error"}
_CONF = {"--conf", "-c"}
# Options that choose where an application runs, or that only YARN has.
_DROPPED = {"--master", "--deploy-mode", "--queue", "--principal", "--keytab", "--supervise"}
_DROPPED_CONF = {"spark.master", "spark.submit.deployMode"}
# Options that set a configuration key; as keys they can be capped below.
_NAMES = {
    "--driver-memory": "spark.driver.memory",
    "--executor-memory": "spark.executor.memory",
    "--executor-cores": "spark.executor.cores",
    "--num-executors": "spark.executor.instances",
    "--total-executor-cores": "spark.cores.max",
}
_MASTER_ENVIRONMENT = "spark.yarn.appMasterEnv."
_UNITS = {"": 1, "k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024}


class SubmitError(Exception):
    """A command line that cannot run here; the message is one line."""


@dataclass(frozen=True)
class Target:
    """A master with one worker, and the folder that replaces ``/mnt``."""

    master: str
    mount: Path
    cores: int
    memory: int  # MiB


@dataclass(frozen=True)
class Submission:
    """A spark-submit for this machine.

    Args:
        options: Options before the application.
        application: The application file, which may be in S3.
        arguments: Arguments of the application, unchanged.
        environment: Additional environment variables of the driver.
    """

    options: tuple[str, ...]
    application: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def adapt(arguments: Sequence[str], target: Target) -> Submission:
    """Adapts the arguments of a spark-submit to ``target``.

    Raises:
        SubmitError: There is no application, an option lacks its value, or it asks for a resource
            (a GPU) that the worker does not have.
    """
    options, conf, rest = _read(arguments)
    if not rest:
        raise SubmitError("spark-submit: the application file or jar is missing")
    environment = {
        key.removeprefix(_MASTER_ENVIRONMENT): _mounted(value, target.mount)
        for key, value in conf.items()
        if key.startswith(_MASTER_ENVIRONMENT)
    }
    kept = {
        key: _mounted(value, target.mount)
        for key, value in conf.items()
        if not key.startswith("spark.yarn.") and key not in _DROPPED_CONF
    }
    given = ["--master", target.master, "--deploy-mode", "client"]
    for name, text in options:
        given += [name] if text is None else [name, _mounted(text, target.mount)]
    for key, text in _fitted(kept, target).items():
        given += ["--conf", f"{key}={text}"]
    return Submission(tuple(given), _mounted(rest[0], target.mount), tuple(rest[1:]), environment)


def _read(
    arguments: Sequence[str],
) -> tuple[list[tuple[str, str | None]], dict[str, str], list[str]]:
    """Returns kept options, configuration, and the application with its arguments."""
    options: list[tuple[str, str | None]] = []
    conf: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if name in _FLAGS:
            if name not in _DROPPED:
                options.append((name, None))
            continue
        if not equals:
            if not rest:
                raise SubmitError(f"spark-submit: {name} needs a value")
            value = rest.pop(0)
        if name in _CONF:
            key, equals, text = value.partition("=")
            if not equals:
                raise SubmitError(f"spark-submit: {name} {value} has no '='")
            conf[key] = text
        elif name in _NAMES:
            conf[_NAMES[name]] = value
        elif name not in _DROPPED:
            options.append((name, value))
    return options, conf, rest


def _mounted(text: str, mount: Path) -> str:
    """Replaces /mnt in each path of a text."""
    return re.sub(r"(?<![\w./-])/mnt(?=/|$)", str(mount), text)


def _fitted(conf: Mapping[str, str], target: Target) -> dict[str, str]:
    """Returns the configuration with executors no larger than the worker."""
    wanted = sorted(
        match[1]
        for key, value in conf.items()
        if (match := re.fullmatch(r"spark\.executor\.resource\.(\w+)\.amount", key))
        and value != "0"
    )
    if wanted:
        raise SubmitError(
            f"spark-submit: executors ask for {', '.join(wanted)}, and the worker of this machine "
            "offers none; leave out spark.executor.resource.* here"
        )
    return dict(conf) | dict(_caps(conf, target))


def _caps(conf: Mapping[str, str], target: Target) -> Iterator[tuple[str, str]]:
    cores = target.cores
    if "spark.executor.cores" in conf:
        cores = min(_whole(conf, "spark.executor.cores"), target.cores)
        yield "spark.executor.cores", str(cores)
    if "spark.executor.memory" in conf:
        memory = _mebibytes(conf["spark.executor.memory"])
        yield "spark.executor.memory", f"{min(memory, target.memory)}m"
    # A standalone master gives an application all cores; YARN only those requested.
    fixed = conf.get("spark.dynamicAllocation.enabled", "false") != "true"
    if "spark.executor.instances" in conf and "spark.cores.max" not in conf and fixed:
        most = _whole(conf, "spark.executor.instances") * cores
        yield "spark.cores.max", str(max(cores, min(most, target.cores)))


def _whole(conf: Mapping[str, str], key: str) -> int:
    if not conf[key].isdecimal() or int(conf[key]) < 1:
        raise SubmitError(f"spark-submit: {key} is {conf[key]!r}; it must be a whole number from 1")
    return int(conf[key])


def _mebibytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([kmgt]?)b?", text.strip().lower())
    if match is None:
        raise SubmitError(f"spark-submit: {text!r} is not a memory size such as 1536m or 4g")
    return max(1, round(int(match[1]) * _UNITS[match[2]]))
