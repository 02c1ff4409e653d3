"""Caches parsed JSONPaths for the interpreter.

LocalStack creates a parser for each path of each state that it runs, and jsonpath-ng computes the
parser's tables each time: two thirds of the time of an execution.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

import jsonpath_ng.ext.parser
import jsonpath_ng.parser
from localstack.services.stepfunctions.asl.component.common.path import result_path
from localstack.services.stepfunctions.asl.utils import json_path


def cache_paths() -> None:
    """Makes the interpreter reuse its parsers and the paths that they have parsed."""
    json_path.parse = _cached(jsonpath_ng.ext.parser.ExtendedJsonPathParser())
    result_path.parse = _cached(jsonpath_ng.parser.JsonPathParser())


def _cached(parser: Any) -> Callable[[str], Any]:
    lock = threading.Lock()  # parsers are not thread-safe

    @functools.lru_cache(maxsize=4096)
    def parse(path: str) -> Any:
        with lock:
            return parser.parse(path)

    return parse
