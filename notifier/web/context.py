"""What a request finds of the service that answers it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import current_app
from prometheus_client import CollectorRegistry

from notifier.pictures import Pictures
from notifier.store.database import Database
from notifier.web.changes import Changes
from notifier.web.rendered import Rendered
from superres.pipeline.config import Settings


@dataclass(frozen=True)
class Tokens:
    """Secrets from the environment: ``write`` may do all, ``read`` may look; None where unset."""

    write: str | None = None
    read: str | None = None


@dataclass(frozen=True)
class Service:
    """One for all requests.

    Attributes:
        guarded: whether reading needs a token or a login.
        ready: empty when all is well, else what is wrong.
    """

    settings: Settings
    database: Database
    pictures: Pictures
    changes: Changes
    tokens: Tokens
    guarded: bool
    registry: CollectorRegistry
    ready: Callable[[], str]
    rendered: Rendered = field(default_factory=Rendered)


def service() -> Service:
    """The service of the current request."""
    found: Service = current_app.extensions["notifier"]
    return found
