"""The recipe of a result: what decides its pixels and its file, besides the image and the scale.

A new member is a field of ``Recipe``, whose default is what was done before, and an argument in
``recipe_of``. Keys, records and pages follow by themselves: they only know the members that differ
from their defaults.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from superres.imaging.encoding.formats import FormatName
from superres.imaging.metadata.model import Policy
from superres.pipeline.config import Processing, Restore, Settings

Precision = Literal["single", "float16", "bfloat16"]
ProfilePolicy = Literal["srgb", "keep"]
"""Whether samples are converted to sRGB, or stay in the colour space of the source's profile."""


class Recipe(BaseModel):
    """What decides the pixels and the file of a result; frozen. Its JSON has what is not default.

    ``model_path`` is the checkpoint as configured; None means the included weights. It is the path,
    and neither the file's name nor its digest, that names the network here: results of two files
    must not be taken for one another, and a file that a training replaces is meant to replace its
    results. These stay where they are, until ``--redo`` if they are finished, and each record has
    the digest of the weights that made it. Services that share a configuration find the same
    results without reading weights, which ingestion may not do on AWS.

    ``quality`` is that of the format; None means the format's default, or that it has none.

    ``format``, ``quality``, ``metadata`` and ``profile`` are for ``superres upscale``: jobs write
    PNG without metadata, in sRGB.

    ``restore`` is for the included weights, and ``evaluate_jpeg_quality`` for mode ``evaluate``.

    Unlike in records, an unknown member is an error: without it the pixels would be others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model_path: str | None = Field(default=None, max_length=4096)
    grayscale: bool = False
    precision: Precision = "single"
    restore: Restore = "auto"
    evaluate_jpeg_quality: int | None = Field(default=None, ge=1, le=100)
    format: FormatName = "png"
    quality: int | None = Field(default=None, ge=1, le=100)
    metadata: Policy = "keep"
    profile: ProfilePolicy = "srgb"

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        dumped: dict[str, Any] = dump(self)
        return {
            name: value
            for name, value in dumped.items()
            if getattr(self, name) != fields[name].default
        }

    @property
    def members(self) -> dict[str, Any]:
        """The members that differ from their defaults, as in JSON."""
        return self.model_dump(mode="json")

    @property
    def key(self) -> str | None:
        """Names the recipe in keys of storage: 8 hex digits; None for the default recipe.

        A member that is added later changes no key, as long as it has its default.
        """
        members = self.members
        if not members:
            return None
        text = json.dumps(members, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:8]


DEFAULT_RECIPE = Recipe()


def recipe_of(settings: Settings, scale: int, *, bfloat16: bool = False) -> Recipe:
    """The configured recipe of a run at this scale.

    ``bfloat16`` says what ``half_precision: auto`` means on CPUs; what drives a run decides on it
    with ``superres.network.precision.decided_recipe``.
    """
    processing = settings.processing
    model = processing.own_model(scale)
    return Recipe(
        model_path=model,
        grayscale=processing.grayscale,
        precision=_precision(processing, bfloat16),
        restore="auto" if model else processing.restore,
        evaluate_jpeg_quality=settings.evaluate.jpeg_quality,
    )


def _precision(processing: Processing, bfloat16: bool) -> Precision:
    if not processing.half_precision:
        return "single"
    if processing.device == "cuda":
        return "float16"
    return "bfloat16" if bfloat16 or processing.half_precision is True else "single"


def described(members: Mapping[str, Any]) -> str:
    """The members of a recipe for people, as in ``grayscale, precision float16``."""
    return ", ".join(_described(*member) for member in members.items()) or "default"


def _described(name: str, value: Any) -> str:
    if name == "model_path":
        return f"model {str(value).rsplit('/', 1)[-1]}"
    words = name.replace("_", " ")
    return words if value is True else f"{words} {value}"
