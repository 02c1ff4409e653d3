"""The layers around FSRCNN, from samples to luma and from luma to samples, as convolutions.

Before the network, two 1x1 convolutions: samples to differences, and differences to studio luma.
After it, a 5x5 convolution per colour enlarges the differences bicubically into the s*s phases of
an output pixel, which the luma's phases are added to before the pixel shuffle. Engines build their
graphs from these constants; ``superres.network.reference`` has the arithmetic in plain NumPy.
"""

from dataclasses import dataclass

import numpy as np

from superres.imaging.colour import KB, KR, STUDIO_BLACK, STUDIO_RANGE
from superres.imaging.resample import bicubic_phases
from superres.network.weights import Array, Weights, deconvolution_as_convolution

REACH = 2
"""Of the bicubic kernel, in low-resolution pixels."""


@dataclass(frozen=True)
class SampleLayers:
    """Kernels and biases, float32, for images of ``colours`` (1 or 3) and one depth.

    Attributes:
        differences: (3, 3, 1, 1), R, G, B to G, R - G, B - G, which are exact for integers, so that
            grey has no colour; None for grey images.
        luma: (1, colours, 1, 1), to studio luma on [0, 1], with ``luma_bias`` (1,).
        gain: from the network's luma to full-range luma in levels of the samples, half a level up
            so that truncation rounds: ``gain`` times luma and ``offset``.
        offset: see ``gain``.
        phases: (s*s, 56, side, side), the network's last layer including these; ``phases_bias``.
        colour: (3*s*s, 3, 5, 5), differences to R - Y, G - Y, B - Y; None for grey images.
        alpha: (s*s, 1, 5, 5), with ``alpha_bias`` (s*s,), half a level.
        peak: the highest level of the samples.
    """

    differences: Array | None
    luma: Array
    luma_bias: Array
    gain: np.float32
    offset: np.float32
    phases: Array
    phases_bias: Array
    colour: Array | None
    alpha: Array
    alpha_bias: Array
    peak: int


def sample_layers(weights: Weights, colours: int, bit_depth: int) -> SampleLayers:
    """The layers for images of 1 or 3 colours and 8 or 16 bits."""
    peak, outputs = (1 << bit_depth) - 1, weights.scale**2
    gain = peak / np.float64(STUDIO_RANGE)
    offset = 0.5 - gain * STUDIO_BLACK
    bias = weights.tensors["deconv.bias"] * gain + offset
    bicubic = _bicubic_kernels(weights.scale)
    in_colour = colours == 3
    luma = np.array([1, KR, KB] if in_colour else [1]) / gain
    return SampleLayers(
        differences=_single(_DIFFERENCES[..., None, None]) if in_colour else None,
        luma=_single(luma.reshape(1, -1, 1, 1)),
        luma_bias=_single([STUDIO_BLACK]),
        gain=np.float32(gain),
        offset=np.float32(offset),
        phases=_single(deconvolution_as_convolution(weights) * gain),
        phases_bias=_single(np.repeat(bias, outputs)),
        colour=_colour_kernels(bicubic) if in_colour else None,
        alpha=_single(bicubic[:, np.newaxis]),
        alpha_bias=_single(np.full(outputs, 0.5)),
        peak=peak,
    )


def _bicubic_kernels(scale: int) -> Array:
    """(s*s, 5, 5): bicubic enlargement as a convolution with one output for each phase."""
    phases = bicubic_phases(scale)
    return _single(np.einsum("ry,cx->rcyx", phases, phases).reshape(scale**2, 5, 5))


_DIFFERENCES = np.array([[0, 1, 0], [1, -1, 0], [0, -1, 1]])
# G, R - G, B - G to R - Y, G - Y, B - Y, with Y = G + KR (R - G) + KB (B - G). The first column is
# zero: where R = G = B, nothing is added to luma.
_COLOUR = np.array([[0, 1 - KR, -KB], [0, -KR, -KB], [0, -KR, 1 - KB]], np.float64)


def _colour_kernels(bicubic: Array) -> Array:
    kernels = np.einsum("oi,pyx->opiyx", _COLOUR, bicubic)
    return _single(kernels.reshape(-1, *kernels.shape[2:]))


def _single(values: object) -> Array:
    return np.ascontiguousarray(values, dtype=np.float32)
