"""A Flask application under Gunicorn: one worker process, many threads, JSON logs.

``worker.py`` has the worker, which no slow client holds up.

Needs gunicorn and structlog, which the extras of the services bring.
"""

import logging
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from superres.errors import ConfigError
from superres.service.logs import log_as_json
from superres.service.worker import CUT_SECONDS, PatientWorker

_KEEP_ALIVE_SECONDS = 75  # longer than a load balancer's 60, which would find connections closed
_THREADS_FOR_SLOW_CLIENTS = 512
_IDLE_CONNECTIONS = 1024  # in addition to one per thread
_OPEN_FILES = 1 << 16
_OTHER_FILES = 512  # of the process, beside two per connection
_CONNECTIONS_PER_CLIENT = 128
_log = structlog.get_logger()

Load = Callable[[Callable[[], bool]], Any]
"""Makes the application in the worker; its argument returns whether the worker is still running."""


@dataclass(frozen=True)
class Server:
    """How an application is served.

    Attributes:
        name: of the process.
        host: to listen on.
        port: to listen on; 0: any that is free.
        page: the path of the first page, which is logged with the address.
        threads: how many the application needs; a further 512 can wait for slow clients.
        drain_seconds: for requests to finish after SIGTERM; then their connections are cut, and
            5 seconds later the process ends in any case.
        behind_proxies: whether all connections are those of proxies, whose number has no limit.
    """

    name: str
    host: str
    port: int
    page: str
    threads: int
    drain_seconds: float
    behind_proxies: bool = False


def serve(load: Load, server: Server) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises ``ConfigError`` when it cannot listen on the address.
    """
    _check_free(server.host, server.port)
    log_as_json()
    _allow_open_files()
    _Application(load, server).run()


def _allow_open_files() -> None:
    """Each connection is an open file, and shells often allow 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _OPEN_FILES:
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        with suppress(OSError, ValueError):  # macOS has limits of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _max_connections(threads: int) -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = threads + _IDLE_CONNECTIONS
    if soft == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(64, (soft - _OTHER_FILES) // 2))


def _check_free(host: str, port: int) -> None:
    """Fails at once and in one line, where Gunicorn retries for five seconds and logs eleven."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"{host}:{port}: cannot listen there: {error.strerror}; "
            "choose another address with --host or --port"
        ) from None


class _Application(BaseApplication):  # type: ignore[misc]  # Gunicorn ships no types
    def __init__(self, load: Load, server: Server) -> None:
        self._load = load
        self._server = server
        self._worker: Any = None
        super().__init__()

    def load_config(self) -> None:
        server = self._server
        at = f"[{server.host}]" if ":" in server.host else server.host
        threads = server.threads + _THREADS_FOR_SLOW_CLIENTS
        chosen = {
            "bind": f"{at}:{server.port}",
            "proc_name": server.name,
            "workers": 1,
            "worker_class": PatientWorker,
            "threads": threads,
            "worker_connections": _max_connections(threads),
            "keepalive": _KEEP_ALIVE_SECONDS,
            "graceful_timeout": round(server.drain_seconds + CUT_SECONDS),
            "logger_class": _JsonLog,
            "when_ready": self._log_addresses,
            "post_fork": self._keep_worker,
        }
        if "control_socket_disable" in self.cfg.settings:  # of Gunicorn 25 and later
            chosen["control_socket_disable"] = True
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        # Called in the worker, after the fork.
        return self._load(lambda: self._worker is None or bool(self._worker.alive))

    def _keep_worker(self, _: Any, worker: Any) -> None:
        self._worker = worker
        worker.connections_per_client = (
            0 if self._server.behind_proxies else _CONNECTIONS_PER_CLIENT
        )

    def _log_addresses(self, arbiter: Any) -> None:
        pages = [f"{listener}{self._server.page}" for listener in arbiter.LISTENERS]
        _log.info("serving", pages=pages)


class _JsonLog(Logger):  # type: ignore[misc]  # Gunicorn ships no types
    """Logs Gunicorn's messages as JSON events."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = [_Events()]


class _Events(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _log.log(record.levelno, "gunicorn", message=record.getMessage(), exc_info=record.exc_info)
