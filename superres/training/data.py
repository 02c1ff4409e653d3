"""Pairs of low- and high-resolution luma for training.

Images are augmented by scaling and rotating, as in the paper; crops are drawn from them at random.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from superres.errors import ConfigError
from superres.imaging.colour import STUDIO_BLACK, STUDIO_RANGE, FloatPlane, protocol_luma
from superres.imaging.decoding import decode_file
from superres.imaging.jpeg import through_jpeg
from superres.imaging.limits import Limits
from superres.imaging.names import utf8_alias
from superres.imaging.resample import crop_to_multiple, resize_plane

REDUCTIONS = (1.0, 0.9, 0.8, 0.7, 0.6)  # the paper's section 4.1
_BLOCK = 8  # side of a block of JPEG
LIMITS = Limits(max_bytes=256 << 20, max_pixels=100_000_000)


@dataclass(frozen=True)
class Pair:
    """One image: (h, w) low-resolution and (s*h, s*w) high-resolution luma, float32 on [0, 1]."""

    low: FloatPlane
    high: FloatPlane


def read_luma(path: Path) -> FloatPlane:
    """Luma of an image file on [0, 255], by the literature's protocol."""
    with utf8_alias(path) as alias:
        return protocol_luma(decode_file(alias, LIMITS).planes())


def make_pair(luma: FloatPlane, scale: int) -> Pair:
    """Crops (H, W) luma on [0, 255] to a multiple of the scale and reduces it bicubically."""
    high = np.ascontiguousarray(crop_to_multiple(luma, scale), dtype=np.float32)
    low = resize_plane(high, high.shape[0] // scale, high.shape[1] // scale)
    return Pair(low / np.float32(255), high / np.float32(255))


def augmented_pairs(files: list[Path], scale: int, patch: int) -> list[Pair]:
    """Pairs of every image at five sizes, without those too small for a crop of ``patch`` pixels.

    Rotations and reflections are chosen per crop, so they need no memory here.
    """
    pairs = []
    for file in files:
        luma = read_luma(file)
        for factor in REDUCTIONS:
            height, width = (int(side * factor) for side in luma.shape)
            if min(height, width) >= (patch + 1) * scale:
                smaller = luma if factor == 1 else resize_plane(luma, height, width)
                pairs.append(make_pair(np.clip(smaller, 0, 255), scale))
    if not pairs:
        side = (patch + 1) * scale
        raise ConfigError(
            f"no training image is at least {side} pixels wide and high; use larger images"
        )
    return pairs


def batches(
    pairs: list[Pair],
    scale: int,
    patch: int,
    batch: int,
    random: np.random.Generator,
    qualities: tuple[int, int] | None = None,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Endless batches of crops: (batch, 1, patch, patch) and (batch, 1, s*patch, s*patch).

    The probability of an image is proportional to its area; each crop is rotated and mirrored at
    random. With ``qualities`` each low-resolution crop goes through JPEG, at a quality between the
    two, both included. The same generator state gives the same batches.
    """
    areas = np.array([pair.high.size for pair in pairs], dtype=np.float64)
    cumulative = np.cumsum(areas / areas.sum())
    while True:
        low = np.empty((batch, 1, patch, patch), np.float32)
        high = np.empty((batch, 1, patch * scale, patch * scale), np.float32)
        for row in range(batch):
            drawn = int(np.searchsorted(cumulative, random.random()))
            pair = pairs[min(drawn, len(pairs) - 1)]
            top = int(random.integers(pair.low.shape[0] - patch + 1))
            left = int(random.integers(pair.low.shape[1] - patch + 1))
            turn = int(random.integers(8))
            crop = pair.low[top : top + patch, left : left + patch]
            if qualities is not None:
                crop = _compressed_crop(pair.low, top, left, patch, qualities, random)
            low[row, 0] = _turned(crop, turn)
            top, left, side = top * scale, left * scale, patch * scale
            high[row, 0] = _turned(pair.high[top : top + side, left : left + side], turn)
        yield low, high


def _turned(crop: FloatPlane, turn: int) -> FloatPlane:
    rotated = np.rot90(crop, turn % 4)
    return rotated.T if turn >= 4 else rotated


def _compressed_crop(
    low: FloatPlane,
    top: int,
    left: int,
    patch: int,
    qualities: tuple[int, int],
    random: np.random.Generator,
) -> FloatPlane:
    """The crop (patch, patch) at ``top`` and ``left`` of an image that went through JPEG.

    Only the surroundings are compressed. They begin up to seven pixels before the crop, so that the
    edges of JPEG's blocks fall anywhere in it.
    """
    first_row = max(0, top - int(random.integers(_BLOCK)))
    first_column = max(0, left - int(random.integers(_BLOCK)))
    around = low[first_row : top + patch + _BLOCK, first_column : left + patch + _BLOCK]
    quality = int(random.integers(qualities[0], qualities[1] + 1))
    # A colour file has luma in full range. A grey one is taken as it is, and measured in studio
    # range by the literature's protocol.
    if random.random() < 0.5:
        full = (around - STUDIO_BLACK) / STUDIO_RANGE
        compressed = through_jpeg(full * np.float32(255), quality) / np.float32(255)
        around = compressed * STUDIO_RANGE + STUDIO_BLACK
    else:
        around = through_jpeg(around * np.float32(255), quality) / np.float32(255)
    row, column = top - first_row, left - first_column
    return around[row : row + patch, column : column + patch]
