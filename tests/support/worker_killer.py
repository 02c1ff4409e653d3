"""Ends Python workers of Spark when they meet certain images.

Copied as ``sitecustomize.py`` into a folder on PYTHONPATH, from which every Python process imports
it. It changes only the workers and the processes that they start. ``killed.json`` beside it says in
which stage, and which widths of images do what: ``{"stage": "split", "widths": {"41": "crash"}}``.
"""

import ctypes
import importlib.abc
import importlib.util
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
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


KILLERS: dict[str, Callable[[], None]] = {
    "crash": crash,
    "never end": never_end,
    "eat memory": eat_memory,
}
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


def install(folder: Path, stage: str, widths: Mapping[int, str]) -> None:
    """Makes images of these widths do what ``KILLERS`` names, where this folder is in the path."""
    shutil.copy(__file__, folder / "sitecustomize.py")
    killed = {"stage": stage, "widths": {str(width): what for width, what in widths.items()}}
    (folder / "killed.json").write_text(json.dumps(killed))


def _png_width(content: bytes) -> int:
    return int.from_bytes(content[16:20])


class _Killing(importlib.abc.MetaPathFinder):
    """Changes the function of a stage as soon as its module is imported."""

    def __init__(self, stage: str, widths: dict[str, str]) -> None:
        self._module, self._function, self._width_of = PLACES[stage]
        self._killers = {int(width): KILLERS[what] for width, what in widths.items()}

    def find_spec(self, name: str, *_: Any) -> Any:
        if name != self._module:
            return None
        sys.meta_path.remove(self)
        spec: Any = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_change(module: Any) -> None:
            execute(module)
            real = getattr(module, self._function)

            def killing(*arguments: Any, **options: Any) -> Any:
                self._killers.get(self._width_of(*arguments), lambda: None)()
                return real(*arguments, **options)

            setattr(module, self._function, killing)

        spec.loader.exec_module = execute_and_change
        return spec


if {"jobs.python_daemon", "jobs.isolated_process"} & set(sys.orig_argv):
    killed = Path(__file__).with_name("killed.json").read_bytes()
    sys.meta_path.insert(0, _Killing(**json.loads(killed)))
