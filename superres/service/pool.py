"""A pool of threads that does not keep its process from ending."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, ParamSpec, TypeVar

from superres.service.leaving import leave_behind

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Pool:
    """A pool of threads that are waited for only so long when it is closed.

    Args:
        threads: how many.
        name: what the names of the threads begin with.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, name)
        self._unfinished: set[Future[Any]] = set()

    def submit(
        self,
        function: Callable[_Arguments, _Result],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> "Future[_Result]":
        """Calls a function as soon as a thread is free."""
        future = self._executor.submit(function, *arguments, **named)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future

    def close(self, seconds: float) -> int:
        """Begins nothing more, and waits for what has begun.

        Returns how many calls are left behind because they take longer; the process will not wait
        for them when it exits.
        """
        self._executor.shutdown(wait=False, cancel_futures=True)
        running = wait(self._unfinished.copy(), seconds).not_done
        if running:
            leave_behind()
        return len(running)
