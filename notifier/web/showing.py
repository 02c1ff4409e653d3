"""Images and runs as the templates need them: names, figures and URLs."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from notifier.disclosure import public_detail, public_source
from notifier.pictures import WIDTHS, Kind, is_derived, version_of
from notifier.store.runs import RunStatus
from notifier.web.chart import decibels
from superres.pipeline.recipe import described
from superres.pipeline.records import Evaluation, Metrics, name_of

_LABELS: dict[Kind, str] = {
    "result": "Upscaled",
    "original": "Original",
    "bicubic": "Bicubic",
    "low": "Low resolution",
    "difference": "Difference",
}
_MOST_SECONDS = 1e9  # of a stage


@dataclass(frozen=True)
class Picture:
    """One kind of picture of an image: the URL at full size, and those of thumbnails by width."""

    kind: Kind
    label: str
    full: str
    thumbs: dict[int, str]

    @property
    def srcset(self) -> str:
        """The attribute of an ``img`` element."""
        return ", ".join(f"{url} {width}w" for width, url in self.thumbs.items())


@dataclass(frozen=True)
class Figures:
    """One row of the table of PSNR and SSIM, as text."""

    label: str
    psnr: str
    ssim: str


@dataclass(frozen=True)
class Shown:
    """An image for the templates.

    Attributes:
        others: pictures to compare the result with, the best first.
        gain: None where there is no original.
        loses: whether the gain is negative.
        whole: whether pictures are derived at full size.
        recipe: None for the default one.
    """

    image: Evaluation
    name: str
    source: str
    version: str
    result: Picture
    others: list[Picture]
    figures: list[Figures]
    gain: str | None
    loses: bool
    whole: bool
    credit_url: str | None
    recipe: str | None

    @property
    def viewer(self) -> dict[str, Any]:
        """Data for ``static/viewer.js``."""
        pictures = [self.result, *(other for other in self.others if other.kind != "low")]
        return {
            "name": self.name,
            "width": self.image.result.width,
            "height": self.image.result.height,
            "whole": self.whole,
            "pictures": [
                {
                    "kind": picture.kind,
                    "label": picture.label,
                    "full": picture.full,
                    "thumb": picture.thumbs[WIDTHS[-1]],
                }
                for picture in pictures
            ],
        }


def shown(image: Evaluation) -> Shown:
    """Prepares an image for the templates."""
    whole = is_derived(image)
    kinds: list[Kind] = ["original"] if image.original else []
    kinds += ["bicubic", "low"] if whole else ["low"]
    rows = [(_LABELS["result"], image.ours), (_LABELS["bicubic"], image.bicubic)]
    return Shown(
        image=image,
        name=name_of(image.source),
        source=public_source(image.source),
        version=version_of(image),
        result=picture_of(image, "result"),
        others=[picture_of(image, kind) for kind in kinds],
        figures=[_figures(label, measured) for label, measured in rows if measured],
        gain=gain_of(image),
        loses=(gain_of(image) or "").startswith("−"),
        whole=whole,
        credit_url=_web_url(image.attribution.url) if image.attribution else None,
        recipe=described(image.recipe.members) if image.recipe else None,
    )


def picture_of(image: Evaluation, kind: Kind) -> Picture:
    """The URLs of a picture; they change with the version of the image."""
    full = f"/pictures/{image.result_id}/{kind}?v={version_of(image)}"
    return Picture(kind, _LABELS[kind], full, {width: f"{full}&width={width}" for width in WIDTHS})


def downloads_of(image: Evaluation, *, as_received: bool) -> list[tuple[str, str, str]]:
    """Label, description and URL of each file to download.

    ``as_received``: whether the reader gets the original with its metadata.
    """
    result, low, original = image.result, image.low_resolution, image.original
    entries: list[tuple[Kind, str]] = [("result", f"{result.width} × {result.height}, PNG")]
    if original:
        how = "as received" if as_received else "without metadata"
        entries.append(("original", f"{original.width} × {original.height}, {how}"))
    entries.append(("low", f"{low.width} × {low.height}"))
    if is_derived(image):
        entries.append(("bicubic", f"{result.width} × {result.height}, PNG"))
    return [
        (_LABELS[kind], description, f"{picture_of(image, kind).full}&download=1")
        for kind, description in entries
    ]


def gain_of(image: Evaluation) -> str | None:
    """PSNR gain over bicubic, as text; None for an image that was not measured.

    A PSNR of None in the record is infinite: the image equals the original.
    """
    if image.ours is None or image.bicubic is None:
        return None
    ours, bicubic = image.ours.psnr, image.bicubic.psnr
    if ours is None:
        return "both equal" if bicubic is None else "∞ dB"
    return "−∞ dB" if bicubic is None else decibels(ours - bicubic)


def _figures(label: str, measured: Metrics) -> Figures:
    psnr = "∞ dB" if measured.psnr is None else f"{measured.psnr:.2f} dB"
    return Figures(label, psnr, f"{measured.ssim:.4f}")


def _web_url(url: str | None) -> str | None:
    """Returns the URL if it leads to the web, else None: records may hold anything."""
    if url is None or re.search(r"[\s\x00-\x1f]", url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.netloc else None


@dataclass(frozen=True)
class ShownRun:
    """A run for the templates; counts are None where they are unknown.

    ``recipe`` is None for the default one.
    """

    status: RunStatus
    images: int | None
    rejected: int | None
    seconds: float | None
    error: str
    recipe: str | None


def shown_run(status: RunStatus) -> ShownRun:
    """Prepares a run or an execution for the templates; its ``detail`` may hold anything."""
    detail = public_detail(status.detail)
    counts, rejected = detail.get("counts"), detail.get("rejected")
    images = counts.get("evaluate_images") if isinstance(counts, dict) else None
    recipe = detail.get("recipe")
    members = recipe.get("members") if isinstance(recipe, dict) else None
    reasons = [detail.get("error"), detail.get("cause")]
    return ShownRun(
        status,
        images if isinstance(images, int) else None,
        len(rejected) if isinstance(rejected, list) else None,
        _total_of(detail.get("seconds")),
        ": ".join(reason for reason in reasons if isinstance(reason, str) and reason)[:600],
        described(members) if isinstance(members, dict) else None,
    )


def _total_of(seconds: object) -> float | None:
    spent = list(seconds.values()) if isinstance(seconds, dict) else []
    real = all(isinstance(each, int | float) and 0 <= each <= _MOST_SECONDS for each in spent)
    return sum(spent) if spent and real else None
