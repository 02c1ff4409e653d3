"""Options that several commands have, and what follows from them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from superres.pipeline.config import Processing, load_settings, validated

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
DIR = click.Path(exists=True, file_okay=False, path_type=Path)
PATH = click.Path(path_type=Path)


def _number(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    return int(value) if value else None


def scale_option(meaning: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``--scale``, None when not given."""
    choice = click.Choice(["2", "3", "4"])
    return click.option("--scale", type=choice, callback=_number, help=meaning)


model_option = click.option(
    "--model",
    metavar="FILE",
    help="Checkpoint (.safetensors, .pth, .pth.tar).  [default: the one that superres brings]",
)
patch_option = click.option(
    "--patch-size",
    type=click.IntRange(16, 2048),
    help="Side of a tile in input pixels: memory and speed depend on it, the result does not.",
)
grayscale_option = click.option("--grayscale", is_flag=True, default=None, help="Give grey images.")
device_option = click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), help="Where the network runs.  [default: cpu]"
)
config_option = click.option(
    "--config",
    metavar="FILE",
    help="YAML file with the defaults of these options.  [default: ./config.yaml, if there]",
)


def config_or_default(config: str | None) -> str | None:
    """The configuration that was named, or ./config.yaml if there is one."""
    if config is None and Path("config.yaml").is_file():
        return "config.yaml"
    return config


def processing_of(config: str | None, **given: Any) -> Processing:
    """The ``processing`` section of the configuration, overridden by the options given.

    Options come by their names on the command line; None means not given.
    """
    names = {"scale": "upscale_factor", "model": "model_path"}
    given = {names.get(key, key): value for key, value in given.items()}
    settings = load_settings(config_or_default(config))
    section = settings.processing.model_dump()
    scale = given.get("upscale_factor") or section["upscale_factor"]
    if scale != section["upscale_factor"]:
        section["model_path"] = None  # the configured checkpoint fits the configured scale alone
    section.update({key: value for key, value in given.items() if value is not None})
    return validated({"processing": section}, "command line").processing
