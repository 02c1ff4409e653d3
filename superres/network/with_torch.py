"""The arithmetic of ``superres.network.reference`` in torch, for GPUs.

Samples cross the bus as integers, a quarter of the bytes of float32 for 8 bits, and copies overlap
with computing. In half precision the network's maps are float16; luma and sums are not.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from superres.imaging.colour import KB, KR, STUDIO_BLACK, Planes
from superres.network.fsrcnn import Fsrcnn, network_from
from superres.network.sample_layers import REACH, sample_layers
from superres.network.weights import HALO, Weights, reach

_CHUNKS = 4  # of a batch: while one computes, the next and the last are copied


class SamplesNetwork(nn.Module):
    """Samples with their halo to (N, C, s*h, s*w), uint8 or uint16, for one number of channels."""

    _colour: Tensor
    _alpha: Tensor

    def __init__(self, weights: Weights, channels: int, bit_depth: int, kind: torch.dtype) -> None:
        """The network's maps have the type ``kind``."""
        super().__init__()
        self.scale = weights.scale
        self._colours = 1 if channels <= 2 else 3
        self._depth = torch.uint8 if bit_depth == 8 else torch.uint16
        self._kind = kind
        network: Any = network_from(weights).to(dtype=kind)
        self._network = network.to(memory_format=torch.channels_last)  # unknown to torch's stubs
        layers = sample_layers(weights, self._colours, bit_depth)
        self._peak = layers.peak
        self._gain, self._offset = float(layers.gain), float(layers.offset)
        # Levels of 16 bits are beyond float16.
        colour_kind = kind if bit_depth == 8 else torch.float32
        if layers.colour is not None:
            self.register_buffer("_colour", torch.from_numpy(layers.colour).to(colour_kind))
        self.register_buffer("_alpha", torch.from_numpy(layers.alpha).to(colour_kind))

    def forward(self, samples: Tensor) -> Tensor:
        """Upscales a batch; see the class."""
        values = samples.float()
        high = self._colours_of(values[:, : self._colours])
        if values.shape[1] > self._colours:
            alpha = _enlarged(values[:, self._colours :], self._alpha) + 0.5
            high = torch.cat([high, alpha], dim=1)
        levels = high.clamp_(0, self._peak)
        if self._depth == torch.uint8:
            levels = levels.to(torch.uint8)
        # torch does not shuffle uint16.
        return functional.pixel_shuffle(levels, self.scale).to(self._depth)

    def _colours_of(self, values: Tensor) -> Tensor:
        """Levels with their halo to (N, 1 or 3, h, w) phases in levels, half a level up."""
        if self._colours == 1:
            return self._luma_phases(values)
        red, green, blue = values[:, 0:1], values[:, 1:2], values[:, 2:3]
        # Exact, so that grey has no colour; green itself has the weight zero.
        differences = torch.cat([green, red - green, blue - green], dim=1)
        luma = green + float(KR) * differences[:, 1:2] + float(KB) * differences[:, 2:]
        return self._luma_phases(luma).repeat(1, 3, 1, 1) + _enlarged(differences, self._colour)

    def _luma_phases(self, luma: Tensor) -> Tensor:
        studio = luma / self._gain + float(STUDIO_BLACK)
        return _phases(self._network, studio.to(self._kind)) * self._gain + self._offset


def _phases(network: Fsrcnn, luma: Tensor) -> Tensor:
    """(N, s*s, h, w) phases in single precision, of luma with its halo."""
    return network.phases(_cropped(luma, HALO - reach(network.scale)), padded=False).float()


def _enlarged(values: Tensor, kernel: Tensor) -> Tensor:
    """Bicubic phases, of values with their halo."""
    return functional.conv2d(_cropped(values, HALO - REACH).to(kernel.dtype), kernel).float()


def _cropped(values: Tensor, border: int) -> Tensor:
    """Without ``border`` rows and columns on each side."""
    _, _, height, width = values.shape
    return values[:, :, border : height - border, border : width - border]


def samples_graph(weights: Weights, device: str, *, half: bool) -> Callable[[Planes], Planes]:
    """From samples to samples on this device."""
    kind = torch.float16 if half else torch.float32

    @cache
    def network(channels: int, bit_depth: int) -> SamplesNetwork:
        return SamplesNetwork(weights, channels, bit_depth, kind).to(device).eval()

    @torch.inference_mode()
    def upscale(low: Planes) -> Planes:
        run = network(low.shape[1], 8 * low.dtype.itemsize)
        samples = torch.from_numpy(np.ascontiguousarray(low))
        high = run(samples) if device == "cpu" else _overlapped(run, samples, device)
        result: Planes = high.numpy()
        return result

    return upscale


def _overlapped(run: SamplesNetwork, samples: Tensor, device: str) -> Tensor:
    """Runs chunks of a batch on two streams in turn, each with its copies in and out."""
    count, channels, *sides = samples.shape
    source = samples.pin_memory()
    size = (count, channels, *((side - 2 * HALO) * run.scale for side in sides))
    result = torch.empty(size, dtype=samples.dtype, pin_memory=True)
    cuda: Any = torch.cuda  # untyped
    streams = [cuda.Stream(device) for _ in range(2)]
    chunk = -(-count // _CHUNKS)
    for index, first in enumerate(range(0, count, chunk)):
        with cuda.stream(streams[index % 2]):
            low = source[first : first + chunk].to(device, non_blocking=True)
            result[first : first + chunk].copy_(run(low), non_blocking=True)
    cuda.synchronize(device)
    return result


def luma_graph(
    weights: Weights, device: str, *, half: bool
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The network alone on this device: luma with its halo to (N, 1, s*h, s*w)."""
    kind = torch.float16 if half else torch.float32
    network = network_from(weights).to(device=device, dtype=kind)

    @torch.inference_mode()
    def upscale(low: NDArray[np.float32]) -> NDArray[np.float32]:
        phases = _phases(network, torch.from_numpy(low).to(device, kind))
        high: NDArray[Any] = functional.pixel_shuffle(phases, weights.scale).cpu().numpy()
        return high

    return upscale
