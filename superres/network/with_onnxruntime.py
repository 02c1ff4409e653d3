"""Runs an ONNX graph with onnxruntime, on one thread of the CPU."""

from collections.abc import Callable
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray


def compile_graph(model: onnx.ModelProto) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The graph as a function of its one input."""
    options = onnxruntime.SessionOptions()
    # One thread per process: Spark runs one process per core, and more threads than cores are slow.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Tiles at the edges have other sizes, and a memory plan for each would only use more memory.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(low: NDArray[Any]) -> NDArray[Any]:
        outputs: list[NDArray[Any]] = session.run(None, {"low": low})
        return outputs[0]

    return run
