"""Chooses the network for an image: by what compression as JPEG has left of it."""

from superres.models import CLEAN, NETWORKS, network_for
from superres.network.engine import fetch_weights
from superres.network.weights import Weights
from superres.pipeline.config import Processing, Restore
from superres.pipeline.recipe import Recipe


def network_of(restore: Restore, jpeg_quality: int | None) -> str:
    """The network for an image that was saved as JPEG at this quality; None: it was not.

    One of ``superres.models.NETWORKS``. ``restore`` is as in the configuration.
    """
    if restore == "off":
        return CLEAN
    return network_for(jpeg_quality if restore == "auto" else restore)


def restore_in(recipe: Recipe) -> Restore:
    """How the networks of a recipe are chosen: a model of its own is for every image."""
    return "off" if recipe.model_path is not None else recipe.restore


def fetch_networks(processing: Processing, scale: int, restore: Restore) -> dict[str, Weights]:
    """The weights of every network that images may get, by its name.

    Raises ``ModelError`` as ``load_weights`` does.
    """
    possible = {network_of(restore, quality) for quality in (None, *range(1, 101))}
    names = [name for name in NETWORKS if name in possible]
    return {name: fetch_weights(processing.checkpoint(scale, name), scale) for name in names}
