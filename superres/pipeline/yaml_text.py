"""YAML that people write: a mistake becomes one line, and nothing is guessed."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from superres.errors import ConfigError


def parse_yaml(text: str | bytes, origin: str) -> Any:
    """The content of YAML, or of JSON, which is YAML.

    Args:
        text: the whole document.
        origin: how the error calls it, such as the name of the file.

    Raises:
        ConfigError: it is no YAML, or has a key twice, of which the last would win.
    """
    try:
        return yaml.load(text, _Loader)
    except _KeyGivenTwiceError as error:
        raise ConfigError(f"{origin}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date, for one
        raise ConfigError(
            f"{origin}: not valid YAML ({_reason(error)}); compare config.yaml"
        ) from None


class _KeyGivenTwiceError(Exception):
    """A mapping has a key twice; the message says where."""


def _reason(error: Exception) -> str:
    """Without the quoted line, which may have the password of a database."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem}, line {mark.line + 1}, column {mark.column + 1}"
    return " ".join(str(error).split())


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        # Before keys of "<<" come in, which those of the mapping itself are meant to override.
        lines: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                key, line = self.construct_object(key_node), key_node.start_mark.line + 1
                if key in lines:
                    raise _KeyGivenTwiceError(
                        f"line {line}: key {key!r} is given twice, first in line {lines[key]}; "
                        "remove one of them"
                    )
                lines[key] = line
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML reads, takes 1e3 for text; 1.2 takes it for a number, as people do.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)
