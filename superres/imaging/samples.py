"""Sample images: the photographs in the scikit-image wheel."""

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


def sample_images() -> list[Path]:
    """The colour photographs in the scikit-image wheel.

    Raises ``PrerequisiteError`` when scikit-image is not installed.
    """
    from importlib import resources

    try:
        folder = Path(str(resources.files("skimage") / "data"))
    except ModuleNotFoundError:
        raise PrerequisiteError(
            "the sample photographs come with scikit-image, which is not installed; "
            "run make setup, or use a source of your own"
        ) from None
    return [path for name in _NAMES if (path := folder / name).is_file()]
