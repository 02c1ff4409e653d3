"""The values that records may hold: as wide as anything real, and no wider.

A record comes from storage, where others may write. A number that no image has, or a date that no
calendar of a database has, would break every page that shows it. Texts for people are shortened;
what identifies something is refused when it is too long.
"""

import json
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from superres.redaction import SecretUrl, published_link, redacted

_TEXT_LENGTH = 2000
_LOOKED_AT = 1 << 16  # of a text, before URLs in it are redacted
_LOCATION_LENGTH = 8192
_URL_LENGTH = 1 << 16
_MEMBERS_LENGTH = 1 << 14  # of a recipe, as JSON

_FIRST, _LAST = date(1970, 1, 1), date(2199, 12, 31)


def _told(text: str) -> str:
    """A text of any length and origin, with its URLs redacted, as far as it is shown."""
    told = redacted(text[:_LOOKED_AT])
    return told if len(told) <= _TEXT_LENGTH else f"{told[: _TEXT_LENGTH - 1]}…"


def _fetchable(url: SecretUrl) -> SecretUrl:
    if len(url.full) > _URL_LENGTH:
        raise ValueError(f"longer than {_URL_LENGTH:,} characters")
    return url


def _small(members: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(members, allow_nan=False)) > _MEMBERS_LENGTH:
        raise ValueError(f"longer than {_MEMBERS_LENGTH:,} characters")
    return members


Told = Annotated[str, AfterValidator(_told)]
"""A text for people, in which every URL is redacted, whoever wrote it."""

Name = Annotated[str, StringConstraints(max_length=1000)]
"""Of a run, a network, a protocol and the like."""

Location = Annotated[str, StringConstraints(max_length=_LOCATION_LENGTH)]
"""A path or an ``s3://`` URI."""

Url = Annotated[SecretUrl, AfterValidator(_fetchable)]
"""Of an image; no server takes a longer one."""

Link = Annotated[
    str, StringConstraints(max_length=_LOCATION_LENGTH), AfterValidator(published_link)
]
"""To a web page, for everybody."""

Moment = Annotated[
    AwareDatetime,
    Field(
        ge=datetime(_FIRST.year, 1, 1, tzinfo=UTC),
        lt=datetime(_LAST.year + 1, 1, 1, tzinfo=UTC),
    ),
]
Day = Annotated[date, Field(ge=_FIRST, le=_LAST)]

Pixels = Annotated[int, Field(ge=1, lt=1 << 31)]
"""A width or a height."""

Count = Annotated[int, Field(ge=0, lt=1 << 53)]
"""Of anything; as large as a JSON number is exact."""

Seconds = Annotated[float, Field(ge=0, le=1e9)]

Decibels = Annotated[float, Field(ge=-1000, le=1000)]
"""A PSNR. Of 200 megapixels, one that differs by one level has 131 dB."""

Similarity = Annotated[float, Field(ge=-1.001, le=1.001)]
"""An SSIM, -1 to 1, with room for rounding."""

Members = Annotated[dict[str, Any], AfterValidator(_small)]
"""Those of a recipe, known here or not."""
