"""Runs an ONNX graph with OpenVINO, on one thread of the CPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import openvino
from numpy.typing import NDArray

_SETTINGS = {
    # Where a CPU has bfloat16, OpenVINO takes it unless another precision is asked for.
    "INFERENCE_PRECISION_HINT": "f32",
    # One thread per process: Spark runs one process per core, and more threads than cores are slow.
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    # Otherwise the processes of a machine all pin their thread to the same core.
    "ENABLE_CPU_PINNING": False,
}


def compile_graph(model: onnx.ModelProto) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The graph as a function of its one input; for one thread at a time."""
    core = openvino.Core()
    network = core.read_model(model.SerializeToString())
    request = core.compile_model(network, "CPU", _SETTINGS).create_infer_request()

    def run(low: NDArray[Any]) -> NDArray[Any]:
        inputs = [np.ascontiguousarray(low)]
        # The output is the request's own memory, which the next call overwrites.
        high: NDArray[Any] = request.infer(inputs, share_inputs=True, share_outputs=True)[0]
        return high.copy()

    return run
