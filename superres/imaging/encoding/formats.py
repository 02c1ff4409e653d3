"""The formats of results, and what each can hold; imports nothing heavy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from superres.errors import ImageRejectedError

if TYPE_CHECKING:
    from superres.imaging.info import ImageInfo

FormatName = Literal["png", "jpeg", "webp", "avif", "tiff"]


@dataclass(frozen=True)
class Format:
    """What a format can hold.

    Attributes:
        label: its name for people.
        suffix: of its files, with the dot.
        default_quality: 1 to 100; None: it loses nothing, and has no quality.
        max_side: in pixels.
        max_pixels: width times height.
        has_16_bits: beside 8.
        has_alpha: whether it has transparency.
        has_grey: it holds grey as such, not as equal colours.
    """

    label: str
    suffix: str
    default_quality: int | None
    max_side: int
    max_pixels: int | None = None
    has_16_bits: bool = False
    has_alpha: bool = True
    has_grey: bool = True


FORMATS: dict[FormatName, Format] = {
    "png": Format("PNG", ".png", None, 2**31 - 1, has_16_bits=True),
    "jpeg": Format("JPEG", ".jpg", 90, 65_500, has_alpha=False),  # libjpeg's limit
    "webp": Format("WebP", ".webp", 85, 16_383, has_grey=False),
    # libavif's decoder, and with it every browser, refuses more.
    "avif": Format("AVIF", ".avif", 75, 32_768, max_pixels=1 << 28, has_grey=False),
    "tiff": Format("TIFF", ".tif", None, 2**31 - 1, has_16_bits=True),
}
SUFFIXES: dict[str, FormatName] = {
    **{kind.suffix: name for name, kind in FORMATS.items()},
    ".jpeg": "jpeg",
    ".tiff": "tiff",
}
"""The format that a name ends in, by suffix in small letters."""

FULL_COLOUR_QUALITY = 90
"""From this quality on, JPEG and AVIF hold colour at full resolution (4:4:4), below at half.

So do libvips, mozjpeg and ImageMagick: who asks for less wants small files, and half the resolution
saves a quarter without being seen; who asks for more wants edges between colours sharp.
"""


@dataclass(frozen=True)
class Encoding:
    """A format, and its quality: 1 to 100, or None where it has none."""

    format: FormatName = "png"
    quality: int | None = None

    def __post_init__(self) -> None:
        if self.quality is not None and self.kind.default_quality is None:
            raise ValueError(f"{self.kind.label} loses nothing, so it has no quality")

    @property
    def kind(self) -> Format:
        """What the format can hold."""
        return FORMATS[self.format]

    @property
    def decided_quality(self) -> int:
        """The quality, or the format's default."""
        quality = self.quality or self.kind.default_quality
        assert quality is not None  # only for formats that have one
        return quality

    def check(self, info: "ImageInfo") -> None:
        """Raises ``ImageRejectedError`` when the format cannot hold an image, with the remedy."""
        kind, shape = self.kind, f"{info.width:,} × {info.height:,}"
        if info.bit_depth == 16 and not kind.has_16_bits:
            raise ImageRejectedError(
                f"it has 16 bits a sample, and {kind.label} holds 8; choose PNG or TIFF"
            )
        if info.has_alpha and not kind.has_alpha:
            raise ImageRejectedError(
                f"it has transparency, and {kind.label} has none; choose PNG, WebP, AVIF or TIFF"
            )
        if max(info.width, info.height) > kind.max_side:
            raise ImageRejectedError(
                f"the result has {shape} pixels, and a side of {kind.label} at most"
                f" {kind.max_side:,}; choose PNG or TIFF"
            )
        if kind.max_pixels is not None and info.width * info.height > kind.max_pixels:
            raise ImageRejectedError(
                f"the result has {shape} pixels, and {kind.label} at most {kind.max_pixels:,};"
                " choose JPEG, PNG or TIFF"
            )


DEFAULT_ENCODING = Encoding()
