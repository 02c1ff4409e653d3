"""Checks an installation: ``python -m superres.network.self_test [onnxruntime|torch]``.

A tiny image goes the whole way (PNG, libvips, network, colour, PNG) and the SHA-256 of the result's
pixels is compared. Processors and engines differ in the last digits of a sum, but the image is
chosen so that none of its results lies nearer than 1/200 of a level to where rounding turns, some
thirty times what onnxruntime and torch differ by. So one digest holds for all of them.
"""

import hashlib
import sys
from typing import Literal, get_args

import numpy as np

from superres.errors import ModelError, SuperresError
from superres.imaging.colour import Planes
from superres.imaging.decoding import decode
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png_bytes
from superres.models import default_model_path
from superres.network.engine import Engine, make_engine, torch_engine
from superres.network.upscaling import upscale_image
from superres.network.weights import load_weights

Library = Literal["onnxruntime", "torch"]

_EXPECTED = "7e58521b4c58137180ccef91e8ac77ec051777d93d7ded8e637e15e70d4765dd"
_LIMITS = Limits(1 << 20, 1 << 20)


def tiny_image() -> Planes:
    """Six by six pixels in three colours that look like nothing."""
    row, column = np.mgrid[0:6, 0:6]
    colours = [40 + (17 * column + 826 * row + 61 * c + 118 * row * column) % 176 for c in range(3)]
    return np.stack(colours).astype(np.uint8)


def result_digest(engine: Engine) -> str:
    """The SHA-256 over the pixels of the enlarged image."""
    image = decode(encode_png_bytes(tiny_image()), _LIMITS)
    enlarged = np.concatenate(list(upscale_image(image, 512, engine)), axis=1)
    back = decode(encode_png_bytes(enlarged), _LIMITS).planes()
    return hashlib.sha256(back.tobytes()).hexdigest()


def check(library: Library) -> str:
    """Super-resolves with the weights that the package brings; returns what was found right.

    torch runs on the CPU here: where this is asked, the GPU's parts may not be installed yet.

    Raises:
        ModelError: the result is another one.
        PrerequisiteError: the library is not installed.
    """
    weights = load_weights(default_model_path(2), 2)
    engine = make_engine(weights) if library == "onnxruntime" else torch_engine(weights, "cpu")
    digest = result_digest(engine)
    if digest != _EXPECTED:
        raise ModelError(
            f"self-test with {library}: the result's digest is {digest}, expected {_EXPECTED}; "
            "install wheel and wheelhouses of one release anew"
        )
    return f"self-test with {library}: {digest[:12]}, as expected"


def main() -> int:
    """Checks the library that is named, onnxruntime without a name."""
    name = sys.argv[1] if len(sys.argv) > 1 else "onnxruntime"
    if name not in get_args(Library) or len(sys.argv) > 2:
        print("usage: python -m superres.network.self_test [onnxruntime|torch]", file=sys.stderr)
        return 2
    try:
        print(check("torch" if name == "torch" else "onnxruntime"))
    except (SuperresError, ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
