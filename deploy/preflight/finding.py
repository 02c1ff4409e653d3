"""What a check finds, and how a check that AWS does not permit is reported."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError


@dataclass(frozen=True)
class Finding:
    """A problem in one line, with its remedy; ``stops`` is whether it must be fixed first."""

    line: str
    stops: bool = True


def checked(subject: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Returns what a check finds; a check that AWS refuses or does not answer is a warning."""
    try:
        return list(check())
    except (ClientError, BotoCoreError) as error:
        reason = " ".join(str(error).split())
        return [Finding(f"{subject} could not be checked ({reason})", stops=False)]


def listed(names: Iterable[str], most: int | None = None) -> str:
    """Returns names as a sentence has them, each once; beyond ``most`` only how many there are."""
    given = list(names)
    rest = len(given[most:]) if most is not None else 0
    return ", ".join(dict.fromkeys(given[:most])) + (f" and {rest} more" if rest else "")
