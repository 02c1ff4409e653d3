"""A Flask application under Gunicorn: one worker process, many threads, JSON logs.

Needs gunicorn and structlog, which the extras of the services bring.
"""

import logging
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from superres.errors import ConfigError
from superres.service.logs import log_as_json

KEEP_ALIVE_SECONDS = 75
"""Longer than a load balancer's 60, which would otherwise find connections just closed."""
_IDLE_SECONDS = 30  # within a request or a response
_log = structlog.get_logger()

Load = Callable[[Callable[[], bool]], Any]
"""Makes the application in the worker; its argument returns whether the worker is still running."""


def serve(load: Load, host: str, port: int, options: Mapping[str, Any]) -> None:
    """Serves until SIGTERM or SIGINT.

    ``options`` are settings of Gunicorn, and ``page``: the path of the first page, which is logged
    with the address. Raises ``ConfigError`` when it cannot listen on the address.
    """
    _check_free(host, port)
    log_as_json()
    _Server(load, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", options).run()


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


class _Server(BaseApplication):  # type: ignore[misc]  # Gunicorn ships no types
    def __init__(self, load: Load, bind: str, options: Mapping[str, Any]) -> None:
        self._load = load
        self._bind = bind
        self._options = dict(options)
        self._page = self._options.pop("page", "/")
        self._worker: Any = None
        super().__init__()

    def load_config(self) -> None:
        chosen = {
            "bind": self._bind,
            "workers": 1,
            "worker_class": _Worker,
            "logger_class": _JsonLog,
            "when_ready": self._log_addresses,
            "post_fork": self._keep_worker,
            **self._options,
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

    def _log_addresses(self, server: Any) -> None:
        _log.info("serving", pages=[f"{listener}{self._page}" for listener in server.LISTENERS])


class _Worker(ThreadWorker):  # type: ignore[misc]  # Gunicorn ships no types
    """Times out connections on which a client stops sending or reading."""

    def handle(self, conn: Any) -> Any:
        timeout = struct.pack("ll", _IDLE_SECONDS, 0)
        for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            conn.sock.setsockopt(socket.SOL_SOCKET, direction, timeout)
        return super().handle(conn)


class _JsonLog(Logger):  # type: ignore[misc]  # Gunicorn ships no types
    """Logs Gunicorn's messages as JSON events."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = [_Events()]


class _Events(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _log.log(record.levelno, "gunicorn", message=record.getMessage(), exc_info=record.exc_info)
