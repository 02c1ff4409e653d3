"""Photographs that are on the machine already: those that the scikit-image wheel carries."""

from pathlib import Path

from superres.errors import PrerequisiteError

_NAMES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)


def sample_photographs() -> list[Path]:
    """The colour photographs that the scikit-image wheel carries.

    Raises ``PrerequisiteError`` with the remedy when scikit-image is not installed.
    """
    from importlib import resources

    try:
        folder = Path(str(resources.files("skimage") / "data"))
    except ModuleNotFoundError:
        raise PrerequisiteError(
            "the sample photographs come with scikit-image, which is not installed; "
            "run make setup, or name a source of your own"
        ) from None
    return [path for name in _NAMES if (path := folder / name).is_file()]
