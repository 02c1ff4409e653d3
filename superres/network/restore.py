"""Chooses the network for an image: by what compression as JPEG has left of it."""

from pathlib import Path

from superres.imaging.jpeg import jpeg_quality
from superres.models import CLEAN, NETWORKS, network_for
from superres.network.engine import fetch_weights
from superres.network.weights import Weights
from superres.pipeline.config import Processing
from superres.pipeline.recipe import Recipe


def network_of(recipe: Recipe, jpeg_quality: int | None) -> str:
    """The network for an image that was saved as JPEG at this quality; None: it was not.

    One of ``superres.models.NETWORKS``. A model of the recipe's own is for every image, and counts
    as ``CLEAN``.
    """
    if recipe.model_path is not None or recipe.restore == "off":
        return CLEAN
    return network_for(jpeg_quality if recipe.restore == "auto" else recipe.restore)


def network_of_image(recipe: Recipe, content: bytes | Path) -> str:
    """The network for an encoded image, whose header is read if that decides."""
    return network_of(recipe, jpeg_quality(content) if _depends_on_image(recipe) else None)


def fetch_networks(processing: Processing, scale: int, recipe: Recipe) -> dict[str, Weights]:
    """The weights of every network that images may get, by its name.

    Raises ``ModelError`` as ``load_weights`` does.
    """
    names = NETWORKS if _depends_on_image(recipe) else (network_of(recipe, None),)
    return {name: fetch_weights(processing.checkpoint(scale, name), scale) for name in names}


def _depends_on_image(recipe: Recipe) -> bool:
    return recipe.model_path is None and recipe.restore == "auto"
