"""Checks an installation: ``python -m superres.network.self_test [cpu|torch]``.

Upscales a tiny image with all steps (PNG, libvips, network, colour, PNG) and compares the SHA-256
of the result's pixels. Processors and engines differ in the last digits of a sum, but in this image
no sample is nearer than 1/200 of a level to a rounding boundary, about thirty times the difference
between two engines. So one digest holds for all of them.
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
from superres.network.engine import Engine, cpu_library, make_engine, torch_engine
from superres.network.upscaling import upscale_image
from superres.network.weights import load_weights

Kind = Literal["cpu", "torch"]

_EXPECTED = "543ecd5c1b3c9b0ed69434a8234ab9de867a962f386439c4a0310ace13c42725"
_LIMITS = Limits(1 << 20, 1 << 20)


def tiny_image() -> Planes:
    """Six by six pixels in three colours: an arbitrary pattern."""
    row, column = np.mgrid[0:6, 0:6]
    colours = [
        40 + (1014 * column + 630 * row + 451 * c + 372 * row * column) % 176 for c in range(3)
    ]
    return np.stack(colours).astype(np.uint8)


def result_digest(engine: Engine) -> str:
    """The SHA-256 of the pixels of the upscaled image."""
    image = decode(encode_png_bytes(tiny_image()), _LIMITS)
    upscaled = np.concatenate(list(upscale_image(image, 512, engine)), axis=1)
    back = decode(encode_png_bytes(upscaled), _LIMITS).planes()
    return hashlib.sha256(back.tobytes()).hexdigest()


def check(kind: Kind) -> str:
    """Upscales the image with the included weights; returns a line for the log.

    ``cpu`` means the library that a CPU uses here. torch runs on the CPU too: the GPU's libraries
    may not be installed yet.

    Raises:
        ModelError: the result differs.
        PrerequisiteError: the library is not installed.
    """
    weights = load_weights(default_model_path(2), 2)
    library = "torch" if kind == "torch" else cpu_library()
    engine = torch_engine(weights, "cpu") if kind == "torch" else make_engine(weights)
    digest = result_digest(engine)
    if digest != _EXPECTED:
        raise ModelError(
            f"self-test with {library}: the result's digest is {digest}, expected {_EXPECTED}; "
            "reinstall the wheel and the wheelhouses of one release"
        )
    return f"self-test with {library}: {digest[:12]}, as expected"


def main() -> int:
    """Checks the engine named by the argument; default: cpu."""
    name = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    if name not in get_args(Kind) or len(sys.argv) > 2:
        print("usage: python -m superres.network.self_test [cpu|torch]", file=sys.stderr)
        return 2
    try:
        print(check("torch" if name == "torch" else "cpu"))
    except (SuperresError, ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
