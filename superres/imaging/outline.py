"""What the structure of a file says about an image, before any decoder sees it."""

from dataclasses import dataclass, replace

MOST_PAGES = 10_000
"""Of one file; decoders look at all of them, some at each as often as there are others."""

DEEP_COLOUR_PASSES, NARROW_RANGE_PASSES = 125, 30
"""What converting colours of 16 bits, and stretching a narrow range, takes at most, in passes."""

# A later frame is drawn over the one before, in colours with alpha; each of both is kept.
_FRAME_PIXEL_BYTES, _FRAME_HELD_BYTES, _FRAME_PASSES = 4, 12, 8


@dataclass(frozen=True)
class Outline:
    """Size of an image, and what decoding it costs.

    Attributes:
        width: in pixels, before the orientation is applied.
        height: likewise.
        pixel_bytes: of a decoded pixel, all channels; at least as many as it comes to.
        held_bytes: of a pixel, that the decoder keeps of the whole image beside the decoded ones;
            0 where it keeps a few rows.
        passes: how often the decoder goes through the whole image, in such passes as are as quick
            as a scan of a JPEG.
        pages: how many pages or frames there are.
        most_pixels: that the bytes of the file can stand for; None if there is no such bound.
    """

    width: int
    height: int
    pixel_bytes: int
    held_bytes: float = 0
    passes: int = 1
    pages: int = 1
    most_pixels: int | None = None

    def turned(self) -> "Outline":
        """The costs of an image that is turned or mirrored, which is held as it is in the file."""
        return replace(self, held_bytes=self.held_bytes + self.pixel_bytes)

    def of_frame(self, index: int) -> "Outline":
        """The costs of a later frame of an animation, from 0, which needs all before it."""
        return replace(
            self,
            pixel_bytes=_FRAME_PIXEL_BYTES,
            held_bytes=_FRAME_HELD_BYTES,
            passes=_FRAME_PASSES * (index + 1),
        )
