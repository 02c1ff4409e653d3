"""Engines on one thread: seconds per output megapixel from decoded samples to finished samples.

    .venv/bin/python benchmarks/engines.py --scale 2
    .venv/bin/python benchmarks/engines.py --scale 2 --width 960 --height 540    # whole images
    git worktree add ../older COMMIT
    .venv/bin/python benchmarks/engines.py --scale 2 --against ../older

Measures a tile of 512 x 512 in the middle of an image, with its halo, or a whole small image. Every
way runs in a process of its own, one tile at a time, and the ways take turns, so that other load on
the machine affects all of them. ``--against`` adds the default engine of another checkout.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np

OLDER, NETWORK = "the other checkout", "luma network alone"
LIBRARIES = ("openvino", "onnxruntime", "torch")
ROOT = Path(__file__).resolve().parent.parent
PATCH = 512


# ---- in the process of a way; it imports what both checkouts have


def serve(way: str, scale: int, size: tuple[int, int] | None) -> None:
    """Answers each line of standard input with the seconds of one run."""
    run = _prepared(way, scale, size)
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.process_time()
        run()
        print(time.process_time() - started, flush=True)


def _prepared(way: str, scale: int, size: tuple[int, int] | None) -> Callable[[], object]:
    from superres.imaging.info import ImageInfo
    from superres.network.tiling import split
    from superres.network.upscaling import upscale_tiles

    engines: Any = import_module("superres.network.engine")  # each checkout's has other functions
    checkpoint = ROOT / f"superres/models/fsrcnn_x{scale}.safetensors"
    weights = engines.fetch_weights(str(checkpoint), scale)
    if way == OLDER:
        engine = engines.make_engine(weights)
    elif way == "torch":
        import torch

        torch.set_num_threads(1)
        engine = engines.torch_engine(weights, "cpu")
    else:
        library = engines.cpu_library() if way == NETWORK else way
        engine = engines.cpu_engine(weights, library)
    height, width = size or (3 * PATCH, 3 * PATCH)
    patch = max(size) if size else PATCH
    planes, info = _picture(height, width), ImageInfo(width, height, 3, 8)
    tiles = list(split("image", info, planes, patch))
    tile = tiles[len(tiles) // 2]
    if way == NETWORK:
        luma = tile.planes[np.newaxis, :1].astype(np.float32) / 255
        return lambda: engine.upscale_luma(luma)
    return lambda: list(upscale_tiles([tile], engine))


def _picture(height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth colours with noise, as in a photograph."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = np.stack(
        [np.sin(rows / a) * np.cos(columns / b) for a, b in ((9, 7), (23, 5), (4, 31))]
    )
    noise = np.random.default_rng(0).normal(0, 8, waves.shape)
    return np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8)


# ---- in the process that measures


@dataclass
class Way:
    """A process, and the seconds that it needed in each round."""

    name: str
    process: subprocess.Popen[str]
    seconds: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """One round."""
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        self.seconds.append(float(self.answer()))

    def answer(self) -> str:
        """The next line of the process."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise click.ClickException(f"the process of {self.name} ended early")
        return line


def _start(
    stack: ExitStack, way: str, scale: int, size: tuple[int, int] | None, checkout: Path
) -> Way:
    command = [sys.executable, __file__, "--serve", way, "--scale", str(scale)]
    if size:
        command += ["--height", str(size[0]), "--width", str(size[1])]
    process = stack.enter_context(
        subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": str(checkout)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    return Way(way, process)


@click.command()
@click.option("--scale", default=2, show_default=True)
@click.option("--width", type=int, help="Measure a whole image of this width and height.")
@click.option("--height", type=int)
@click.option("--rounds", default=15, show_default=True)
@click.option("--against", type=click.Path(path_type=Path, exists=True), help="Another checkout.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write all figures here."
)
@click.option("--serve", "served", hidden=True)
def main(
    scale: int,
    width: int | None,
    height: int | None,
    rounds: int,
    against: Path | None,
    json_file: Path | None,
    served: str | None,
) -> None:
    """Measures the engines on one thread, in turns."""
    size = (height, width) if height and width else None
    if served is not None:
        serve(served, scale, size)
        return
    names = [*LIBRARIES, NETWORK, *([OLDER] if against else [])]
    with ExitStack() as stack:
        ways = [
            _start(
                stack, name, scale, size, against.resolve() if name == OLDER and against else ROOT
            )
            for name in names
        ]
        for way in ways:
            way.answer()  # it is ready
        for _ in range(rounds):
            for way in ways:
                way.measure()
        for way in ways:
            assert way.process.stdin is not None
            way.process.stdin.close()
    height, width = size or (PATCH, PATCH)
    megapixels = height * width * scale**2 / 1e6
    base = ways[-1] if against else ways[0]
    for way in ways:
        ratios = [mine / its for mine, its in zip(way.seconds, base.seconds, strict=True)]
        click.echo(
            f"{way.name:20} {statistics.median(way.seconds) / megapixels:.4f} s/Mpx, "
            f"ratio to {base.name} {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f}–{max(ratios):.3f})"
        )
    if json_file is not None:
        json_file.write_text(json.dumps({way.name: way.seconds for way in ways}, indent=2) + "\n")


if __name__ == "__main__":
    main()
