"""The limits that an input must keep. Without dependencies: the configuration needs it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What an image may be at most; checked before any pixel is decoded.

    Attributes:
        max_bytes: of the encoded file.
        max_pixels: width times height, as the header tells them.
    """

    max_bytes: int
    max_pixels: int
