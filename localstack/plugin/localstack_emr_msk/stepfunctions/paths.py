"""JSONPaths for the interpreter, with one parser for all of them.

LocalStack makes a parser for every path of every state that it runs, and jsonpath-ng works out the
parser's tables each time: two thirds of what a state machine costs.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

import jsonpath_ng.ext.parser
import jsonpath_ng.parser
from localstack.services.stepfunctions.asl.component.common.path import result_path
from localstack.services.stepfunctions.asl.utils import json_path


def remember() -> None:
    """Has the interpreter keep its parsers, and the paths that they have parsed."""
    json_path.parse = _remembering(jsonpath_ng.ext.parser.ExtendedJsonPathParser())
    result_path.parse = _remembering(jsonpath_ng.parser.JsonPathParser())


def _remembering(parser: Any) -> Callable[[str], Any]:
    lock = threading.Lock()  # a parser has its state within itself

    @functools.lru_cache(maxsize=4096)
    def parse(path: str) -> Any:
        with lock:
            return parser.parse(path)

    return parse
