"""Plain loops over images in a pool of warm processes, to compare Spark with.

``upscale_plainly`` uses our own decoder, engine, colour code and encoder on whole images, so that
the difference to the jobs is the cost of Spark, tiles and tables. ``upscale_with_opencv`` uses
OpenCV alone, with the same network. Both write a whole file or none.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from superres.imaging.colour import Planes
from superres.imaging.decoding import decode
from superres.imaging.png import encode_png
from superres.network.engine import Engine, fetch_weights, make_engine
from superres.network.tiling import split, strips
from superres.network.upscaling import upscale_tiles, upscaled_info
from superres.pipeline import storage
from superres.pipeline.config import Processing

Parts = dict[str, float]
"""Seconds of one image by what they were spent on."""

# Each process loads its network when it starts, as a Spark worker does.
_engine: Engine
_network: Any
_network_seconds = 0.0


class WarmPool:
    """Processes with a loaded network; ``run`` gives each image to the next free process."""

    def __init__(self, processes: int, prepare: Callable[[int], None], scale: int) -> None:
        self._processes = processes
        # Spawned, not forked: this process has threads and a Java gateway.
        self._pool = ProcessPoolExecutor(
            processes, get_context("spawn"), initializer=prepare, initargs=(scale,)
        )

    def run(
        self, work: Callable[[Path, Path], Parts], images: Sequence[Path], target: Path
    ) -> Parts:
        """Upscales ``images`` into ``target``; returns the seconds of a process for each part."""
        outputs = [target / f"{image.stem}.png" for image in images]
        total: Parts = {}
        for parts in self._pool.map(work, images, outputs, chunksize=1):
            for name, seconds in parts.items():
                total[name] = total.get(name, 0.0) + seconds / self._processes
        return total

    def close(self) -> None:
        """Ends the processes."""
        self._pool.shutdown()


def prepare_plainly(scale: int) -> None:
    """Makes this process's engine, with a clock around the network."""
    global _engine
    engine = make_engine(fetch_weights(Processing().checkpoint(scale), scale))

    def timed(low: Planes) -> Planes:
        global _network_seconds
        started = time.perf_counter()
        high = engine.upscale(low)
        _network_seconds += time.perf_counter() - started
        return high

    _engine = replace(engine, upscale=timed)


def upscale_plainly(source: Path, target: Path) -> Parts:
    """Decode, whole-image FSRCNN, encode: the functions of the jobs, one tile an image."""
    global _network_seconds
    _network_seconds = 0.0
    started = time.perf_counter()
    image = decode(source.read_bytes(), Processing().limits)
    planes = image.planes()
    decoded = time.perf_counter()
    side = max(image.info.width, image.info.height)
    tiles = list(upscale_tiles(split("image", image.info, planes, side), _engine))
    upscaled = time.perf_counter()
    with storage.staged(str(target)) as path:
        encode_png(strips(tiles), upscaled_info(image.info, _engine.scale), path)
    return {
        "decode": decoded - started,
        "network": _network_seconds,
        "tiles": upscaled - decoded - _network_seconds,
        "encode": time.perf_counter() - upscaled,
    }


def prepare_with_opencv(scale: int) -> None:
    """Loads our ONNX file into OpenCV's default engine, one thread as for the others."""
    global _network
    import cv2

    cv2.setNumThreads(1)
    checkpoint = Path(Processing().checkpoint(scale))
    _network = cv2.dnn.readNetFromONNX(str(checkpoint.with_suffix(".onnx")))


def upscale_with_opencv(source: Path, target: Path) -> Parts:
    """imread, luma through cv2.dnn, chroma by INTER_CUBIC, imwrite.

    The PNG is written with the filter that ours has and zlib's quickest level; of OpenCV's settings
    that give files about as small as ours it is the quickest.
    """
    import cv2

    started = time.perf_counter()
    image = cv2.imread(str(source), cv2.IMREAD_COLOR)
    if image is None:
        raise OSError(f"OpenCV could not read {source}")
    decoded = time.perf_counter()
    luma, red, blue = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb))
    # The network takes luma in the studio range (superres.imaging.colour); OpenCV's is full range.
    blob = luma.astype(np.float32)[np.newaxis, np.newaxis]
    blob *= 219 / 255 / 255
    blob += 16 / 255
    before = time.perf_counter()
    _network.setInput(blob)
    upscaled = _network.forward()[0, 0]
    after = time.perf_counter()
    high = cv2.convertScaleAbs(
        np.maximum(upscaled, np.float32(16 / 255)), alpha=255 * 255 / 219, beta=-16 * 255 / 219
    )
    size = (high.shape[1], high.shape[0])
    chroma = [cv2.resize(plane, size, interpolation=cv2.INTER_CUBIC) for plane in (red, blue)]
    result = cv2.cvtColor(cv2.merge([high, *chroma]), cv2.COLOR_YCrCb2BGR)
    coloured = time.perf_counter()
    unfinished = target.with_name(f".{target.name}")  # imwrite chooses the format by the suffix
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    if not cv2.imwrite(str(unfinished), result, settings):
        raise OSError(f"OpenCV could not write {unfinished}")
    unfinished.replace(target)
    return {
        "decode": decoded - started,
        "network": after - before,
        "colour": before - decoded + coloured - after,
        "encode": time.perf_counter() - coloured,
    }
