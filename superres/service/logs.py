"""How commands and services log: lines for people, or one JSON object per event.

What code logs has no secret of a URL or of the environment, whatever an exception quotes.
Needs structlog, which the extras of the services bring.
"""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from superres.redaction import without_secrets


def log_for_people() -> None:
    """Logs warnings only, as lines on standard error: for commands that a person runs."""
    structlog.configure(
        processors=[
            structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0),
            lambda _, __, line: without_secrets(str(line)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def log_as_json() -> None:
    """Logs one JSON object per line to standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_secrets,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _without_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: _cleaned(value) for name, value in event.items()}


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {name: _cleaned(each) for name, each in value.items()}
    return value
