"""The network for the options of a command."""

from superres.network.engine import Engine, fetch_weights, make_engine
from superres.network.precision import decided_recipe
from superres.pipeline.config import Processing


def engine_for(processing: Processing) -> Engine:
    """Loads the configured checkpoint into an engine on the configured device."""
    weights = fetch_weights(
        processing.checkpoint(processing.upscale_factor), processing.upscale_factor
    )
    precision = decided_recipe(processing, weights.scale).precision
    return make_engine(weights, processing.device, precision)


def model_name(processing: Processing, engine: Engine) -> str:
    """The checkpoint's file name and the first digits of its digest."""
    name = processing.checkpoint(engine.scale).rsplit("/", 1)[-1]
    return f"{name} {engine.digest[:12]}"
