"""Where a page of a list ends: a cursor that stays right while the list grows."""

import base64
import binascii
import json
import math
from dataclasses import dataclass
from typing import Self

from superres.errors import SuperresError

_MOST = 400  # letters


class CursorError(SuperresError):
    """A cursor that this service did not give."""


@dataclass(frozen=True)
class Place:
    """A place in an order: the key of an entry (microseconds or dB) and its name."""

    key: float
    name: str

    def cursor(self) -> str:
        """The place as letters for a URL."""
        return base64.urlsafe_b64encode(json.dumps([self.key, self.name]).encode()).decode()

    @classmethod
    def at(cls, cursor: str) -> Self:
        """The place of a cursor; raises ``CursorError`` when it is none of ours."""
        try:
            if len(cursor) > _MOST:
                raise ValueError
            key, name = json.loads(base64.b64decode(cursor.encode(), b"-_", validate=True))
            # 2**62: what a database takes as a number of microseconds.
            if not (isinstance(name, str) and "\0" not in name and abs(float(key)) < 2**62):
                raise ValueError
            name.encode()  # no lone surrogates
            return cls(int(key) if math.isfinite(key) and int(key) == key else float(key), name)
        except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error):
            raise CursorError("cursor: not one that this service gave; leave it out") from None
