"""The network that the options of a command ask for."""

from superres.network.engine import Engine, fetch_weights, make_engine
from superres.pipeline.config import Processing


def engine_for(processing: Processing) -> Engine:
    """The network that the options ask for, ready to run."""
    weights = fetch_weights(
        processing.checkpoint(processing.upscale_factor), processing.upscale_factor
    )
    return make_engine(weights, processing.device, half=processing.half_precision)


def model_name(processing: Processing, engine: Engine) -> str:
    """The checkpoint's file name and the beginning of its digest."""
    name = processing.checkpoint(engine.scale).rsplit("/", 1)[-1]
    return f"{name} {engine.digest[:12]}"
