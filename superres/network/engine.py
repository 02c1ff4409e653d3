"""Running FSRCNN: a function from (N, 1, h, w) to (N, 1, s*h, s*w) per checkpoint and device.

On a CPU onnxruntime does it: faster than torch there and 28 MB instead of 5 GB. On a GPU torch
does it, in half precision if asked for. torch on a CPU is the reference that tests compare with.
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
    """A network ready to run in this process.

    ``upscale`` maps luma (N, 1, h, w) to (N, 1, s*h, s*w), float32 on [0, 1], not clipped.
    ``batch_pixels`` is how many low-resolution pixels are worth putting into one call.
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

    Raises ``PrerequisiteError`` when a GPU is asked for and torch or CUDA is not there.
    """
    if device == "cpu":
        return _onnx_engine(weights)
    return torch_engine(weights, device, half=half)


def _onnx_engine(weights: Weights) -> Engine:
    import onnxruntime

    from superres.network.onnx_graph import build_onnx

    options = onnxruntime.SessionOptions()
    # One thread per process: Spark runs one process per core; threads beyond the cores collapse.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Tiles at the edges have sizes of their own; planning memory anew for each would only grow it.
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
    """An engine of torch on any of its devices; half precision is meant for GPUs."""
    try:
        import torch

        from superres.network.fsrcnn import network_from
    except ImportError as error:
        raise PrerequisiteError(
            f"device {device!r} needs torch; install superres[gpu] or set processing.device: cpu"
        ) from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise PrerequisiteError(
            f"device {device!r} was asked for, but torch sees no CUDA device here; check the "
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
    """The process's own engine for these weights, made on first use: one per Spark worker."""
    # The process number guards against a fork: neither CUDA nor a session survives one.
    key = (weights.digest, device, half, os.getpid())
    if key not in _engines:
        _engines[key] = make_engine(weights, device, half=half)
    return _engines[key]
