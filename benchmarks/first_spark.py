"""A first Spark version as anyone would write it: lists of floats, a UDF for each patch.

Patches of 64 pixels as arrays of floats, each upscaled by a Python UDF, grouped by image and put
together by another. It has no halo, so its images have seams, and it upscales grey.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from pyspark.sql import SparkSession, functions
from pyspark.sql.types import ArrayType, FloatType, IntegerType, StructField, StructType

from superres.models import default_model_path
from superres.network.engine import Engine, fetch_weights, make_engine
from superres.network.tiling import with_halo

SIDE = 64
PATCHES = ArrayType(
    StructType(
        [
            StructField("row", IntegerType()),
            StructField("column", IntegerType()),
            StructField("height", IntegerType()),
            StructField("width", IntegerType()),
            StructField("pixels", ArrayType(FloatType())),
        ]
    )
)
Patch = tuple[int, int, int, int, list[float]]
"""Row, column, height, width and pixels."""

_engines: dict[int, Engine] = {}


def upscale_folder(session: SparkSession, folder: Path, target: Path, scale: int) -> None:
    """Upscales every image of ``folder`` into ``target`` as PNG."""
    split = functions.udf(_split, PATCHES)
    upscale = functions.udf(lambda p, h, w: _upscale(p, h, w, scale), ArrayType(FloatType()))
    join = functions.udf(lambda path, patches: _join(path, patches, str(target), scale), "string")
    images = session.read.format("binaryFile").load(str(folder))
    patches = images.select("path", functions.explode(split("content")).alias("patch"))
    upscaled = patches.select(
        "path",
        "patch.row",
        "patch.column",
        "patch.height",
        "patch.width",
        upscale("patch.pixels", "patch.height", "patch.width").alias("pixels"),
    )
    columns = functions.struct("row", "column", "height", "width", "pixels")
    grouped = upscaled.groupBy("path").agg(functions.collect_list(columns).alias("patches"))
    grouped.select(join("path", "patches")).collect()


def _split(content: bytes) -> list[Patch]:
    luma = np.asarray(Image.open(io.BytesIO(content)).convert("L"), np.float32) / 255
    patches = []
    for row in range(0, luma.shape[0], SIDE):
        for column in range(0, luma.shape[1], SIDE):
            part = luma[row : row + SIDE, column : column + SIDE]
            patches.append((row, column, *part.shape, part.ravel().tolist()))
    return patches


def _upscale(pixels: list[float], height: int, width: int, scale: int) -> list[float]:
    if scale not in _engines:
        _engines[scale] = make_engine(fetch_weights(str(default_model_path(scale)), scale))
    low = np.array(pixels, np.float32).reshape(1, 1, height, width)
    upscaled: list[float] = _engines[scale].upscale_luma(with_halo(low)).ravel().tolist()
    return upscaled


def _join(path: str, patches: list[Patch], target: str, scale: int) -> str:
    rows = max(row + height for row, _, height, _, _ in patches)
    columns = max(column + width for _, column, _, width, _ in patches)
    whole = np.empty((rows * scale, columns * scale), np.float32)
    for row, column, height, width, pixels in patches:
        part = np.array(pixels, np.float32).reshape(height * scale, width * scale)
        whole[row * scale : (row + height) * scale, column * scale : (column + width) * scale] = (
            part
        )
    levels = np.clip(np.rint(whole * 255), 0, 255).astype(np.uint8)
    file = Path(target) / f"{Path(path).stem}.png"
    Image.fromarray(levels).save(file)
    return str(file)
