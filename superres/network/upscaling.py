"""Upscales tiles and whole images: the code that the command line and Spark share.

FSRCNN upscales luma; colour differences and alpha are enlarged bicubically. The result is rounded
once, at the image's own depth.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from superres.imaging.colour import (
    KB,
    KG,
    KR,
    STUDIO_BLACK,
    STUDIO_RANGE,
    FloatPlane,
    Planes,
    full_luma,
    studio,
    to_unit,
)
from superres.imaging.decoding import DecodedImage
from superres.imaging.info import ImageInfo
from superres.imaging.resample import enlarge_plane
from superres.network.engine import Engine
from superres.network.tiling import Box, Tile, split, strips


def upscaled_info(info: ImageInfo, scale: int) -> ImageInfo:
    """Size, channels and depth of the upscaled image."""
    return ImageInfo(info.width * scale, info.height * scale, info.channels, info.bit_depth)


def upscale_image(image: DecodedImage, patch_size: int, engine: Engine) -> Iterator[Planes]:
    """Upscales an image; yields strips (C, s*h, s*W) from top to bottom."""
    tiles = split("image", image.info, image.planes(), patch_size)
    return strips(upscale_tiles(tiles, engine))


def upscale_tiles(tiles: Iterable[Tile], engine: Engine) -> Iterator[Tile]:
    """Upscales tiles in order: (C, h, w) with halo to (C, s*h', s*w') without.

    Consecutive tiles of one size are batched, up to the engine's ``batch_pixels``.
    """
    waiting: list[Tile] = []
    for tile in tiles:
        if waiting and not _batchable(waiting, tile, engine):
            yield from _upscale_batch(waiting, engine)
            waiting = []
        waiting.append(tile)
    if waiting:
        yield from _upscale_batch(waiting, engine)


def _batchable(waiting: list[Tile], tile: Tile, engine: Engine) -> bool:
    height, width = tile.planes.shape[1:]
    pixels = (len(waiting) + 1) * height * width
    return pixels <= engine.batch_pixels and waiting[0].planes.shape[1:] == (height, width)


def _upscale_batch(tiles: list[Tile], engine: Engine) -> list[Tile]:
    lumas = np.stack([_network_input(tile.planes) for tile in tiles])[:, np.newaxis]
    upscaled = engine.upscale(lumas)[:, 0]
    results = []
    for tile, luma in zip(tiles, upscaled, strict=True):
        inner = tile.grid.inner_in_outer(tile.row, tile.column)
        planes = _with_colour(tile.planes, luma, inner, engine.scale)
        results.append(
            Tile(tile.image_id, tile.info, tile.patch_size, tile.row, tile.column, planes)
        )
    return results


def _network_input(planes: Planes) -> FloatPlane:
    """Studio luma on [0, 1], the range of the training data; grey is treated as R = G = B."""
    if planes.shape[0] <= 2:
        return studio(to_unit(planes[0]))
    return studio(full_luma(to_unit(planes[0]), to_unit(planes[1]), to_unit(planes[2])))


def _with_colour(planes: Planes, studio_luma: FloatPlane, inner: Box, scale: int) -> Planes:
    """Joins upscaled luma, bicubic colour differences and alpha, for the pixels of ``inner``."""
    channels = planes.shape[0]
    window = (
        slice(inner.top * scale, inner.bottom * scale),
        slice(inner.left * scale, inner.right * scale),
    )
    result = np.empty((channels, inner.height * scale, inner.width * scale), planes.dtype)
    peak = np.float32(np.iinfo(planes.dtype).max)
    # Full-range luma on [0, peak], half a step up so that truncation below rounds.
    luma = studio_luma[window] * (peak / STUDIO_RANGE)
    luma += np.float32(0.5) - STUDIO_BLACK * peak / STUDIO_RANGE
    if channels <= 2:
        _store(luma, result[0])
    else:
        red, green, blue = (plane.astype(np.float32) for plane in planes[:3])
        low_luma = full_luma(red, green, blue)
        red_difference = enlarge_plane(red - low_luma, scale)[window]
        blue_difference = enlarge_plane(blue - low_luma, scale)[window]
        _store(luma + red_difference, result[0])
        _store(luma + blue_difference, result[2])
        # The green difference follows from KR R + KG G + KB B = Y.
        red_difference = red_difference * (KR / KG)
        red_difference += blue_difference * (KB / KG)
        _store(luma - red_difference, result[1])
    if channels in (2, 4):
        alpha = enlarge_plane(planes[-1].astype(np.float32), scale)[window]
        _store(alpha + np.float32(0.5), result[-1])
    return result


def _store(values: FloatPlane, target: Planes) -> None:
    """Clips and truncates into the integers of ``target``; overwrites ``values``."""
    np.clip(values, 0, np.iinfo(target.dtype).max, out=values)
    np.copyto(target, values, casting="unsafe")
