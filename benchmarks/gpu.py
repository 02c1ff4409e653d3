"""The engine on a GPU: results against the CPU's, and speed by batch and precision.

    .venv/bin/python benchmarks/gpu.py --json gpu.json
    .venv/bin/python benchmarks/gpu.py --device cpu --tiles 1 --side 64    # tries the script

Needs superres[gpu] and takes a few minutes. The limits that the shares refer to are the card's data
sheet: what memory could move if each layer read its input and wrote its output once, and what the
multiplications would take at the card's peak for the precision.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from superres.imaging.colour import Planes
from superres.imaging.decoding import decode
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png_bytes
from superres.models import default_model_path
from superres.network.engine import Engine, fetch_weights, make_engine, torch_engine
from superres.network.tiling import split, strips
from superres.network.upscaling import upscale_tiles
from superres.network.weights import FEATURES, HALO, KERNEL, MAPPINGS, SHRUNK

ROUNDS = 7


@dataclass(frozen=True)
class Card:
    """Data sheet: GB/s of memory; TFLOP/s in float32 and in float16 with tensor cores, dense."""

    gigabytes: float
    single: float
    half: float


CARDS = {
    "T4": Card(320, 8.1, 65),
    "A10G": Card(600, 31.2, 70),
    "L4": Card(300, 30.3, 121),
    "H100": Card(3350, 67, 989),
    "H200": Card(4800, 67, 989),
}


@dataclass(frozen=True)
class Measured:
    """One measurement: output megapixels a second, and shares of the card's limits."""

    what: str
    precision: str
    tiles: int
    megapixels_per_second: float
    share_of_memory: float | None
    share_of_peak: float | None


def bytes_and_operations(scale: int, half: bool) -> tuple[float, float]:
    """Least bytes moved, and multiply-adds times two, for one low-resolution pixel of RGB."""
    layers = [(1, FEATURES, 25), (FEATURES, SHRUNK, 1), *[(SHRUNK, SHRUNK, 9)] * MAPPINGS]
    layers += [(SHRUNK, FEATURES, 1)]
    moved = sum(inputs + outputs for inputs, outputs, _ in layers) + FEATURES + scale**2
    samples = 3 + 3 * scale**2
    multiplied = sum(inputs * outputs * taps for inputs, outputs, taps in layers)
    multiplied += FEATURES * KERNEL**2
    return moved * (2 if half else 4) + samples, 2.0 * multiplied


def check(scale: int, device: str) -> list[str]:
    """Compares with the CPU's engine; a line for each precision and depth.

    Raises ``click.ClickException`` when a difference is too large.
    """
    weights = fetch_weights(str(default_model_path(scale)), scale)
    lines = []
    for half in (False, True) if device != "cpu" else (False,):
        engine = torch_engine(weights, device, half=half)
        for dtype, allowed in ((np.uint8, 3 if half else 1), (np.uint16, 260 if half else 2)):
            low = _pictures(5, 96, dtype)
            expected = make_engine(weights).upscale(low).astype(int)
            worst = int(np.abs(engine.upscale(low) - expected).max())
            name = f"×{scale}, {'half' if half else 'single'}, {np.dtype(dtype).name}"
            lines.append(f"{name}: {worst} levels from the CPU at most")
            if worst > allowed:
                raise click.ClickException(f"{lines[-1]}; {allowed} are allowed")
    return lines


def _pictures(count: int, side: int, dtype: type = np.uint8) -> Planes:
    rows, columns = np.mgrid[0:side, 0:side]
    waves = [np.sin(rows / a) * np.cos(columns / b) for a, b in ((9, 7), (23, 5), (4, 31))]
    peak = np.iinfo(dtype).max
    picture: Planes = ((np.stack(waves) + 1) / 2 * peak).astype(dtype)
    return cast(Planes, np.stack([picture] * count))


def measure_engine(
    engine: Engine, precision: str, tiles: int, side: int, card: Card | None, device: str
) -> list[Measured]:
    """The network alone and the whole graph, with copies to and from the card."""
    low, luma = _pictures(tiles, side), np.zeros((tiles, 1, side, side), np.float32)
    whole = _seconds(lambda: engine.upscale(low), device)
    network = _seconds(lambda: engine.upscale_luma(luma), device)
    pixels = tiles * (side - 2 * HALO) ** 2
    moved, operations = bytes_and_operations(engine.scale, precision == "half")
    measured = []
    for what, seconds in (("network alone, float32 in and out", network), ("samples", whole)):
        rate = pixels / seconds
        peak = (card.half if precision == "half" else card.single) if card else 0.0
        measured.append(
            Measured(
                what,
                precision,
                tiles,
                rate * engine.scale**2 / 1e6,
                rate * moved / (card.gigabytes * 1e9) if card else None,
                rate * operations / (peak * 1e12) if card else None,
            )
        )
    return measured


def measure_pipeline(
    engine: Engine, precision: str, tiles: int, side: int, device: str
) -> Measured:
    """Decode, tiles, engine, PNG in one process: what one Spark task does."""
    rows = [_pictures(1, side)[0]] * tiles
    encoded = encode_png_bytes(np.concatenate(rows, axis=2))

    def run() -> None:
        image = decode(encoded, Limits(1 << 40, 1 << 40))
        cut = split("image", image.info, image.planes(), 512)
        upscaled = np.concatenate(list(strips(upscale_tiles(cut, engine))), axis=1)
        encode_png_bytes(upscaled)

    seconds = _seconds(run, device)
    megapixels = tiles * side**2 * engine.scale**2 / 1e6
    return Measured("pipeline of one process", precision, tiles, megapixels / seconds, None, None)


def _seconds(run: Callable[[], object], device: str) -> float:
    run()
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _card(name: str) -> Card | None:
    """The data sheet of a device named like "NVIDIA H100 80GB HBM3"."""
    return next((card for known, card in CARDS.items() if known in name.split()), None)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


@click.command()
@click.option("--device", default="cuda", show_default=True)
@click.option("--scale", default=2, show_default=True)
@click.option("--side", default=528, show_default=True, help="Of a tile, with its halo.")
@click.option("--tiles", "counts", multiple=True, type=int, default=(1, 4, 16), show_default=True)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write all figures here."
)
def main(
    device: str, scale: int, side: int, counts: tuple[int, ...], json_file: Path | None
) -> None:
    """Checks and measures the engine on a GPU."""
    console = Console()
    name = "CPU" if device == "cpu" else torch.cuda.get_device_name(device)
    card = _card(name)
    console.print(f"{name}, torch {torch.__version__}, ×{scale}, tiles of {side}")
    for each in (2, 3, 4):
        for line in check(each, device):
            console.print(line)
    weights = fetch_weights(str(default_model_path(scale)), scale)
    measured: list[Measured] = []
    for precision in ("single",) if device == "cpu" else ("single", "half"):
        engine = torch_engine(weights, device, half=precision == "half")
        for tiles in counts:
            measured += measure_engine(engine, precision, tiles, side, card, device)
            measured.append(measure_pipeline(engine, precision, tiles, side, device))
    table = Table()
    for heading in ("what", "precision", "tiles", "Mpx / s", "of memory", "of peak"):
        table.add_column(heading)
    for row in measured:
        shares = _share(row.share_of_memory), _share(row.share_of_peak)
        rate = f"{row.megapixels_per_second:.1f}"
        table.add_row(row.what, row.precision, str(row.tiles), rate, *shares)
    console.print(table)
    if json_file is not None:
        content = {"device": name, "measured": [asdict(row) for row in measured]}
        json_file.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
