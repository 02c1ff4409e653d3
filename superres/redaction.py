"""What may leave the process of a URL and of a secret, in records, logs, errors and pages.

A query often holds a signature, and the part before ``@`` a password. So a URL is written with its
scheme, host and path alone, and eight hexadecimal digits of a digest of its query, which tell
``/image?id=7`` from ``/image?id=8``. ``SecretUrl`` writes itself so wherever it is made text.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic_core import core_schema

# No scheme is longer; without a bound, a long word would be searched from each of its letters on.
_URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s\"<>`]+")
_AFTER_URL = ":,;.!?)]}'…"  # what a sentence puts behind one
_NOT_A_PORT = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://[^/:]*:)[^/]*")
_MARK = re.compile(r"[0-9a-f]{8}")
_SECRET_VARIABLE = re.compile(
    r"SUPERRES_\w*(TOKEN|PASSWORD|SECRET)|AWS_(SECRET_ACCESS_KEY|SESSION_TOKEN)"
)
_LEAST_SECRET = 6  # characters: a shorter one would also be found in ordinary words
WITH_SECRETS = "with_secrets"
"""The key of a context of serialisation in which a ``SecretUrl`` is written as it is."""


def redacted_url(url: str) -> str:
    """A URL without user, password, query and fragment; ``#`` and a digest stand for a query.

    What is no URL comes back up to its first ``?`` or ``#``, and without what may be a password.
    Redacting twice changes nothing.
    """
    text = url.strip()
    parts = _parts(text)
    if parts is None:
        return _unreadable(text)
    scheme = text[: len(parts.scheme)]  # as it is written: S3:// is no s3://
    address = f"{scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.scheme == "s3":  # a key may have any character, and has no query
        return address + text.partition("://")[2][len(parts.netloc) :]
    if parts.query:
        mark = hashlib.sha256(parts.query.encode(errors="surrogateescape")).hexdigest()[:8]
    else:
        mark = parts.fragment if _MARK.fullmatch(parts.fragment) else ""
    return f"{address}{parts.path}{'#' if mark else ''}{mark}"


def published_link(url: str) -> str:
    """A link that is meant for everybody, query included; redacted where it has a password."""
    parts = _parts(url.strip())
    return redacted_url(url) if parts is None or "@" in parts.netloc else url


def redacted(text: str) -> str:
    """A text in which every URL is redacted; for messages of libraries, which may quote one."""
    return _URL_IN_TEXT.sub(_redacted_match, text) if "://" in text else text


def masked(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """A text without the tokens, passwords and keys that the environment gives to this process."""
    for name, value in environment.items():
        if len(value) >= _LEAST_SECRET and value in text and _SECRET_VARIABLE.fullmatch(name):
            text = text.replace(value, "…")
    return text


def without_secrets(text: str) -> str:
    """A text for a log or a terminal: redacted and masked."""
    return masked(redacted(text))


@dataclass(frozen=True, slots=True, repr=False)
class SecretUrl:
    """A URL that may hold a secret: as text, in JSON and in a ``repr`` it is redacted.

    In a pydantic model it is read from a string; serialising with the context
    ``{WITH_SECRETS: True}`` writes the full URL.

    Attributes:
        full: the URL as it is.
    """

    full: str

    def __str__(self) -> str:
        return redacted_url(self.full)

    def __repr__(self) -> str:
        return f"SecretUrl({str(self)!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.json_or_python_schema(
            json_schema=text,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), text]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                _serialised, info_arg=True, return_schema=core_schema.str_schema()
            ),
        )


def _serialised(url: SecretUrl, info: core_schema.SerializationInfo) -> str:
    context = info.context or {}
    return url.full if context.get(WITH_SECRETS) else str(url)


def _redacted_match(found: re.Match[str]) -> str:
    url = found[0].rstrip(_AFTER_URL)
    return redacted_url(url) + found[0][len(url) :]


def _parts(text: str) -> SplitResult | None:
    """The parts of a URL with an authority; None where it is not sure what belongs to which."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    has_authority = text[len(parts.scheme) :].startswith("://")
    if not has_authority or not (parts.hostname or parts.scheme == "file"):
        return None
    return parts


def _unreadable(text: str) -> str:
    before = re.split(r"[?#]", text, maxsplit=1)[0]
    if "@" in text[len(before) :]:
        return "…"  # the ? may be part of a password
    if "@" in before:
        return f"…@{before.rpartition('@')[2]}"
    return _NOT_A_PORT.sub(r"\1…", before)
