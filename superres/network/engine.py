"""Engines that run FSRCNN: from samples (N, C, h, w) to samples (N, C, s*h, s*w) of the same type.

Input has a halo of ``weights.HALO`` pixels on each side besides; engines pad nothing.

On a CPU the engine is OpenVINO where it is installed, else onnxruntime; on a GPU it is torch,
optionally in half precision. ``superres.network.reference`` is the arithmetic that all of them
compute. docs/why.md says what was measured.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from superres.errors import PrerequisiteError
from superres.imaging.colour import Planes
from superres.network.weights import Weights, load_weights
from superres.pipeline import storage
from superres.pipeline.recipe import Precision

Batch = NDArray[np.float32]
CpuLibrary = Literal["openvino", "onnxruntime"]


@dataclass(frozen=True)
class Engine:
    """Weights ready to run on a device, in this process, for one thread.

    ``upscale`` maps samples (N, C, h + 2 HALO, w + 2 HALO), uint8 or uint16, to (N, C, s*h, s*w):
    grey or RGB, with or without alpha. ``upscale_luma`` is the network alone, as the literature
    measures it: luma (N, 1, h + 2 HALO, w + 2 HALO) to (N, 1, s*h, s*w), float32 on [0, 1], not
    clipped. ``tiling.with_halo`` gives whole images their halo. Both return arrays that stay valid.
    ``batch_pixels`` is the number of low-resolution pixels that one call should have at most.
    """

    scale: int
    digest: str
    batch_pixels: int
    upscale: Callable[[Planes], Planes]
    upscale_luma: Callable[[Batch], Batch]


def fetch_weights(uri: str, scale: int) -> Weights:
    """Loads a checkpoint from a local path or ``s3://`` URI."""
    if not storage.is_s3(uri):
        return load_weights(Path(uri), scale)
    with tempfile.TemporaryDirectory(prefix="superres-") as folder:
        path = Path(folder) / uri.rsplit("/", 1)[-1]
        path.write_bytes(storage.read_bytes(uri))
        return load_weights(path, scale)


def make_engine(weights: Weights, device: str = "cpu", precision: Precision = "single") -> Engine:
    """An engine on ``cpu`` (one thread) or ``cuda`` or ``cuda:N``.

    Raises ``PrerequisiteError`` for a GPU without torch or CUDA, and for bfloat16 on a CPU that
    does not compute in it.
    """
    if device != "cpu":
        return torch_engine(weights, device, half=precision == "float16")
    if precision != "single" and not cpu_has_bfloat16():
        raise PrerequisiteError(
            "half precision: this CPU does not compute in bfloat16 (AVX512-BF16 or AMX, with "
            "OpenVINO); set processing.half_precision: auto or false, or use CPUs that all have it"
        )
    return cpu_engine(weights, cpu_library(), bfloat16=precision != "single")


def cpu_has_bfloat16() -> bool:
    """Whether half precision is quick on this machine's CPU."""
    if cpu_library() != "openvino":
        return False
    from superres.network.with_openvino import has_bfloat16

    return has_bfloat16()


def cpu_library() -> CpuLibrary:
    """The faster of the installed libraries; OpenVINO's wheel does not run everywhere."""
    return "openvino" if find_spec("openvino") else "onnxruntime"


def cpu_engine(weights: Weights, library: CpuLibrary, *, bfloat16: bool = False) -> Engine:
    """An engine on one thread of the CPU. Each graph is compiled when it is first used.

    ``bfloat16`` needs OpenVINO, and AVX-512 at least.
    """
    from superres.network.onnx_graph import build_onnx, build_samples_onnx

    compile_graph: Callable[[Any], Callable[[Any], Any]]
    if library == "openvino":
        from superres.network import with_openvino

        compile_graph = partial(with_openvino.compile_graph, bfloat16=bfloat16)
    else:
        from superres.network import with_onnxruntime

        compile_graph = with_onnxruntime.compile_graph

    @cache
    def samples_graph(channels: int, bit_depth: int) -> Callable[[Planes], Planes]:
        return compile_graph(build_samples_onnx(weights, channels, bit_depth, bfloat16=bfloat16))

    @cache
    def luma_graph() -> Callable[[Batch], Batch]:
        return compile_graph(build_onnx(weights, bfloat16=bfloat16))

    return Engine(
        scale=weights.scale,
        digest=weights.digest,
        batch_pixels=1,
        upscale=lambda low: samples_graph(low.shape[1], 8 * low.dtype.itemsize)(low),
        upscale_luma=lambda low: luma_graph()(low),
    )


def torch_engine(weights: Weights, device: str, *, half: bool = False) -> Engine:
    """A torch engine on any torch device; half precision is meant for GPUs."""
    try:
        import torch

        from superres.network.with_torch import luma_graph, samples_graph
    except ImportError as error:
        raise PrerequisiteError(
            f"device {device!r} needs torch; install superres[gpu] or set processing.device: cpu"
        ) from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise PrerequisiteError(
            f"device {device!r}: torch finds no CUDA device on this machine; check the "
            "driver (nvidia-smi) or set processing.device: cpu"
        )
    return Engine(
        scale=weights.scale,
        digest=weights.digest,
        batch_pixels=1 if device == "cpu" else 1 << 22,
        upscale=samples_graph(weights, device, half=half),
        upscale_luma=luma_graph(weights, device, half=half),
    )


_engines: dict[tuple[str, str, Precision, int], Engine] = {}


def engine_in_this_process(
    weights: Weights, device: str, precision: Precision = "single"
) -> Engine:
    """This process's engine for these weights, made on first use; a Spark worker has one."""
    # With the process id, since neither CUDA nor a session survives a fork.
    key = (weights.digest, device, precision, os.getpid())
    if key not in _engines:
        _engines[key] = make_engine(weights, device, precision)
    return _engines[key]
