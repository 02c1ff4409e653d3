"""Options that several commands share, and the settings made from them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from superres.pipeline.config import Processing, Restore
from superres.pipeline.config_file import load_settings, validated

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
DIR = click.Path(exists=True, file_okay=False, path_type=Path)
PATH = click.Path(path_type=Path)


class _JpegQualities(click.ParamType[tuple[int, int]]):
    """Two qualities of JPEG, as in 70-85, or one."""

    name = "MIN-MAX"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Returns lowest and highest."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", value)
        lowest, highest = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= lowest <= highest <= 100:
            self.fail(f"{value!r} is not two qualities from 1 to 100, as in 70-85", param, ctx)
        return lowest, highest


JPEG_QUALITIES = _JpegQualities()


class _Restore(click.ParamType[Restore]):
    """auto, off, or a quality of JPEG."""

    name = "auto|off|1-100"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Restore:
        """Returns the value of ``processing.restore``."""
        if value in ("auto", "off"):
            return "auto" if value == "auto" else "off"
        if not (str(value).isdecimal() and 1 <= int(value) <= 100):
            self.fail(f"{value!r} is not auto, off or a quality from 1 to 100", param, ctx)
        return int(value)


def _number(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    return int(value) if value else None


def scale_option(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``--scale``, None when not given; ``default`` is for the help text only."""
    choice = click.Choice(["2", "3", "4"])
    meaning = f"Scale factor: 2, 3 or 4.  [default: {default}]"
    return click.option("--scale", type=choice, callback=_number, help=meaning)


mode_option = click.option(
    "--mode",
    type=click.Choice(["evaluate", "upscale"]),
    help="evaluate: reduce each image, upscale it and compare. upscale: upscale it as it is.  "
    "[default: configured]",
)
model_option = click.option(
    "--model",
    metavar="FILE",
    help="Checkpoint: a .safetensors, .pth or .pth.tar file.  [default: included weights]",
)
restore_option = click.option(
    "--restore",
    type=_Restore(),
    help="Included weights to use. auto: by the quality that a JPEG was saved with; off: those for "
    "clean input; 1 to 100: those for JPEG of this quality.  [default: configured]",
)
patch_option = click.option(
    "--patch-size",
    type=click.IntRange(16, 2048),
    help="Side of a tile in input pixels. Affects memory and speed, not the result.  "
    "[default: configured]",
)
grayscale_option = click.option(
    "--grayscale", is_flag=True, default=None, help="Write greyscale output."
)
device_option = click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    help="Device to run the network on.  [default: configured]",
)
config_option = click.option(
    "--config",
    metavar="FILE",
    help="YAML configuration file.  [default: ./config.yaml, if it exists]",
)


def config_or_default(config: str | None) -> str | None:
    """``config`` if given, else ./config.yaml if it exists, else None."""
    if config is None and Path("config.yaml").is_file():
        return "config.yaml"
    return config


def processing_of(config: str | None, **options: Any) -> Processing:
    """The ``processing`` section of the configuration, overridden by command-line options.

    Options have their command-line names; None means not given.
    """
    names = {"scale": "upscale_factor", "model": "model_path"}
    given = {names.get(key, key): value for key, value in options.items()}
    settings = load_settings(config_or_default(config))
    section = settings.processing.model_dump()
    scale = given.get("upscale_factor") or section["upscale_factor"]
    if scale != section["upscale_factor"]:
        section["model_path"] = None  # the configured checkpoint is for the configured scale only
    section.update({key: value for key, value in given.items() if value is not None})
    return validated({"processing": section}, "command line").processing
