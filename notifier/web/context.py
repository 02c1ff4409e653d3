"""What all requests share: settings, database, pictures, tokens."""

from dataclasses import dataclass, field

from flask import current_app
from prometheus_client import CollectorRegistry

from notifier.pictures import Pictures
from notifier.store.database import Database
from notifier.web.changes import Changes
from notifier.web.rendered import Rendered
from superres.pipeline.config import Settings
from superres.service.guesses import Guesses
from superres.service.health import Check


@dataclass(frozen=True)
class Tokens:
    """Secrets from the environment: ``write`` allows everything, ``read`` reading only."""

    write: str | None = None
    read: str | None = None


@dataclass(frozen=True)
class Service:
    """The notifier, as its request handlers see it.

    Attributes:
        private: whether reading needs a token or a login.
        ready: the check of ``/readyz``.
    """

    settings: Settings
    database: Database
    pictures: Pictures
    changes: Changes
    tokens: Tokens
    private: bool
    registry: CollectorRegistry
    ready: Check
    rendered: Rendered = field(default_factory=Rendered)
    guesses: Guesses = field(default_factory=Guesses)


def service() -> Service:
    """The service of the current request."""
    found: Service = current_app.extensions["notifier"]
    return found
