"""Decides on the precision of a run, once and before it starts: one image never mixes two."""

from superres.network.engine import cpu_has_bfloat16
from superres.pipeline.config import Processing, Settings
from superres.pipeline.recipe import Precision, Recipe, precision_of, recipe_of


def decided_recipe(settings: Settings, scale: int) -> Recipe:
    """The configured recipe of a run at this scale, where this machine drives the run.

    With ``half_precision: auto`` on CPUs, this machine's CPU decides.
    """
    return recipe_of(settings, scale, bfloat16=_auto_means_bfloat16(settings.processing))


def decided_precision(processing: Processing) -> Precision:
    """The precision of ``decided_recipe``."""
    return precision_of(processing, bfloat16=_auto_means_bfloat16(processing))


def _auto_means_bfloat16(processing: Processing) -> bool:
    return processing.cpu_decides_on_precision and cpu_has_bfloat16()
