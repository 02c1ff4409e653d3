"""Limits on input images. Imports nothing heavy, since the configuration imports it."""

from dataclasses import dataclass

_LEAST_MAX_SIDE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """The largest image that is accepted; checked before any pixel is decoded.

    Attributes:
        max_bytes: size of the encoded file.
        max_pixels: width times height, from the header.
    """

    max_bytes: int
    max_pixels: int

    @property
    def max_side(self) -> int:
        """The largest width or height in pixels: rows of a very wide image are held whole."""
        return max(_LEAST_MAX_SIDE, self.max_pixels // 200)
