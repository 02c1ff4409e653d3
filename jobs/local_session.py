"""The Spark session of ``superres run``: on this machine, and ended in order by every signal."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TypeVar

from pyspark.sql import SparkSession
from rich.console import Console

from jobs.session import SPARK_ERRORS, get_session
from jobs.standalone import EXECUTOR_MEMORY_MIB, Resources, local_conf, standalone_cluster
from superres.pipeline.config import Settings
from superres.pipeline.layout import Layout
from superres.service.signals import end_process, handle_ending, raise_for

T = TypeVar("T")


class EndingSignals:
    """Handles SIGINT, SIGTERM and SIGHUP: ends the run at the first one and remembers it.

    The end of a login or a job must not leave a master and worker behind, just as Ctrl-C does not.
    What Spark raises after a signal is no failure of the run.
    """

    def __init__(self) -> None:
        """Installs the handlers."""
        self._received: int | None = None
        handle_ending(self._receive)

    def raise_if_received(self) -> None:
        """Raises ``KeyboardInterrupt`` or ``SystemExit`` again if a signal has arrived."""
        if self._received is not None:
            raise_for(self._received)

    def _receive(self, received: int, _: object) -> None:
        self._received = received
        end_process(received)


@contextmanager
def local_session(
    console: Console, settings: Settings, layout: Layout, master: str | None
) -> Iterator[SparkSession]:
    """A session on ``master``, on that of SPARK_MASTER, or on a cluster started for this block."""
    name = f"superres {layout.run_id}"
    with _master(console, master or os.environ.get("SPARK_MASTER")) as url:
        with console.status("Starting the Spark session …"):
            session = _in_other_thread(lambda: get_session(name, settings, local_conf(url)))
        try:
            yield session
        finally:
            _in_other_thread(lambda: _stop(session))


@contextmanager
def _master(console: Console, master: str | None) -> Iterator[str]:
    if master:
        yield master
        return
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    folder = Path(os.environ.get("SUPERRES_LOCAL_DIR", ".local")).absolute() / "spark"
    resources = Resources(os.cpu_count() or 1, EXECUTOR_MEMORY_MIB + 512)
    console.print("Starting a Spark master and worker …")
    with standalone_cluster(resources, folder) as url:
        yield url


def _stop(session: SparkSession) -> None:
    with suppress(*SPARK_ERRORS):  # the JVM may be gone
        session.sparkContext.setLogLevel("OFF")  # a job that this breaks off is no error
        session.stop()


def _in_other_thread(action: Callable[[], T]) -> T:
    """Calls ``action`` outside the main thread, which is the one that signals interrupt.

    In the main thread Spark would install its own handler of Ctrl-C, which fails during a call of
    Java, and stopping would wait for the call that was interrupted.
    """
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=call, name="session", daemon=True).start()
    return future.result()
