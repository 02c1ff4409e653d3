"""The environment variables of the project: which there are, and which of them configure what.

``SUPERRES_<SECTION>__<KEY>`` overrides a key of the configuration. All others are in ``OTHERS``.
"""

import logging
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache

from superres.errors import ConfigError

PREFIX = "SUPERRES_"

_SECRETS = (
    "SUPERRES_KAFKA_PASSWORD",
    "SUPERRES_KAFKA_USERNAME",
    "SUPERRES_NOTIFIER_READ_TOKEN",
    "SUPERRES_NOTIFIER_TOKEN",
    "SUPERRES_UPLOAD_TOKEN",
)
_FOLDERS = ("SUPERRES_DATASETS", "SUPERRES_LOCAL_DIR", "SUPERRES_TERRAFORM_DIR")
# Of infra/services/install.sh and bootstrap/, which start commands of ours.
_INSTALLATION = (
    "SUPERRES_CGROUP",
    "SUPERRES_CONFIG",
    "SUPERRES_CONFIG_SHA256",
    "SUPERRES_GPU",
    "SUPERRES_LOG_GROUP",
    "SUPERRES_MNT",
    "SUPERRES_PYTHON",
    "SUPERRES_ROOT",
    "SUPERRES_SECRETS",
    "SUPERRES_UNITS",
    "SUPERRES_WHEEL",
    "SUPERRES_WHEELHOUSE",
    "SUPERRES_WHEELHOUSE_SHA256",
    "SUPERRES_WHEEL_SHA256",
)
OTHERS = frozenset({*_SECRETS, *_FOLDERS, *_INSTALLATION})
"""The variables that are ours and configure no key."""

_log = logging.getLogger(__name__)


def variable_of(section: str, key: str) -> str:
    """The variable that overrides a key."""
    return f"{PREFIX}{section}__{key}".upper()


def overriding(
    environment: Mapping[str, str], known: Iterable[str]
) -> dict[str, tuple[str, str, str]]:
    """The variables that override keys: section, key and text of each, by name.

    Args:
        environment: all variables.
        known: the names of ``variable_of`` for every key there is.

    Raises:
        ConfigError: a variable begins like ours, is none, and is likely to mean one of them.
            Where it is unlikely to mean any, a warning is logged, once in a process.
    """
    found: dict[str, tuple[str, str, str]] = {}
    for name, text in sorted(environment.items()):
        section, separator, key = name.removeprefix(PREFIX).lower().partition("__")
        if name.startswith(PREFIX) and separator:
            found[name] = section, key, text
        elif name.upper().startswith(PREFIX) and name not in OTHERS:
            _report(name, [*known, *OTHERS])
    return found


def likely_meant(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that a wrong one was probably meant to be."""
    found = get_close_matches(name, list(allowed), n=1, cutoff=0.75)
    return found[0] if found else None


def _report(name: str, known: list[str]) -> None:
    # Without what all have in common, which would make any two alike.
    meant = likely_meant(
        name.upper().removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known]
    )
    if meant is not None:
        raise ConfigError(f"{name}: no such variable; did you mean {PREFIX}{meant}?")
    _warn(name)


@cache
def _warn(name: str) -> None:
    _log.warning("superres: %s: no such variable, so it has no effect; remove it", name)
