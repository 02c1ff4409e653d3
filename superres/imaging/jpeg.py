"""What JPEG compression does to luma, for training and measuring."""

import io

import numpy as np
from PIL import Image

from superres.imaging.colour import FloatPlane


def through_jpeg(luma: FloatPlane, quality: int) -> FloatPlane:
    """Compresses (h, w) luma on [0, 255] as a grey JPEG and decodes it again.

    Rounds to whole levels first, as a file holds them. ``quality`` is libjpeg's, 1 to 100.
    """
    levels = np.clip(np.rint(luma), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), dtype=np.float32)
