"""The tables between the jobs, as Arrow batches: tiles, upscaled tiles, reconstructed images.

A row of a table of tiles is one tile: its image, its position in it, and its decoded planes as the
bytes of a (C, h, w) array at the image's own depth, little-endian.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from superres.imaging.info import ImageInfo
from superres.network.tiling import Tile

# Size of an Arrow batch: small enough that a worker computes while the next batch arrives.
BATCH_BYTES = 16 << 20

TILES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("channels", pa.int32(), nullable=False),
        pa.field("bit_depth", pa.int32(), nullable=False),
        pa.field("patch_size", pa.int32(), nullable=False),
        pa.field("network", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("column", pa.int32(), nullable=False),
        pa.field("plane_height", pa.int32(), nullable=False),
        pa.field("plane_width", pa.int32(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("planes", pa.binary(), nullable=False),
    ]
)
UPSCALED_TILES = TILES.append(pa.field("scale", pa.int32(), nullable=False)).append(
    pa.field("model_digest", pa.string(), nullable=False)
)
IMAGES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("patches", pa.int32(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("network", pa.string(), nullable=False),
        pa.field("model_digest", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Timed:
    """A tile, the network for it, and the seconds spent on it so far.

    ``network`` is a name of ``superres.models.NETWORKS``, the same for all tiles of an image;
    ``model_digest`` is that of the weights that upscaled it, empty before.
    """

    tile: Tile
    network: str
    seconds: float
    model_digest: str = ""


@dataclass(frozen=True)
class ReconstructedImage:
    """An image put together from tiles, not yet evaluated: one row of ``IMAGES``."""

    image_id: str
    uri: str
    width: int
    height: int
    patches: int
    seconds: float
    network: str
    model_digest: str


def sql_schema(schema: pa.Schema) -> str:
    """The schema as Spark writes it in DDL."""
    names = {
        pa.string(): "string",
        pa.int32(): "int",
        pa.float64(): "double",
        pa.binary(): "binary",
    }
    return ", ".join(f"`{field.name}` {names[field.type]} NOT NULL" for field in schema)


def tiles_to_batches(tiles: Iterable[Timed], scale: int | None = None) -> Iterator[pa.RecordBatch]:
    """Packs tiles into batches of about ``BATCH_BYTES``; ``scale`` is that of upscaled ones."""
    waiting: list[Timed] = []
    size = 0
    for timed in tiles:
        if waiting and size + timed.tile.planes.nbytes > BATCH_BYTES:
            yield _tile_batch(waiting, scale)
            waiting, size = [], 0
        waiting.append(timed)
        size += timed.tile.planes.nbytes
    if waiting:
        yield _tile_batch(waiting, scale)


def _tile_batch(timed: list[Timed], scale: int | None) -> pa.RecordBatch:
    tiles = [entry.tile for entry in timed]
    columns: dict[str, list[object]] = {
        "image_id": [tile.image_id for tile in tiles],
        "width": [tile.info.width for tile in tiles],
        "height": [tile.info.height for tile in tiles],
        "channels": [tile.info.channels for tile in tiles],
        "bit_depth": [tile.info.bit_depth for tile in tiles],
        "patch_size": [tile.patch_size for tile in tiles],
        "network": [entry.network for entry in timed],
        "row": [tile.row for tile in tiles],
        "column": [tile.column for tile in tiles],
        "plane_height": [tile.planes.shape[1] for tile in tiles],
        "plane_width": [tile.planes.shape[2] for tile in tiles],
        "seconds": [entry.seconds for entry in timed],
        "planes": [_little_endian(tile) for tile in tiles],
    }
    if scale is None:
        return pa.RecordBatch.from_pydict(columns, TILES)
    columns["scale"] = [scale] * len(tiles)
    columns["model_digest"] = [entry.model_digest for entry in timed]
    return pa.RecordBatch.from_pydict(columns, UPSCALED_TILES)


def _little_endian(tile: Tile) -> bytes:
    planes = tile.planes
    return (planes if sys.byteorder == "little" else planes.byteswap()).tobytes()


def batches_to_tiles(batches: Iterable[pa.RecordBatch]) -> Iterator[Timed]:
    """Unpacks a table of tiles; the planes are views into the batch."""
    for batch in batches:
        names = [name for name in batch.schema.names if name not in ("planes", "scale")]
        columns = [batch.column(name).to_pylist() for name in names]
        planes = batch.column("planes")
        for index, values in enumerate(zip(*columns, strict=True)):
            row = dict(zip(names, values, strict=True))
            info = ImageInfo(row["width"], row["height"], row["channels"], row["bit_depth"])
            kind = info.dtype.newbyteorder("<")
            shape = (info.channels, row["plane_height"], row["plane_width"])
            flat: Any = np.frombuffer(planes[index].as_buffer(), kind)
            tile = Tile(
                row["image_id"],
                info,
                row["patch_size"],
                row["row"],
                row["column"],
                flat.reshape(shape),
            )
            yield Timed(tile, row["network"], row["seconds"], row.get("model_digest", ""))


def images_to_batches(images: Iterable[ReconstructedImage]) -> Iterator[pa.RecordBatch]:
    """One batch for each image: there are few, and progress shows at once."""
    for image in images:
        columns = {name: [getattr(image, name)] for name in IMAGES.names}
        yield pa.RecordBatch.from_pydict(columns, IMAGES)


def batches_to_images(batches: Iterable[pa.RecordBatch]) -> Iterator[ReconstructedImage]:
    """Unpacks a table of reconstructed images."""
    for batch in batches:
        for row in batch.to_pylist():
            yield ReconstructedImage(**row)
