"""FSRCNN checkpoints as plain arrays, from which all engines are made.

Tensor names are those of Lornatang/FSRCNN-PyTorch, so that its checkpoints load unchanged:
``feature_extraction.0`` (convolution) and ``.1`` (PReLU), ``shrink``, ``map.0`` ... ``map.7``,
``expand``, ``deconv``. Our own are safetensors files and need no torch; ``.pth`` and ``.pth.tar``
files are pickles, loaded by torch with ``weights_only`` so that a checkpoint cannot run code.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from superres.errors import ModelError, PrerequisiteError
from superres.pipeline import storage

FEATURES = 56  # d of the paper
SHRUNK = 12  # s of the paper
MAPPINGS = 4  # m of the paper
KERNEL = 9  # the deconvolution's

HALO = 8
"""Low-resolution pixels that engines get beyond each side of what they upscale; see ``reach``."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Weights:
    """One network: its scale, its float32 tensors by name, and the SHA-256 digest over them."""

    scale: int
    tensors: Mapping[str, Array]
    digest: str


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor; the same for every scale, since only the stride differs."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, outputs: int, inputs: int, side: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs, side, side)
        shapes[f"{name}.bias"] = (outputs,)

    convolution("feature_extraction.0", FEATURES, 1, 5)
    shapes["feature_extraction.1.weight"] = (FEATURES,)
    convolution("shrink.0", SHRUNK, FEATURES, 1)
    shapes["shrink.1.weight"] = (SHRUNK,)
    for layer in range(MAPPINGS):
        convolution(f"map.{2 * layer}", SHRUNK, SHRUNK, 3)
        shapes[f"map.{2 * layer + 1}.weight"] = (SHRUNK,)
    convolution("expand.0", FEATURES, SHRUNK, 1)
    shapes["expand.1.weight"] = (FEATURES,)
    shapes["deconv.weight"] = (FEATURES, 1, KERNEL, KERNEL)
    shapes["deconv.bias"] = (1,)
    return shapes


def make_weights(scale: int, tensors: Mapping[str, NDArray[Any]], origin: str) -> Weights:
    """Checks names and shapes, converts every tensor to float32 and computes the digest.

    Raises ``ModelError`` with ``origin`` and the first tensor that does not fit.
    """
    checked: dict[str, Array] = {}
    for name, shape in expected_shapes().items():
        if name not in tensors:
            raise ModelError(
                f"{origin}: tensor {name!r} is missing, so this is no FSRCNN(56,12,4) checkpoint; "
                "set processing.model_path to one"
            )
        if tensors[name].shape != shape:
            raise ModelError(
                f"{origin}: tensor {name!r} has shape {tensors[name].shape}, expected {shape} "
                "of FSRCNN(56,12,4)"
            )
        checked[name] = np.ascontiguousarray(tensors[name], dtype=np.float32)
        if not np.isfinite(checked[name]).all():
            raise ModelError(f"{origin}: tensor {name!r} holds values that are not finite")
    digest = hashlib.sha256(str(scale).encode())
    for name in sorted(checked):
        digest.update(name.encode())
        digest.update(checked[name].tobytes())
    return Weights(scale, checked, digest.hexdigest())


def load_weights(path: Path, scale: int) -> Weights:
    """Reads a ``.safetensors``, ``.pth``, ``.pt`` or ``.pth.tar`` checkpoint for ``scale``.

    Raises ``ModelError`` when the file is absent, damaged, of another architecture or made for
    another scale, and ``PrerequisiteError`` when a pickle is given and torch is not installed.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such checkpoint; set processing.model_path or train one")
    if path.suffix == ".safetensors":
        recorded, tensors = _read_safetensors(path)
        if recorded is not None and recorded != scale:
            raise ModelError(
                f"{path}: trained for scale {recorded}, not {scale}; choose the matching checkpoint"
            )
    else:
        tensors = _read_torch(path)
    return make_weights(scale, tensors, str(path))


def save_weights(weights: Weights, path: Path) -> None:
    """Writes a safetensors file, whole or not at all; its metadata has the scale."""
    # One entry only: safetensors writes several in random order, and equal weights shall give
    # equal files.
    metadata = {"scale": str(weights.scale)}
    # Not save_file: that makes the file readable by its owner alone.
    storage.write_bytes(str(path), safetensors.numpy.save(dict(weights.tensors), metadata))


def _read_safetensors(path: Path) -> tuple[int | None, dict[str, NDArray[Any]]]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, TypeError) as error:  # TypeError: bfloat16 and the like
        raise ModelError(
            f"{path}: not a safetensors file that numpy can read ({error}); fetch it again, or "
            "save it as float32"
        ) from error
    recorded = metadata.get("scale", "")
    return (int(recorded) if recorded.isdecimal() else None), tensors


def _read_torch(path: Path) -> dict[str, NDArray[Any]]:
    try:
        import torch
    except ImportError as error:
        raise PrerequisiteError(
            f"{path}: reading a torch checkpoint needs torch; install superres[gpu], "
            "or convert the checkpoint to safetensors where torch is"
        ) from error
    try:
        state = _unwrap(torch.load(path, map_location="cpu", weights_only=True))
        return {
            _plain_name(str(name)): tensor.detach().float().numpy()
            for name, tensor in state.items()
            if isinstance(tensor, torch.Tensor)
        }
    except Exception as error:
        # torch raises anything from EOFError to RuntimeError here. Its message advises to load
        # without the protection, so it is not repeated.
        raise ModelError(
            f"{path}: not a torch checkpoint that loads safely; it is damaged, or holds more than "
            "tensors: save the network's state_dict() alone"
        ) from error


def _unwrap(loaded: Any) -> dict[Any, Any]:
    """The state dictionary in a training checkpoint; averaged weights are preferred."""
    for key in ("ema_state_dict", "state_dict", "model"):
        if isinstance(loaded.get(key), dict):
            return dict(loaded[key])
    return dict(loaded)


def _plain_name(name: str) -> str:
    """Drops the prefixes of DataParallel and torch.compile, in any order."""
    while name.startswith(("module.", "_orig_mod.")):
        name = name.partition(".")[2]
    return name


def deconvolution_as_convolution(weights: Weights) -> Array:
    """The stride-s 9x9 deconvolution as a small convolution with s*s outputs, for a pixel shuffle.

    Returns (s*s, 56, side, side), channel r*s + c for the residues r of the row and c of the
    column; side is 5, or 3 for scale 4. Exact, and faster on a CPU.
    """
    kernel = weights.tensors["deconv.weight"].reshape(FEATURES, KERNEL * KERNEL)
    padded = np.pad(kernel, ((0, 0), (0, 1)))
    index = np.array(shuffle_index(weights.scale))
    side = len(tap_rows(weights.scale)[0])
    gathered = padded[:, index].reshape(FEATURES, weights.scale**2, side, side)
    return np.ascontiguousarray(gathered.transpose(1, 0, 2, 3))


def reach(scale: int) -> int:
    """Low-resolution pixels that an output pixel depends on, in each direction: 8, or 7 for x4."""
    first, deconvolution = 2, len(tap_rows(scale)[0]) // 2
    return first + MAPPINGS + deconvolution


def tap_rows(scale: int) -> list[list[int | None]]:
    """For each residue r: the deconvolution kernel's row for each input row, None if outside.

    Output row s*q + r (padding 4) is the sum over input rows q + d of kernel row r + 4 - s*d.
    """
    reach = -(-(KERNEL // 2) // scale)  # rounded up
    rows: list[list[int | None]] = []
    for residue in range(scale):
        taps = [residue + KERNEL // 2 - scale * d for d in range(-reach, reach + 1)]
        rows.append([tap if 0 <= tap < KERNEL else None for tap in taps])
    return rows


def shuffle_index(scale: int) -> list[int]:
    """The index in the flattened 9x9 kernel of each weight of the rewritten convolution.

    Order: row residue, column residue, tap row, tap column; 81 (one past the end) means zero.
    """
    rows = tap_rows(scale)
    return [
        KERNEL * KERNEL if i is None or j is None else i * KERNEL + j
        for row_taps in rows
        for column_taps in rows
        for i in row_taps
        for j in column_taps
    ]


def cubic_taps(scale: int) -> NDArray[np.float64]:
    """Nine taps of Keys' cubic for the deconvolution, of unit sum for each phase of ``scale``."""
    distance = np.abs((np.arange(KERNEL) - KERNEL // 2 + 0.5) / scale - 0.5)
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    taps = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    for residue in range(scale):
        phase = [tap for tap in range(KERNEL) if (tap - KERNEL // 2 - residue) % scale == 0]
        taps[phase] /= math.fsum(taps[phase])
    return taps
