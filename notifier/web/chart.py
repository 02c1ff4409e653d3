"""The small chart of gains: positions of its bars and lines, for the template that draws it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 420, 8, 86  # of the plot, in units of the drawing
_MIN_BARS = 30  # room for as many
_GREATEST = 2000.0  # dB: the difference of the greatest figures that a record may have
_GAP = 0.25  # between bars, of their width


@dataclass(frozen=True)
class Bar:
    """One image: a rectangle in units of the drawing, and its description."""

    x: float
    y: float
    width: float
    height: float
    label: str
    loses: bool


@dataclass(frozen=True)
class Chart:
    """``levels`` are heights and labels of the axis; ``summary`` describes it in words."""

    bars: list[Bar]
    levels: list[tuple[float, str]]
    mean: float
    summary: str


def chart_of(gains: Sequence[tuple[str, datetime, float]]) -> Chart | None:
    """Makes the chart of (image_id, time, gain in dB), oldest first; None where there are none.

    What no image has is skipped: it would make all others invisible, or the axis infinite.
    """
    gains = [each for each in gains if abs(each[2]) <= _GREATEST]  # NaN is not
    if not gains:
        return None
    values = [gain for _, _, gain in gains]
    top, bottom = _nice(max(*values, 0.0)), -_nice(-min(*values, 0.0))
    if top == bottom:
        top = 1.0

    def height_of(value: float) -> float:
        return round(_TOP + (top - value) / (top - bottom) * (_BOTTOM - _TOP), 2)

    step = (_RIGHT - _LEFT) / max(_MIN_BARS, len(values))
    # The newest is at the right end, however few there are.
    first = _RIGHT - step * len(values)
    bars = []
    for index, (_, moment, gain) in enumerate(gains):
        upper, lower = sorted((height_of(gain), height_of(0)))
        bars.append(
            Bar(
                round(first + (index + _GAP / 2) * step, 2),
                upper,
                round(step * (1 - _GAP), 2),
                round(max(lower - upper, 0.75), 2),
                f"{decibels(gain)}, {moment:%d %b %Y %H:%M} UTC",
                gain < 0,
            )
        )
    mean = sum(values) / len(values)
    levels = [(height_of(level), f"{level:g}".replace("-", "−")) for level in {top, 0.0, bottom}]
    images = "image" if len(values) == 1 else f"{len(values)} images"
    summary = (
        f"The last measured {images}, oldest first: mean {decibels(mean)}, "
        f"least {decibels(min(values))}, greatest {decibels(max(values))}."
    )
    return Chart(bars, sorted(levels), height_of(mean), summary)


def decibels(gain: float) -> str:
    """Formats a gain: with its sign, two decimals and the unit."""
    return f"{gain:+.2f} dB".replace("-", "−")


def _nice(value: float) -> float:
    """Rounds up to 1, 2, 5 or 10 times a power of ten; 0 stays 0."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= value)
