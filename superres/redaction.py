"""What may leave the process of a URL and of a secret, in records, logs, errors and pages.

A query often holds a signature, and the part before ``@`` a password. So a URL is written with its
scheme, host and path alone, and eight hexadecimal digits of a digest of its query, which tell
``/image?id=7`` from ``/image?id=8``. ``SecretUrl`` writes itself so wherever it is made text. In a
text, the value of a parameter that is named like a secret is cut as well, whatever stands before.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from pydantic_core import core_schema

# A quotation mark or angle bracket ends a URL in a text, but not where the URL goes on behind it.
_REST = r"(?:[^\s\"<>`]|[\"<>`](?=[\w%&=+@$*~^-]))+"
# No scheme is longer; without a bound, a long word would be searched from each of its letters on.
# JSON may escape each slash, and people forget one.
_URL = rf"(?:[A-Za-z][A-Za-z0-9+.-]{{0,30}}:(?:\\?/){{2}}|https?:\\?/){_REST}"
# In a query, also of a relative or quoted URL; and among the parameters of a database.
_PARAMETER = (
    r"(?:[?&]|&amp;|%(?:25)?(?:3F|26))"
    r"(?:X-Amz-\w+|sig\w*|token|passw(?:or)?d|key|secret|credential\w*)(?:=|%(?:25)?3D)"
)
_PASSWORD = r"\b(?:ssl)?password='?"
_SECRET = re.compile(
    rf"(?P<name>(?i:{_PARAMETER})|{_PASSWORD})(?P<value>(?<=')[^'\n]*(?=')|{_REST})"
)
_SECRET_IN_TEXT = re.compile(rf"(?P<url>{_URL})|{_SECRET.pattern}")
_SIGNS = (":/", ":\\", "=", "%")  # a text without any has no secret
_SIGNED_QUERY = re.compile(r"\?(?=[^?]*X-Amz-)", re.IGNORECASE)
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
    if parts.scheme == "s3":  # a key may have any character, and has no query but a signed one
        key, *signed = _SIGNED_QUERY.split(text.partition("://")[2][len(parts.netloc) :], 1)
        return address + key + (f"#{_digest(signed[0])}" if signed else "")
    if parts.query:
        mark = _digest(parts.query)
    else:
        mark = parts.fragment if _MARK.fullmatch(parts.fragment) else ""
    place = f"{address}{_SECRET.sub(_cut, parts.path)}".rstrip()
    return f"{place}{'#' if mark else ''}{mark}"


def published_link(url: str) -> str:
    """A link that is meant for everybody, query included; redacted where it has a password."""
    parts = _parts(url.strip())
    return redacted_url(url) if parts is None or "@" in parts.netloc else url


def redacted(text: str) -> str:
    """A text in which every URL is redacted, and every parameter that is named like a secret.

    For messages of libraries, which may quote one. Redacting twice changes nothing.
    """
    return _SECRET_IN_TEXT.sub(_cut, text) if any(sign in text for sign in _SIGNS) else text


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


def _cut(found: re.Match[str]) -> str:
    """What stands for a URL, or for a parameter with its value, in front of a sentence's end."""
    name = found.groupdict().get("name") or ""
    whole = found[0][len(name) :]
    secret = whole.rstrip(_AFTER_URL)
    shown = (secret and "…") if name else redacted_url(secret)
    return name + shown + whole[len(secret) :]


def _digest(query: str) -> str:
    """Eight hexadecimal digits, the same however the query is quoted."""
    unquoted = unquote_to_bytes(query.encode(errors="surrogateescape"))
    return hashlib.sha256(unquoted).hexdigest()[:8]


def _parts(text: str) -> SplitResult | None:
    """The parts of a URL with an authority; None where it is not sure what belongs to which."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    has_authority = text[len(parts.scheme) :].startswith("://")
    if not has_authority or not ((parts.hostname or "").strip() or parts.scheme == "file"):
        return None
    return parts


def _unreadable(text: str) -> str:
    before = re.split(r"[?#]", text, maxsplit=1)[0].rstrip()
    _, at, rest = before.rpartition("@")
    if "@" in text[len(before) :] or (at and "://" in rest):
        return "…"  # the ? may be part of a password, and so may the @
    if at:
        return f"…@{_SECRET.sub(_cut, rest)}"
    return _NOT_A_PORT.sub(r"\1…", _SECRET.sub(_cut, before))
