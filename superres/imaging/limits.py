"""Limits on input images. Imports nothing heavy, since the configuration imports it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The largest image that is accepted; checked before any pixel is decoded.

    Attributes:
        max_bytes: size of the encoded file.
        max_pixels: width times height, from the header.
    """

    max_bytes: int
    max_pixels: int
