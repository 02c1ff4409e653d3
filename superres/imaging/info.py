"""Size, channels and depth of an image, known from its header."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageInfo:
    """Size, channels and depth of a decoded image.

    Attributes:
        width: in pixels, EXIF orientation applied.
        height: likewise.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
        bit_depth: 8 or 16 bits a sample.
    """

    width: int
    height: int
    channels: int
    bit_depth: int

    @property
    def colours(self) -> int:
        """Channels without alpha: 1 or 3."""
        return self.channels - self.has_alpha

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha (not premultiplied)."""
        return self.channels in (2, 4)

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """NumPy type of a sample."""
        return np.dtype(np.uint8) if self.bit_depth == 8 else np.dtype(np.uint16)
