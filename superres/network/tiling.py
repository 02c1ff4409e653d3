"""Splits an image into tiles that can be upscaled on their own, and joins the results.

A tile is a square of ``patch_size`` low-resolution pixels plus a halo as wide as the network
reaches (``weights.HALO``). At the image's edges the image is mirrored, so that what is flat stays
flat there. Engines pad nothing themselves: the joined result therefore equals that of the whole
image. There are no seams and nothing is blended.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from superres.errors import IncompleteImageError
from superres.imaging.alpha import fill_hidden
from superres.imaging.colour import Planes
from superres.imaging.info import ImageInfo
from superres.network.weights import HALO

Samples = TypeVar("Samples", bound=np.generic)


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: rows ``top`` to ``bottom`` and columns ``left`` to ``right``."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left


@dataclass(frozen=True)
class Grid:
    """How an image of ``height`` x ``width`` pixels is divided into tiles of ``patch_size``."""

    height: int
    width: int
    patch_size: int

    @property
    def rows(self) -> int:
        """Number of tiles from top to bottom."""
        return -(-self.height // self.patch_size)

    @property
    def columns(self) -> int:
        """Number of tiles from left to right."""
        return -(-self.width // self.patch_size)

    @property
    def tiles(self) -> int:
        """Number of all tiles."""
        return self.rows * self.columns

    def inner(self, row: int, column: int) -> Box:
        """The pixels whose results come from this tile."""
        top, left = row * self.patch_size, column * self.patch_size
        bottom = min(top + self.patch_size, self.height)
        return Box(top, left, bottom, min(left + self.patch_size, self.width))

    def outer(self, row: int, column: int) -> Box:
        """The pixels that the network needs: ``inner`` and the halo, also beyond the image."""
        inner = self.inner(row, column)
        return Box(inner.top - HALO, inner.left - HALO, inner.bottom + HALO, inner.right + HALO)


@dataclass(frozen=True)
class Tile:
    """One tile of an image: ``planes`` is (C, h, w), with the halo only before upscaling.

    ``info`` and ``patch_size`` always describe the low-resolution image.
    """

    image_id: str
    info: ImageInfo
    patch_size: int
    row: int
    column: int
    planes: Planes

    @property
    def grid(self) -> Grid:
        """The grid that this tile belongs to."""
        return Grid(self.info.height, self.info.width, self.patch_size)


def split(image_id: str, info: ImageInfo, planes: Planes, patch_size: int) -> Iterator[Tile]:
    """Cuts (C, H, W) planes into tiles, row by row from the top left.

    Hidden colour is replaced first (``imaging.alpha.fill_hidden``), in the whole image, so that
    tiles agree on it. Planes of tiles are views, but copies at the image's edge.
    """
    planes = fill_hidden(planes)
    grid = Grid(info.height, info.width, patch_size)
    for row in range(grid.rows):
        for column in range(grid.columns):
            part = _cut(planes, grid.outer(row, column))
            yield Tile(image_id, info, patch_size, row, column, part)


def _cut(planes: Planes, box: Box) -> Planes:
    """The pixels of ``box``; where it is beyond the image, that is mirrored."""
    _, height, width = planes.shape
    rows = (max(0, -box.top), max(0, box.bottom - height))
    columns = (max(0, -box.left), max(0, box.right - width))
    part = planes[:, max(0, box.top) : box.bottom, max(0, box.left) : box.right]
    if rows == columns == (0, 0):
        return part
    return cast(Planes, np.pad(part, ((0, 0), rows, columns), mode="symmetric"))


def with_halo(planes: NDArray[Samples]) -> NDArray[Samples]:
    """Whole images as engines take them: (N, C, h, w), mirrored at their edges on all sides."""
    return np.pad(planes, ((0, 0), (0, 0), (HALO, HALO), (HALO, HALO)), mode="symmetric")


def strips(tiles: Iterable[Tile]) -> Iterator[Planes]:
    """Joins one image's upscaled tiles, sorted by row and column, into strips of whole tile rows.

    Yields (C, s*h, s*W) as soon as a row of tiles is complete. A tile that is directly repeated
    counts once. Raises ``IncompleteImageError`` when a tile is missing, out of order, or of another
    image or grid.
    """
    first: Tile | None = None
    expected = 0
    row_of_tiles: list[Planes] = []
    for tile in tiles:
        first = first or tile
        grid = first.grid
        position = tile.row * grid.columns + tile.column
        if (tile.image_id, tile.grid) != (first.image_id, grid):
            raise _incomplete(first, f"tile {position + 1} is of another image or grid")
        if position == expected - 1:
            continue
        if position != expected:
            raise _incomplete(first, _out_of_order(grid, expected, position))
        expected += 1
        row_of_tiles.append(tile.planes)
        if len(row_of_tiles) == grid.columns:
            yield _side_by_side(row_of_tiles)
            row_of_tiles = []
    if first is None:
        raise IncompleteImageError("an image has no tiles; run the split and inference again")
    if expected != first.grid.tiles:
        raise _incomplete(first, f"tile {expected + 1} of {first.grid.tiles} is missing")


def _side_by_side(parts: list[Planes]) -> Planes:
    if len(parts) == 1:  # one tile wide: nothing to copy
        return parts[0]
    return cast(Planes, np.concatenate(parts, axis=2))


def _out_of_order(grid: Grid, expected: int, found: int) -> str:
    if expected == grid.tiles:
        return f"tile {found + 1} is repeated after the last"
    return f"tile {expected + 1} of {grid.tiles} is missing or out of order"


def _incomplete(tile: Tile, fault: str) -> IncompleteImageError:
    return IncompleteImageError(f"{tile.image_id}: {fault}; run the split and inference again")
