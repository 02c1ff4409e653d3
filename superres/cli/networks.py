"""The network for the options of a command."""

from superres.network.engine import Engine, fetch_weights, make_engine
from superres.network.precision import decided_recipe
from superres.network.weights import Weights
from superres.pipeline.config import Processing


def weights_for(processing: Processing) -> Weights:
    """Loads the configured checkpoint."""
    scale = processing.upscale_factor
    return fetch_weights(processing.checkpoint(scale), scale)


def engine_for(processing: Processing) -> Engine:
    """Loads the configured checkpoint into an engine on the configured device."""
    weights = weights_for(processing)
    precision = decided_recipe(processing, weights.scale).precision
    return make_engine(weights, processing.device, precision)


def model_name(processing: Processing, engine: Engine) -> str:
    """The checkpoint's file name and the first digits of its digest."""
    return f"{processing.checkpoint_name(engine.scale)} {engine.digest[:12]}"
