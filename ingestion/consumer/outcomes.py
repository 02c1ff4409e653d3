"""How the handling of one message may end."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finished:
    """The image is stored or rejected; the offset may be committed."""


@dataclass(frozen=True)
class RetryLater:
    """Try the message again after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Abandoned:
    """Given up without a result: the partition was revoked, or the consumer stops."""


Outcome = Finished | RetryLater | Abandoned
