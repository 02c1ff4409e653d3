"""The networks for the options of a command."""

from functools import cache
from pathlib import Path

from superres.models import CLEAN
from superres.network.engine import Engine, fetch_weights, make_engine
from superres.network.precision import decided_recipe
from superres.network.restore import network_of, network_of_image
from superres.network.weights import Weights
from superres.pipeline.config import Processing, Settings


class Engines:
    """The engines of the configured networks, each made when it is first used.

    Attributes:
        recipe: of what they make.
    """

    def __init__(self, processing: Processing) -> None:
        self._processing = processing
        self._scale = processing.upscale_factor
        self.recipe = decided_recipe(Settings(processing=processing), self._scale)
        self._names: dict[str, str] = {}
        self._engine = cache(self._make)

    def for_file(self, file: Path) -> Engine:
        """The engine for an image: ``processing.restore`` chooses by how it was saved."""
        return self._engine(network_of_image(self.recipe, file))

    def for_quality(self, jpeg_quality: int | None) -> Engine:
        """The engine for an image that was saved as JPEG at this quality; None: it was not."""
        return self._engine(network_of(self.recipe, jpeg_quality))

    @property
    def names(self) -> str:
        """The networks made so far: the file name of each, and the first digits of its digest."""
        return ", ".join(self._names.values())

    def name_of(self, engine: Engine) -> str:
        """As in ``names``."""
        return self._names[engine.digest]

    def file_name_of(self, engine: Engine) -> str:
        """The file name of an engine's network."""
        return self._names[engine.digest].rpartition(" ")[0]

    def _make(self, network: str) -> Engine:
        weights = weights_for(self._processing, network)
        name = self._processing.checkpoint_name(self._scale, network)
        self._names[weights.digest] = f"{name} {weights.digest[:12]}"
        return make_engine(weights, self._processing.device, self.recipe.precision)


def weights_for(processing: Processing, network: str = CLEAN) -> Weights:
    """Loads the configured checkpoint, or that of an included network."""
    scale = processing.upscale_factor
    return fetch_weights(processing.checkpoint(scale, network), scale)
