"""The environment variables of the project: which there are, and which of them configure what.

``SUPERRES_<SECTION>__<KEY>`` overrides a key of the configuration. All others are in ``OTHERS``.
"""

import logging
import re
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
# Kubernetes describes every Service to every container so; one may be called superres-notifier.
_OF_A_SERVICE = re.compile(r"\w+_SERVICE_(HOST|PORT\w*)|\w+_PORT_\d+_(TCP|UDP|SCTP)\w*")
_PORT_OF_A_SERVICE = re.compile(r"(tcp|udp|sctp)://")

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
        ConfigError: a variable is one of ours but for its underscores and case. Where one only
            begins like ours, a warning is logged, once in a process.
    """
    found: dict[str, tuple[str, str, str]] = {}
    for name, text in sorted(environment.items()):
        section, separator, key = name.removeprefix(PREFIX).lower().partition("__")
        if name.startswith(PREFIX) and separator:
            found[name] = section, key, text
        elif (
            name.upper().startswith(PREFIX)
            and name not in OTHERS
            and not _describes_a_service(name, text)
        ):
            _report(name, [*known, *sorted(OTHERS)])
    return found


def likely_meant(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that a wrong one was probably meant to be."""
    found = get_close_matches(name, list(allowed), n=1, cutoff=0.75)
    return found[0] if found else None


def _describes_a_service(name: str, text: str) -> bool:
    if name.endswith("_PORT") and _PORT_OF_A_SERVICE.match(text):
        return True
    return _OF_A_SERVICE.fullmatch(name) is not None


def _report(name: str, known: list[str]) -> None:
    spelled = _folded(name)
    for each in known:
        if _folded(each) == spelled:
            raise ConfigError(f"{name}: no such variable; did you mean {each}?")
    spellings: dict[str, list[str]] = {}
    for each in known:
        for part in {each, each.rpartition("__")[2]}:  # the whole name, and the key alone
            spellings.setdefault(_folded(part), []).append(each)
    of_a_file = spelled.removesuffix("file")  # as some programs read a secret
    meant = likely_meant(of_a_file if of_a_file in spellings else spelled, spellings)
    _warn(name, " or ".join(spellings[meant]) if meant else "")


def _folded(name: str) -> str:
    """A name without what all have in common, case and underscores."""
    return name.upper().removeprefix(PREFIX).replace("_", "").lower()


@cache
def _warn(name: str, meant: str) -> None:
    remedy = f"did you mean {meant}?" if meant else "remove it"
    _log.warning("superres: %s: no such variable, so it has no effect; %s", name, remedy)
