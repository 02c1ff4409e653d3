"""Decides on the precision of a run, once and before it starts: one image never mixes two."""

from superres.network.engine import cpu_has_bfloat16
from superres.pipeline.config import Settings
from superres.pipeline.recipe import Recipe, recipe_of


def decided_recipe(settings: Settings, scale: int) -> Recipe:
    """The configured recipe of a run at this scale, where this machine drives the run.

    With ``half_precision: auto`` on CPUs, this machine's CPU decides.
    """
    bfloat16 = settings.processing.cpu_decides_on_precision and cpu_has_bfloat16()
    return recipe_of(settings, scale, bfloat16=bfloat16)
