"""Reads the configuration: ``config.yaml`` with overrides from the environment.

``SUPERRES_<SECTION>__<KEY>`` overrides a key, as in ``SUPERRES_PROCESSING__UPSCALE_FACTOR=4``. A
wrong key or value raises an error with its path, the value and the allowed values.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from superres.errors import ConfigError
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.environment import PREFIX, likely_meant, overriding, variable_of
from superres.pipeline.yaml_text import parse_yaml
from superres.redaction import redacted

_UNKNOWN = ("extra_forbidden", "invalid_key")
_SECTIONS: dict[str, type[BaseModel]] = {
    name: type(section) for name, section in Settings() if isinstance(section, BaseModel)
}


def load_settings(uri: str | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Reads a YAML file (local or S3; None: all defaults) and applies the environment.

    Raises ``ConfigError`` with one line: the key, the value and the allowed values.
    """
    content = {} if uri is None else _sections_in(uri)
    overrides = overriding(environment, _all_variables())
    merged = {
        section: dict(keys) if isinstance(keys, dict) else keys for section, keys in content.items()
    }
    for name, (section, key, text) in overrides.items():
        keys = merged.setdefault(section, {})
        if isinstance(keys, dict):
            keys[key] = _value_of(name, section, key, text)
    return validated(merged, uri or "configuration", overrides)


def validated(content: Mapping[str, Any], origin: str, overrides: Collection[str] = ()) -> Settings:
    """Checks a mapping of sections; raises ``ConfigError`` with ``origin`` and every wrong key.

    ``overrides`` are the environment variables that were merged in; the error names those too.
    """
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        lines = "; ".join(_lines(error.errors(), overrides))
        raise ConfigError(f"{origin}: {lines}") from None


def _sections_in(uri: str) -> dict[Any, Any]:
    if not storage.is_s3(uri) and not Path(uri).is_file():
        raise ConfigError(f"{uri}: no such configuration file; give --config a YAML file")
    content = parse_yaml(storage.read_bytes(uri), uri)
    if content is None:  # nothing but comments
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{uri}: not a mapping; expected sections such as 'processing:'")
    return content


def _all_variables() -> Iterator[str]:
    for section, model in _SECTIONS.items():
        yield from (variable_of(section, key) for key in model.model_fields)


def _value_of(name: str, section: str, key: str, text: str) -> Any:
    """The value that a variable's text stands for: as in YAML, or whatever its key can have.

    The environment has nothing but text, so 1 may be a name, and true as well as a number.
    """
    value = parse_yaml(text, name)
    if section not in _SECTIONS or key not in _SECTIONS[section].model_fields:
        return value  # which the validation refuses
    field = _SECTIONS[section].model_fields[key]
    kind: Any = Annotated[field.annotation, field]
    adapter: TypeAdapter[Any] = TypeAdapter(kind, config=ConfigDict(strict=True))
    as_text = [text] if text.strip() else []
    as_switch = [bool(value)] if value in (0, 1) else []
    for meaning in (value, *as_text, *as_switch):
        try:
            adapter.validate_python(meaning)
        except ValidationError:
            continue
        return meaning
    return value


def _lines(faults: list[Any], overrides: Collection[str]) -> Iterator[str]:
    """A line for each wrong key; what a value of several types could have been is in one line."""
    expected: dict[tuple[str, str], list[str]] = {}
    for fault in faults:
        section, *rest = fault["loc"]
        if fault["type"] in _UNKNOWN:
            yield _unknown(fault["loc"], _source(fault["loc"], overrides, below=True))
            continue
        # After the key: the number of a list's item, or a type that the value could have had.
        parts = [section, *rest[:1], *(part for part in rest[1:] if isinstance(part, int))]
        path = ".".join(map(str, parts))
        if fault["type"] in ("model_type", "dict_type"):
            keys = ", ".join(_SECTIONS[section].model_fields)
            allowed = f"expected a section with keys among {keys}"
        else:
            allowed = fault["msg"].removeprefix("Value error, ")
            allowed = allowed[0].lower() + allowed[1:]
        where = f"{path}{_source(fault['loc'], overrides)}", f"got {redacted(repr(fault['input']))}"
        expected.setdefault(where, []).append(allowed)
    for (path, got), texts in expected.items():
        others = (text.removeprefix("input should be ") for text in texts[1:])
        yield f"{path}: {' or '.join((texts[0], *others))}, {got}"


def _unknown(loc: tuple[Any, ...], source: str) -> str:
    allowed = list(_SECTIONS if len(loc) == 1 else _SECTIONS[loc[0]].model_fields)
    meant = likely_meant(str(loc[-1]), allowed)
    hint = "" if meant is None else f", did you mean {meant!r}"
    path = ".".join(map(str, loc))
    return f"unknown key {path!r}{source}{hint}; allowed here: {', '.join(allowed)}"


def _source(loc: tuple[Any, ...], overrides: Collection[str], *, below: bool = False) -> str:
    """The variables that a key, or with ``below`` a section, comes from."""
    variable = PREFIX + "__".join(map(str, loc[:2])).upper()
    return "".join(
        f" (from {name})"
        for name in overrides
        if name.upper() == variable or (below and name.upper().startswith(f"{variable}__"))
    )
