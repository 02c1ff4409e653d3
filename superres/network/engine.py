"""Engines that run FSRCNN: a function from (N, 1, h, w) to (N, 1, s*h, s*w) for weights and device.

On a CPU the engine is onnxruntime, which is faster than torch there and takes 28 MB instead of
5 GB. On a GPU it is torch, optionally in half precision. torch on a CPU is the tests' reference.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superres.errors import PrerequisiteError
from superres.network.weights import Weights, load_weights
from superres.pipeline import storage

Batch = NDArray[np.float32]


@dataclass(frozen=True)
class Engine:
    """Weights ready to run on a device, in this process.

    ``upscale`` maps luma (N, 1, h, w) to (N, 1, s*h, s*w), float32 on [0, 1], not clipped.
    ``batch_pixels`` is the number of low-resolution pixels that one call should have at most.
    """

    scale: int
    digest: str
    batch_pixels: int
    upscale: Callable[[Batch], Batch]


def fetch_weights(uri: str, scale: int) -> Weights:
    """Loads a checkpoint from a local path or ``s3://`` URI."""
    if not storage.is_s3(uri):
        return load_weights(Path(uri), scale)
    with tempfile.TemporaryDirectory(prefix="superres-") as folder:
        path = Path(folder) / uri.rsplit("/", 1)[-1]
        path.write_bytes(storage.read_bytes(uri))
        return load_weights(path, scale)


def make_engine(weights: Weights, device: str = "cpu", *, half: bool = False) -> Engine:
    """An engine on ``cpu`` (one thread) or ``cuda`` or ``cuda:N``.

    Raises ``PrerequisiteError`` for a GPU without torch or CUDA.
    """
    if device == "cpu":
        return _onnx_engine(weights)
    return torch_engine(weights, device, half=half)


def _onnx_engine(weights: Weights) -> Engine:
    import onnxruntime

    from superres.network.onnx_graph import build_onnx

    options = onnxruntime.SessionOptions()
    # One thread per process: Spark runs one process per core, and more threads than cores are slow.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Tiles at the edges have other sizes, and a memory plan for each would only use more memory.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(
        build_onnx(weights).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def upscale(low: Batch) -> Batch:
        outputs: list[Batch] = session.run(None, {"low": low})
        return outputs[0]

    return Engine(weights.scale, weights.digest, 1, upscale)


def torch_engine(weights: Weights, device: str, *, half: bool = False) -> Engine:
    """A torch engine on any torch device; half precision is meant for GPUs."""
    try:
        import torch

        from superres.network.fsrcnn import network_from
    except ImportError as error:
        raise PrerequisiteError(
            f"device {device!r} needs torch; install superres[gpu] or set processing.device: cpu"
        ) from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise PrerequisiteError(
            f"device {device!r}: torch finds no CUDA device on this machine; check the "
            "driver (nvidia-smi) or set processing.device: cpu"
        )
    kind = torch.float16 if half else torch.float32
    network = network_from(weights).to(device=device, dtype=kind)

    @torch.inference_mode()
    def upscale(low: Batch) -> Batch:
        upscaled = network(torch.from_numpy(low).to(device=device, dtype=kind))
        result: Batch = upscaled.float().cpu().numpy()
        return result

    return Engine(weights.scale, weights.digest, 1 if device == "cpu" else 1 << 22, upscale)


_engines: dict[tuple[str, str, bool, int], Engine] = {}


def engine_in_this_process(weights: Weights, device: str, *, half: bool = False) -> Engine:
    """This process's engine for these weights, made on first use; a Spark worker has one."""
    # With the process id, since neither CUDA nor a session survives a fork.
    key = (weights.digest, device, half, os.getpid())
    if key not in _engines:
        _engines[key] = make_engine(weights, device, half=half)
    return _engines[key]
