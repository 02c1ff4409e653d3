"""What a listing met and could not list."""

from dataclasses import dataclass

from superres.errors import SuperresError


@dataclass(frozen=True)
class Fault:
    """A unit of work that is an error: ``references`` raises it.

    So a bad line or an unreadable folder is told like any failure, and the rest goes on.
    """

    error: SuperresError
