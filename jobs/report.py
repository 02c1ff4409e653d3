"""The report at the end of a run: a table of figures, rejections and a picture of the results."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from superres.imaging.decoding import decode_file
from superres.imaging.jpeg import planes_through_jpeg
from superres.imaging.limits import Limits
from superres.pipeline import storage
from superres.pipeline.layout import Layout
from superres.pipeline.recipe import described
from superres.pipeline.records import (
    Evaluation,
    Metrics,
    RejectedImage,
    RunManifest,
    manifest_name,
    name_of,
)
from superres.quality.comparison import Comparison, compare_planes, side_by_side
from superres.quality.metrics import decibels

_MOST_REPORTED = 1000  # images whose records are read for the report
_ROWS = 40
_SCORES = ("PSNR ours", "bicubic", "gain", "SSIM ours", "bicubic")
_PICTURES = 4
_PICTURE_PIXELS = 16_000_000  # larger results are left out of the picture
_ANY_SIZE = Limits(1 << 62, 1 << 62)  # these files are our own


def print_report(
    console: Console,
    ids: list[str],
    manifest: RunManifest,
    layout: Layout,
    seconds: float,
    place: str,
) -> tuple[int, int]:
    """Prints the results to standard output and remarks to ``console``.

    ``seconds`` is the time that Spark took, and ``place`` where people find the results.
    Returns how many of the images that it looked at are finished, and how many rejected.
    """
    results = Console(highlight=False)
    outcomes = [outcome_of(image_id, layout) for image_id in ids[:_MOST_REPORTED]]
    evaluations = [record for record in outcomes if isinstance(record, Evaluation)]
    rejected = [record for record in outcomes if isinstance(record, RejectedImage)]
    print_table(results, sorted(evaluations, key=lambda record: name_of(record.source)))
    if len(ids) > _MOST_REPORTED:
        console.print(f"(of {_MOST_REPORTED:,} of {len(ids):,} images)")
    for rejection in rejected:
        console.print(rejection_line(rejection))
    stages = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in manifest.seconds.items())
    console.print(f"Spark took {seconds:.0f} s: {stages}")
    earlier = len(evaluations) - manifest.counts["evaluate_images"]
    if earlier > 0 and len(ids) <= _MOST_REPORTED:
        console.print(
            f"{earlier} of these images were finished before; --redo processes them again"
        )
    if layout.recipe.key:
        results.print(f"Recipe   {escape(described(layout.recipe.members))}", soft_wrap=True)
    results.print(f"Results  {escape(place)}", soft_wrap=True)
    picture = result_picture(evaluations, layout)
    if picture:
        results.print(f"Picture  {picture}", soft_wrap=True)
    rejected_by_run = set(manifest.rejected).intersection(ids)
    return len(evaluations), len(rejected_by_run.union(record.image_id for record in rejected))


def print_table(console: Console, evaluated: Sequence[Evaluation]) -> None:
    """Prints PSNR and SSIM of ours and of bicubic for each image, and their means.

    The means are over the images that were measured and where neither equals the original; where
    these are not all, their number is in the table. Without any, there are no columns for them.
    """
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("image", overflow="fold")
    are_measured = any(record.ours for record in evaluated)
    for heading in ("result", *(_SCORES if are_measured else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    for record in evaluated[:_ROWS]:
        size = f"{record.result.width}×{record.result.height}"
        cells = _cells(record.ours, record.bicubic) if are_measured else []
        table.add_row(escape(name_of(record.source)), size, *cells)
    if len(evaluated) > _ROWS:
        table.add_row(f"… and {len(evaluated) - _ROWS} more")
    if are_measured:
        _add_means(table, evaluated)
    console.print(table)


def _add_means(table: Table, evaluated: Sequence[Evaluation]) -> None:
    table.add_section()
    figures = [
        (ours.psnr, bicubic.psnr, ours.ssim, bicubic.ssim)
        for ours, bicubic in ((record.ours, record.bicubic) for record in evaluated)
        if ours and bicubic and ours.psnr is not None and bicubic.psnr is not None
    ]
    label = "mean" if len(figures) in (0, len(evaluated)) else f"mean of {len(figures)}"
    table.add_row(label, "", *_cells(*_means(figures)))


def _cells(ours: Metrics | None, bicubic: Metrics | None) -> list[str]:
    if ours is None or bicubic is None:
        return ["–"] * 5
    gain = "–"
    if ours.psnr is not None and bicubic.psnr is not None:
        gain = f"{ours.psnr - bicubic.psnr:+.2f}"
    psnrs = [decibels(ours.psnr), decibels(bicubic.psnr)]
    return [*psnrs, gain, f"{ours.ssim:.4f}", f"{bicubic.ssim:.4f}"]


def _means(
    figures: Sequence[tuple[float, float, float, float]],
) -> tuple[Metrics | None, Metrics | None]:
    if not figures:
        return None, None
    means = [sum(values) / len(figures) for values in zip(*figures, strict=True)]
    return Metrics(psnr=means[0], ssim=means[2]), Metrics(psnr=means[1], ssim=means[3])


def outcome_of(image_id: str, layout: Layout) -> Evaluation | RejectedImage | None:
    """An image's evaluation, else its rejection; None while it has neither."""
    if storage.exists(uri := layout.evaluation(image_id)):
        return Evaluation.from_json(storage.read_bytes(uri), uri)
    # The same place, with the default recipe.
    for uri in dict.fromkeys((layout.rejection(image_id), layout.arrival_rejection(image_id))):
        if storage.exists(uri):
            return RejectedImage.from_json(storage.read_bytes(uri), uri)
    return None


def rejection_line(record: RejectedImage) -> str:
    """A rejection in one line, as rich's markup."""
    return f"[yellow]rejected[/] {escape(name_of(record.source))}: {escape(record.reason)}"


def figures_of(record: Evaluation) -> str:
    """PSNR of ours and the gain over bicubic, for a line of text; empty without an original."""
    psnr, _, gain, *_ = _cells(record.ours, record.bicubic)
    return "" if record.ours is None else f"  {psnr} dB ({gain})"


def result_picture(evaluated: Sequence[Evaluation], layout: Layout) -> Path | None:
    """Draws bicubic, ours and the original side by side; None when there is nothing to draw."""
    small = [
        record
        for record in evaluated
        if record.result.width * record.result.height <= _PICTURE_PIXELS
        and not any(
            storage.is_s3(stored.uri)
            for stored in (record.result, record.low_resolution, record.original)
            if stored is not None
        )
    ]
    if not small:
        return None
    shown = [_comparison(record) for record in small[:_PICTURES]]
    folder = Path(layout.dataset.reconstructed_images_dir)
    path = folder / f"comparison-{manifest_name(layout.run_id, None, layout.recipe.key)}.png"
    side_by_side(shown, path)
    return path


def _comparison(record: Evaluation) -> Comparison:
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
    low_planes = planes_through_jpeg(low_planes, record.jpeg_quality)
    return compare_planes(name_of(record.source), low_planes, ours, record.scale, original)
