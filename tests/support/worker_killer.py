"""Ends Python workers of Spark: images of certain widths do, in the stage that KILLED_STAGE names.

Copied as ``sitecustomize.py`` into a folder on PYTHONPATH, from which every Python process imports
it. It changes only the workers and the processes that they start.
"""

import ctypes
import importlib.abc
import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

_EATEN_AT_MOST = 6 << 30


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def never_end() -> None:
    """In a library that holds Python's lock."""
    ctypes.PyDLL(None).pause()


def eat_memory() -> None:
    eaten: list[bytes] = []
    while len(eaten) << 26 < _EATEN_AT_MOST:
        eaten.append(b"\1" * (1 << 26))
    raise AssertionError("nothing has ended this process")


def raise_error() -> None:
    raise MemoryError


KILLERS: dict[int, Callable[[], None]] = {41: crash, 43: never_end, 45: eat_memory, 47: raise_error}
# Where each stage is met: a function, and the image's width from its arguments.
PLACES: dict[str, tuple[str, str, Callable[..., int]]] = {
    "split": ("jobs.stages", "_tiles_of", lambda _, content, *__: _png_width(content)),
    "infer": (
        "superres.network.upscaling",
        "_upscale_batch",
        # The second tile: those before it are in the table.
        lambda tiles, _: tiles[0].info.width if tiles[0].row else 0,
    ),
    "reconstruct": ("jobs.stages", "encode_png", lambda _, info, __: info.width // 2),
    "evaluate": ("jobs.evaluate_image", "decode", lambda content, _: _png_width(content)),
}


def _png_width(content: bytes) -> int:
    return int.from_bytes(content[16:20])


class _Killing(importlib.abc.MetaPathFinder):
    """Changes the function as soon as its module is imported."""

    def __init__(self, module: str, function: str, width_of: Callable[..., int]) -> None:
        self._module, self._function, self._width_of = module, function, width_of

    def find_spec(self, name: str, *_: Any) -> Any:
        if name != self._module:
            return None
        sys.meta_path.remove(self)
        spec: Any = importlib.util.find_spec(name)
        loader, execute = spec.loader, spec.loader.exec_module

        def execute_and_change(module: Any) -> None:
            execute(module)
            real = getattr(module, self._function)

            def killing(*arguments: Any, **options: Any) -> Any:
                KILLERS.get(self._width_of(*arguments), lambda: None)()
                return real(*arguments, **options)

            setattr(module, self._function, killing)

        loader.exec_module = execute_and_change
        return spec


if {"jobs.python_daemon", "jobs.isolated"} & set(sys.orig_argv):
    sys.meta_path.insert(0, _Killing(*PLACES[os.environ["KILLED_STAGE"]]))
