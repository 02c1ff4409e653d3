"""Turns a spark-submit meant for EMR's YARN into one for a standalone master on this machine.

This is the one place where a step that runs here differs from the same step on EMR:

- the driver runs here (deploy mode client), under the cluster's own master;
- what only YARN knows is left out; the environment of its application master becomes the driver's;
- paths below ``/mnt`` lie in the folder that stands for it;
- executors ask for no more cores and memory than the one worker has, or they would never come.

``s3://`` stays as it is: Spark's defaults here (``spark.py``) have S3A answer to it, as on EMR.
Only the application file itself is fetched first.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Of spark-submit's options, these take no value.
_FLAGS = {"--supervise", "--verbose", "-v", "--help", "-h", "--version", "--usage-error"}
_CONF = {"--conf", "-c"}
# Options that only choose where an application runs, or that only YARN understands.
_DROPPED = {"--master", "--deploy-mode", "--queue", "--principal", "--keytab", "--supervise"}
_DROPPED_CONF = {"spark.master", "spark.submit.deployMode"}
# Options that are another name for a configuration; as one they can be capped below.
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
    """A command line that cannot run here: why, in one line."""


@dataclass(frozen=True)
class Place:
    """What runs applications: a master with one worker, and the folder that stands for ``/mnt``."""

    master: str
    mount: Path
    cores: int
    memory: int  # MiB


@dataclass(frozen=True)
class Submission:
    """A spark-submit for this machine.

    Args:
        options: What stands before the application.
        application: Its file, which may still lie in S3.
        arguments: What stands after it, as it was given.
        environment: What the driver finds in its environment beside the node's.
    """

    options: tuple[str, ...]
    application: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def adapt(arguments: Sequence[str], place: Place) -> Submission:
    """Reads the arguments of a spark-submit and turns them into what runs on ``place``.

    Raises:
        SubmitError: There is no application, an option lacks its value, or it asks for a resource
            (a GPU) that the worker does not have.
    """
    options, conf, rest = _read(arguments)
    if not rest:
        raise SubmitError("spark-submit: no application file or jar is named")
    environment = {
        key.removeprefix(_MASTER_ENVIRONMENT): _mounted(value, place.mount)
        for key, value in conf.items()
        if key.startswith(_MASTER_ENVIRONMENT)
    }
    kept = {
        key: _mounted(value, place.mount)
        for key, value in conf.items()
        if not key.startswith("spark.yarn.") and key not in _DROPPED_CONF
    }
    given = ["--master", place.master, "--deploy-mode", "client"]
    for name, text in options:
        given += [name] if text is None else [name, _mounted(text, place.mount)]
    for key, text in _fitted(kept, place).items():
        given += ["--conf", f"{key}={text}"]
    return Submission(tuple(given), _mounted(rest[0], place.mount), tuple(rest[1:]), environment)


def _read(
    arguments: Sequence[str],
) -> tuple[list[tuple[str, str | None]], dict[str, str], list[str]]:
    """Options that are kept, configuration, and what begins with the application."""
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
    """The text with each path below /mnt led to the folder that stands for it."""
    return re.sub(r"(?<![\w./-])/mnt(?=/|$)", str(mount), text)


def _fitted(conf: Mapping[str, str], place: Place) -> dict[str, str]:
    """The configuration, with no executor larger than the worker."""
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
    return dict(conf) | dict(_caps(conf, place))


def _caps(conf: Mapping[str, str], place: Place) -> Iterator[tuple[str, str]]:
    cores = place.cores
    if "spark.executor.cores" in conf:
        cores = min(_whole(conf, "spark.executor.cores"), place.cores)
        yield "spark.executor.cores", str(cores)
    if "spark.executor.memory" in conf:
        memory = _mebibytes(conf["spark.executor.memory"])
        yield "spark.executor.memory", f"{min(memory, place.memory)}m"
    # A standalone master gives an application all it has; YARN gives what was asked for.
    fixed = conf.get("spark.dynamicAllocation.enabled", "false") != "true"
    if "spark.executor.instances" in conf and "spark.cores.max" not in conf and fixed:
        most = _whole(conf, "spark.executor.instances") * cores
        yield "spark.cores.max", str(max(cores, min(most, place.cores)))


def _whole(conf: Mapping[str, str], key: str) -> int:
    if not conf[key].isdecimal() or int(conf[key]) < 1:
        raise SubmitError(f"spark-submit: {key} is {conf[key]!r}; it must be a whole number from 1")
    return int(conf[key])


def _mebibytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([kmgt]?)b?", text.strip().lower())
    if match is None:
        raise SubmitError(f"spark-submit: {text!r} is no amount of memory such as 1536m or 4g")
    return max(1, round(int(match[1]) * _UNITS[match[2]]))
