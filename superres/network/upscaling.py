"""Upscales tiles and whole images: the code that the command line and Spark share."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import cast

import numpy as np

from superres.imaging.colour import Planes
from superres.imaging.decoding import DecodedImage
from superres.imaging.info import ImageInfo
from superres.network.engine import Engine
from superres.network.tiling import Tile, split, strips


def upscaled_info(info: ImageInfo, scale: int) -> ImageInfo:
    """Size, channels and depth of the upscaled image."""
    return ImageInfo(info.width * scale, info.height * scale, info.channels, info.bit_depth)


def upscale_image(image: DecodedImage, patch_size: int, engine: Engine) -> Iterator[Planes]:
    """Upscales an image; yields strips (C, s*h, s*W) from top to bottom."""
    tiles = split("image", image.info, image.planes(), patch_size)
    return strips(upscale_tiles(tiles, engine))


def upscale_tiles(tiles: Iterable[Tile], engine: Engine) -> Iterator[Tile]:
    """Upscales tiles in order: (C, h, w) and the halo around it to (C, s*h, s*w).

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
    batch = cast(Planes, np.stack([tile.planes for tile in tiles]))
    upscaled = zip(tiles, engine.upscale(batch), strict=True)
    return [replace(tile, planes=planes) for tile, planes in upscaled]
