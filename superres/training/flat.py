"""Keeps flat areas flat: the last touch of a training.

What a network makes of a flat image depends on its level alone, and on the phase: the place of an
output pixel in its input pixel. Training leaves it up to a level of 255 off, most at black and at
white. ``keep_flat`` changes the last layer by as little as brings it near enough for rounding.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from superres.imaging.colour import STUDIO_BLACK, STUDIO_RANGE
from superres.network.weights import (
    MAPPINGS,
    Weights,
    deconvolution_as_convolution,
    make_weights,
    tap_rows,
)

TOLERANCE = 0.4
"""How far a flat image may be off before rounding, in levels of 255; half a level would show."""
_LEVELS = 1021  # each whole level, and three between two: a grey of R, G and B need not be whole

Matrix = NDArray[np.float64]


def keep_flat(weights: Weights) -> Weights:
    """These weights with the last layer changed least, so that flat images keep their level.

    For each phase, the kernel's sums over its taps, one for each feature, change by the vector of
    least norm that leaves no level off by more than ``TOLERANCE``; all taps of a phase share it.

    A phase stays as it is if no change does, as may be with weights that are hardly trained.
    """
    features, errors = flat_features(weights), flat_errors(weights)
    tolerance = TOLERANCE / 255 * float(STUDIO_RANGE)
    kernel = weights.tensors["deconv.weight"].astype(np.float64)
    rows = [[tap for tap in taps if tap is not None] for taps in tap_rows(weights.scale)]
    phases = [(row, column) for row in rows for column in rows]
    for (row, column), error in zip(phases, errors.T, strict=True):
        change = _least_change(features, error, tolerance)
        kernel[:, 0][:, np.array(row)[:, np.newaxis], column] += change[
            :, np.newaxis, np.newaxis
        ] / (len(row) * len(column))
    return make_weights(weights.scale, {**weights.tensors, "deconv.weight": kernel}, "flat")


def flat_errors(weights: Weights) -> Matrix:
    """(n, s*s): what each phase lacks at n levels from black to white, in studio luma on [0, 1]."""
    sums = deconvolution_as_convolution(weights).astype(np.float64).sum(axis=(2, 3))
    flat: Matrix = flat_features(weights) @ sums.T + weights.tensors["deconv.bias"]
    return _levels() - flat


def flat_features(weights: Weights) -> Matrix:
    """(n, 56): what the last layer gets from flat images at n levels from black to white."""
    tensors = weights.tensors

    def layer(features: Matrix, name: str, index: int = 0) -> Matrix:
        kernel = tensors[f"{name}.{index}.weight"].astype(np.float64).sum(axis=(2, 3))
        values: Matrix = features @ kernel.T + tensors[f"{name}.{index}.bias"]
        return np.maximum(values, 0) + np.minimum(values, 0) * tensors[f"{name}.{index + 1}.weight"]

    features = layer(layer(_levels(), "feature_extraction"), "shrink")
    for index in range(MAPPINGS):
        features = layer(features, "map", 2 * index)
    return layer(features, "expand")


def _levels() -> Matrix:
    """(n, 1) of studio luma."""
    unit = np.linspace(0, 1, _LEVELS)[:, np.newaxis]
    return unit * float(STUDIO_RANGE) + float(STUDIO_BLACK)


def _least_change(features: Matrix, error: Matrix, tolerance: float) -> Matrix:
    """The shortest vector x with |error - features @ x| <= tolerance, for each level; 0 if none.

    It is Lawson and Hanson's least distance programming ("Solving Least Squares Problems", 1974,
    chapter 23), which non-negative least squares solve.
    """
    sides = np.concatenate([features, -features])
    bounds = np.concatenate([error - tolerance, -error - tolerance])
    system = np.concatenate([sides.T, bounds[np.newaxis]])
    wanted = np.zeros(len(system))
    wanted[-1] = 1
    solution, distance = nnls(system, wanted)
    if distance < 1e-6:
        return np.zeros(features.shape[1])
    residual = system @ solution - wanted
    change: Matrix = -residual[:-1] / residual[-1]
    return change
