"""The records that pass between the parts, each with a JSON form.

Readers accept every version that was ever written (the tests keep a file of each) and ignore
unknown fields, so that a writer may be newer than its reader; a new field with a default is no new
version. Identifiers, modes and scales are defined here too; storage keys are in
``superres.pipeline.layout``, and the bounds of numbers, dates and texts in
``superres.pipeline.bounds``.

No record has the query or the password of a URL (``superres.redaction``); only the message of a
reference has (``ImageReference.to_message``).
"""

import hashlib
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from superres.errors import RecordError
from superres.pipeline.bounds import (
    Count,
    Day,
    Decibels,
    Link,
    Location,
    Members,
    Moment,
    Name,
    Pixels,
    Seconds,
    Similarity,
    Told,
    Url,
)
from superres.pipeline.recipe import Recipe
from superres.pipeline.source_path import SourcePath
from superres.redaction import WITH_SECRETS

Mode = Literal["evaluate", "upscale"]
Scale = Literal[2, 3, 4]
Stage = Literal["ingest", "split", "infer", "reconstruct", "evaluate"]
IMAGE_ID = r"^[0-9a-f]{32}$"
ImageId = Annotated[str, StringConstraints(pattern=IMAGE_ID)]
RESULT_ID = r"^[0-9a-f]{32}(-[0-9a-f]{8})?$"
_TOLD_FAULTS = 10  # of a record, in an error
_TOLD_LENGTH = 200  # of what an error quotes
_MOST_ENTRIES = 1000  # of a manifest's counts, seconds and networks
ResultId = Annotated[str, StringConstraints(pattern=RESULT_ID)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    MOST_BYTES: ClassVar[int] = 1 << 20
    """Of its JSON."""

    version: Literal[1] = 1

    def to_json(self) -> str:
        """The record as one line of JSON."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes, origin: str = "") -> Self:
        """Reads any version of the record from JSON.

        Raises ``RecordError`` with one line: ``origin`` (where the text is from), the kind of
        record, and every wrong field.
        """
        prefix = f"{origin}: not a readable" if origin else "not a readable"
        if len(text) > cls.MOST_BYTES:
            size = f"{len(text):,} bytes, over the limit of {cls.MOST_BYTES:,}"
            raise RecordError(f"{prefix} {cls.__name__} record: {size}")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            faults = [_describe(dict(fault)) for fault in error.errors()[:_TOLD_FAULTS]]
            if error.error_count() > _TOLD_FAULTS:
                faults.append(f"and {error.error_count() - _TOLD_FAULTS:,} more")
            raise RecordError(f"{prefix} {cls.__name__} record: {'; '.join(faults)}") from None


def _describe(fault: dict[str, Any]) -> str:
    path = ".".join(map(str, fault["loc"]))[:_TOLD_LENGTH]
    if fault["loc"][-1:] == ("version",):
        version = fault["input"]
        if type(version) is not int:  # whose text may hold a secret
            return "version is no number; expected 1"
        return (
            f"version {str(version)[:_TOLD_LENGTH]} is unknown here (1 is known); upgrade superres"
        )
    if fault["type"] == "extra_forbidden":
        return f"{path}: unknown here; upgrade superres"
    reason = " ".join(fault["msg"].split())
    return f"{path}: {reason}" if path else reason


class _Part(BaseModel):
    """A part of a record, with the record's version."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Attribution(_Part):
    """The photographer, and the page of the photograph."""

    author: Told
    url: Link | None = None


class AppliedRecipe(_Part):
    """The recipe that a run applied, where it is not the default: its key and what differs.

    The members are kept as they are: a reader that does not know one yet can still show it.
    """

    key: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]
    members: Members


def applied_recipe(recipe: Recipe) -> AppliedRecipe | None:
    """A recipe as records name it; None for the default one."""
    return AppliedRecipe(key=recipe.key, members=recipe.members) if recipe.key else None


class ImageReference(_Record):
    """Where to fetch an image and what to do with it: the value of a message on Kafka.

    ``path`` is the image's own name, with its folders below the source. With a ``recipe`` of its
    own, only runs of that recipe take the image.
    """

    image_id: ImageId
    url: Url
    source: Told
    mode: Mode
    scale: Scale
    requested_at: Moment
    attribution: Attribution | None = None
    content_type: Told | None = None
    recipe: Recipe | None = None
    path: SourcePath | None = None

    @property
    def ingest_date(self) -> date:
        """UTC date of the request; it does not depend on the consumer's clock."""
        return ingest_date_of(self.requested_at)

    def to_message(self) -> str:
        """The reference as one line of JSON with its full URL; nothing else may be made of this."""
        return self.model_dump_json(context={WITH_SECRETS: True})


class RejectedImage(_Record):
    """A rejection: an image that cannot or must not be processed, and the reason."""

    image_id: ImageId
    source: Told
    stage: Stage
    reason: Told
    rejected_at: Moment
    run_id: Name | None = None
    start_id: Name | None = None
    recipe: AppliedRecipe | None = None
    path: SourcePath | None = None


class StoredImage(_Part):
    """The location of an image, and its size in pixels."""

    uri: Location
    width: Pixels
    height: Pixels


class Metrics(_Part):
    """PSNR in dB (None: equal to the original, so infinite) and SSIM of one image."""

    psnr: Decibels | None
    ssim: Similarity


class Evaluation(_Record):
    """An image that is finished; written last. Without an original there are no metrics.

    ``model_name`` and ``model_digest`` are the network's file name and the digest of its weights.
    ``recipe`` is None for the default recipe, and in records from before there were recipes.
    """

    image_id: ImageId
    run_id: Name
    mode: Mode
    scale: Scale
    ingest_date: Day
    source: Told
    attribution: Attribution | None = None
    low_resolution: StoredImage
    result: StoredImage
    original: StoredImage | None = None
    protocol: Name | None = None
    ours: Metrics | None = None
    bicubic: Metrics | None = None
    seconds: Seconds
    model_digest: Name
    finished_at: Moment
    start_id: Name | None = None
    model_name: Name | None = None
    recipe: AppliedRecipe | None = None
    path: SourcePath | None = None

    @property
    def result_id(self) -> str:
        """Identifies the result among those of all images and recipes."""
        return result_id_of(self.image_id, self.recipe.key if self.recipe else None)

    @property
    def jpeg_quality(self) -> int | None:
        """Of the JPEG that the low resolution went through before it was upscaled, if it did."""
        quality = self.recipe.members.get("evaluate_jpeg_quality") if self.recipe else None
        return quality if self.original is not None and isinstance(quality, int) else None


class RunManifest(_Record):
    """The record of one start of a run: counts, rejected images, and seconds by stage.

    ``start_id`` is None where each job was submitted by hand. ``models`` has the networks that made
    the results: their file names, by the digest of their weights.
    """

    MOST_BYTES: ClassVar[int] = 1 << 28  # a run may reject millions

    run_id: Name
    scale: Scale
    ingest_date: Day
    counts: dict[Name, Count] = Field(max_length=_MOST_ENTRIES)
    rejected: list[Name]
    seconds: dict[Name, Seconds] = Field(max_length=_MOST_ENTRIES)
    finished_at: Moment
    start_id: Name | None = None
    models: dict[Name, Name] = Field(default={}, max_length=_MOST_ENTRIES)
    recipe: AppliedRecipe | None = None

    @property
    def name(self) -> str:
        """What the file of the manifest is named after."""
        return manifest_name(self.run_id, self.start_id, self.recipe.key if self.recipe else None)


def image_id_of(
    mode: Mode, scale: int, canonical_reference: str, recipe: Recipe | None = None
) -> str:
    """32 hex digits; the same reference always gives the same id, so a repeat overwrites.

    ``recipe`` is one of the reference's own, if it has one.
    """
    text = f"{mode}\n{scale}\n{canonical_reference}"
    if recipe is not None:
        text += f"\nrecipe={recipe.key or 'default'}"
    # The names of local files may have any bytes.
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def result_id_of(image_id: str, recipe_key: str | None) -> str:
    """Identifies the result that a recipe makes of an image: ``{image_id}[-{key}]``."""
    return f"{image_id}-{recipe_key}" if recipe_key else image_id


def manifest_name(run_id: str, start_id: str | None, recipe_key: str | None) -> str:
    """Names the manifest of a start, or of a run where no start is named."""
    name = start_id or run_id
    return f"{name}-{recipe_key}" if recipe_key else name


def start_id_of(run_id: str, started_at: datetime) -> str:
    """Names one start of a run: ``2026-01-31-x2-20260201T020000Z``, in UTC."""
    return f"{run_id}-{started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def name_of(source: str) -> str:
    """A short name for people, from a record's source: the file name where there is one."""
    kind, separator, rest = source.partition(":")
    if separator and kind in ("folder", "samples", "upload"):
        source = rest
    return source.rstrip("/").rsplit("/", 1)[-1] or source


def ingest_date_of(moment: datetime) -> date:
    """The UTC date of an aware moment."""
    return moment.astimezone(UTC).date()
