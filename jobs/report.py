"""What a run shows at its end: a table of figures and a picture of the results."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.intake import TakenIn
from superres import storage
from superres.comparison import Comparison, compare_planes, side_by_side
from superres.images import Limits, decode_file
from superres.layout import Layout
from superres.records import Evaluation, Metrics

_ROWS = 40
_PICTURES = 4
_PICTURE_PIXELS = 16_000_000  # larger results are left out of the picture
_ANY_SIZE = Limits(1 << 62, 1 << 62)  # these files are our own

Evaluated = tuple[TakenIn, Evaluation]


def print_table(console: Console, evaluated: Sequence[Evaluated]) -> None:
    """PSNR and SSIM of ours and of bicubic for each image, and their means."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("image", overflow="fold")
    for heading in ("result", "PSNR ours", "bicubic", "gain", "SSIM ours", "bicubic"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one, record in evaluated[:_ROWS]:
        size = f"{record.result.width}×{record.result.height}"
        table.add_row(escape(one.path.name), size, *_cells(record.ours, record.bicubic))
    if len(evaluated) > _ROWS:
        table.add_row(f"… and {len(evaluated) - _ROWS} more", "", "", "", "", "", "")
    table.add_section()
    ours = _mean([record.ours for _, record in evaluated])
    table.add_row("mean", "", *_cells(ours, _mean([record.bicubic for _, record in evaluated])))
    console.print(table)


def _cells(ours: Metrics | None, bicubic: Metrics | None) -> list[str]:
    if ours is None or bicubic is None:
        return ["–"] * 5
    gain = "–"
    if ours.psnr is not None and bicubic.psnr is not None:
        gain = f"{ours.psnr - bicubic.psnr:+.2f}"
    decibels = ["equal" if m.psnr is None else f"{m.psnr:.2f}" for m in (ours, bicubic)]
    return [*decibels, gain, f"{ours.ssim:.4f}", f"{bicubic.ssim:.4f}"]


def _mean(metrics: Sequence[Metrics | None]) -> Metrics | None:
    measured = [(m.psnr, m.ssim) for m in metrics if m is not None and m.psnr is not None]
    if not measured:
        return None
    psnr, ssim = (sum(values) / len(measured) for values in zip(*measured, strict=True))
    return Metrics(psnr=psnr, ssim=ssim)


def result_picture(evaluated: Sequence[Evaluated], layout: Layout) -> Path | None:
    """Draws bicubic, ours and the original side by side; None when there is nothing to draw."""
    small = [
        (one, record)
        for one, record in evaluated
        if record.result.width * record.result.height <= _PICTURE_PIXELS
        and not any(
            storage.is_s3(stored.uri)
            for stored in (record.result, record.low_resolution, record.original)
            if stored is not None
        )
    ]
    if not small:
        return None
    shown = [_comparison(one.path.name, record) for one, record in small[:_PICTURES]]
    folder = Path(layout.dataset.reconstructed_images_dir)
    path = folder / f"comparison-{layout.run_id}.png"
    side_by_side(shown, path)
    return path


def _comparison(name: str, record: Evaluation) -> Comparison:
    low = decode_file(Path(record.low_resolution.uri), _ANY_SIZE)
    ours = decode_file(Path(record.result.uri), _ANY_SIZE).planes()
    original = None
    if record.original is not None:
        original = decode_file(Path(record.original.uri), _ANY_SIZE).planes()
    low_planes = low.planes()
    if ours.shape[0] < low_planes.shape[0]:  # processing.grayscale
        low_planes = decode_file(
            Path(record.low_resolution.uri), _ANY_SIZE, grayscale=True
        ).planes()
    return compare_planes(name, low_planes, ours, record.scale, original)
