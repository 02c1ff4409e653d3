"""Runs an ONNX graph with OpenVINO, on one thread of the CPU."""

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import openvino
from numpy.typing import NDArray

_SETTINGS = {
    # One thread per process: Spark runs one process per core, and more threads than cores are slow.
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    # Otherwise the processes of a machine all pin their thread to the same core.
    "ENABLE_CPU_PINNING": False,
}


_running = threading.local()
"""``graph`` is the one that this thread ran last."""


@cache
def has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16 (AVX512-BF16, AMX, or the like)."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compile_graph(
    model: onnx.ModelProto, *, bfloat16: bool = False
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The graph as a function of its one input; for one thread at a time.

    Only the graph that ran last keeps its memory for feature maps, some 80 MB: a process has
    several graphs where images have several networks.

    With ``bfloat16``, weights and maps are rounded to it and sums are not. On a CPU without it
    OpenVINO computes the same, slowly, if the CPU has AVX-512.
    """
    core = openvino.Core()
    network = core.read_model(model.SerializeToString())
    # Without a hint OpenVINO takes bfloat16 wherever the CPU has it.
    settings = {**_SETTINGS, "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32"}
    compiled = core.compile_model(network, "CPU", settings)
    request = compiled.create_infer_request()

    def run(low: NDArray[Any]) -> NDArray[Any]:
        before, _running.graph = getattr(_running, "graph", compiled), compiled
        if before is not compiled:
            before.release_memory()
        inputs = [np.ascontiguousarray(low)]
        # The output is the request's own memory, which the next call overwrites.
        high: NDArray[Any] = request.infer(inputs, share_inputs=True, share_outputs=True)[0]
        return high.copy()

    return run
