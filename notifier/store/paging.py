"""Cursors: where a page of a list ends, valid while the list grows."""

import base64
import binascii
import json
import math
from dataclasses import dataclass
from typing import Self

from superres.errors import SuperresError

_MAX_LENGTH = 400


class CursorError(SuperresError):
    """A cursor that this service did not issue."""


@dataclass(frozen=True)
class Position:
    """A position in an ordered list: the key of an entry (microseconds or dB) and its name."""

    key: float
    name: str

    def cursor(self) -> str:
        """Encodes the position for a URL."""
        return base64.urlsafe_b64encode(json.dumps([self.key, self.name]).encode()).decode()

    @classmethod
    def from_cursor(cls, cursor: str) -> Self:
        """Decodes a cursor; raises ``CursorError`` for one that this service did not issue."""
        try:
            if len(cursor) > _MAX_LENGTH:
                raise ValueError
            key, name = json.loads(base64.b64decode(cursor.encode(), b"-_", validate=True))
            # 2**62: more microseconds than a database holds.
            if not (isinstance(name, str) and "\0" not in name and abs(float(key)) < 2**62):
                raise ValueError
            name.encode()  # no lone surrogates
            return cls(int(key) if math.isfinite(key) and int(key) == key else float(key), name)
        except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error):
            raise CursorError("cursor: not issued by this service; leave it out") from None
