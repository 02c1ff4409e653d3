"""The storage layout: the location of every image, table and record of a run.

Images and results are stored by ingest date (and scale), tables by run. What a recipe other than
the default makes lies in folders of that recipe. Every directory may be a local folder or an
``s3://`` prefix.
"""

import re
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Self

from superres.errors import ConfigError
from superres.pipeline import storage
from superres.pipeline.config import Dataset, checked_location
from superres.pipeline.recipe import DEFAULT_RECIPE, Recipe
from superres.pipeline.records import ImageReference, manifest_name, start_id_of

_LOW_RESOLUTION = re.compile(
    r"/scale=(?P<scale>[234])/ingest_date=(?P<date>\d{4}-\d{2}-\d{2})"
    r"/(?:recipe=\w+/)?[0-9a-f]{32}\.[a-z0-9]+$"
)
_RUN_ID = re.compile(r"(?P<date>\d{4}-\d{2}-\d{2})-x(?P<scale>[234])(?:-.+)?")


@dataclass(frozen=True)
class Layout:
    """The locations of one run: the images of one scale and one ingest date, and one recipe.

    ``start_id`` names one start of the run; only its manifest lies elsewhere than another's, so
    that starting again goes on with the work. Runs of two recipes share nothing but their images.
    """

    dataset: Dataset
    run_id: str
    scale: int
    ingest_date: date
    start_id: str | None = None
    recipe: Recipe = DEFAULT_RECIPE

    def started(self, at: datetime) -> Self:
        """The layout for a start at this moment."""
        return replace(self, start_id=start_id_of(self.run_id, at))

    def with_recipe(self, recipe: Recipe) -> Self:
        """The layout of the run of the same images with another recipe."""
        return replace(self, recipe=recipe)

    @property
    def _partition(self) -> str:
        return f"scale={self.scale}/ingest_date={self.ingest_date.isoformat()}"

    @property
    def low_resolution(self) -> str:
        """Folder of the images to upscale, with ``{image_id}.json`` for a reference beside one."""
        return storage.join(self.dataset.low_resolution_dir, self._partition)

    def low_resolution_of(self, reference: ImageReference) -> str:
        """The image to upscale that a reference is about, without its suffix.

        One that has a recipe of its own lies in a folder of that recipe: a listing then shows which
        runs take it, and no reference has to be read for it.
        """
        own = reference.recipe
        folders = [] if own is None else [recipe_folder(own)]
        return storage.join(self.low_resolution, *folders, reference.image_id)

    @property
    def high_resolution(self) -> str:
        """Folder of the originals of that date."""
        return storage.join(
            self.dataset.high_resolution_dir, f"ingest_date={self.ingest_date.isoformat()}"
        )

    @property
    def patches(self) -> str:
        """Folder of the tables of tiles before inference."""
        return self._work(self.dataset.patches_dir, "patches")

    @property
    def inference(self) -> str:
        """Folder of the tables of upscaled tiles."""
        return self._work(self.dataset.inference_result_dir, "inference")

    @property
    def reconstructed(self) -> str:
        """Folder of the tables of reconstructed images."""
        return self._work(self.dataset.inference_result_dir, "reconstructed")

    @property
    def owners(self) -> str:
        """Folder of the files that say which starts are writing tables."""
        return self._work(self.dataset.patches_dir, "owners")

    def result(self, image_id: str) -> str:
        """The upscaled PNG."""
        return self._results("images", f"{image_id}.png")

    def evaluation(self, image_id: str) -> str:
        """The evaluation of an image, which makes it finished."""
        return self._results("evaluations", f"{image_id}.json")

    def rejection(self, image_id: str) -> str:
        """The rejection of an image by a job."""
        return self._results("rejected", f"{image_id}.json")

    def arrival_rejection(self, image_id: str) -> str:
        """The rejection of an image by ingestion, which concerns every recipe."""
        return self.with_recipe(DEFAULT_RECIPE).rejection(image_id)

    @property
    def evaluations(self) -> str:
        """Folder of the evaluation records."""
        return self._results("evaluations")

    @property
    def rejections(self) -> str:
        """Folder of the rejection records."""
        return self._results("rejected")

    @property
    def arrival_rejections(self) -> str:
        """Folder of the rejections by ingestion."""
        return self.with_recipe(DEFAULT_RECIPE).rejections

    @property
    def manifest(self) -> str:
        """The record of this start, or of the run where no start is named."""
        name = manifest_name(self.run_id, self.start_id, self.recipe.key)
        return storage.join(self.dataset.reconstructed_images_dir, "runs", f"{name}.json")

    @property
    def _recipe_folders(self) -> list[str]:
        return [] if self.recipe.key is None else [recipe_folder(self.recipe)]

    def _work(self, directory: str, kind: str) -> str:
        return storage.join(directory, f"run_id={self.run_id}", *self._recipe_folders, kind)

    def _results(self, kind: str, *name: str) -> str:
        folders = [kind, self._partition, *self._recipe_folders]
        return storage.join(self.dataset.reconstructed_images_dir, *folders, *name)


def recipe_folder(recipe: Recipe) -> str:
    """The name of a folder for one recipe, as in ``recipe=1f2e3d4c``."""
    return f"recipe={recipe.key or 'default'}"


def dataset_in(base: str) -> Dataset:
    """All directories below ``base``, a local folder or an ``s3://`` prefix.

    Raises ``ConfigError`` when it is neither.
    """
    try:
        checked_location(base)
    except ValueError as error:
        raise ConfigError(f"{base!r}: {error}") from None
    return Dataset(
        high_resolution_dir=storage.join(base, "high_resolution"),
        low_resolution_dir=storage.join(base, "low_resolution"),
        patches_dir=storage.join(base, "work"),
        inference_result_dir=storage.join(base, "work"),
        reconstructed_images_dir=storage.join(base, "results"),
    )


def default_run_id(ingest_date: date, scale: int) -> str:
    """The run of a date and scale; a second one processes the images that are still pending."""
    return f"{ingest_date.isoformat()}-x{scale}"


def date_and_scale_of(run_id: str) -> tuple[date, int] | None:
    """The ingest date and scale that a run id names; None where it names none."""
    named = _RUN_ID.fullmatch(run_id)
    if named is None:
        return None
    try:
        return date.fromisoformat(named["date"]), int(named["scale"])
    except ValueError:  # there is no such day
        return None


def run_of_image(low_resolution: str) -> str | None:
    """The default run of the image at this URI; None where the layout has no such image."""
    named = _LOW_RESOLUTION.search(low_resolution)
    found = named and date_and_scale_of(f"{named['date']}-x{named['scale']}")
    return default_run_id(*found) if found else None


def layout_on(
    dataset: Dataset, ingest_date: date, scale: int, recipe: Recipe = DEFAULT_RECIPE
) -> Layout:
    """The layout of the default run of a date and scale."""
    run_id = default_run_id(ingest_date, scale)
    return layout_of(dataset, run_id, scale, ingest_date).with_recipe(recipe)


def layout_of(
    dataset: Dataset,
    run_id: str,
    scale: int | None = None,
    ingest_date: date | None = None,
    start_id: str | None = None,
) -> Layout:
    """The layout of a run; a run_id of the form ``2026-01-31-x2[-name]`` has date and scale.

    Raises ``ConfigError`` when date or scale is missing, or when run_id and arguments contradict.
    """
    named = _RUN_ID.fullmatch(run_id)
    if not re.fullmatch(r"[A-Za-z0-9._-]+", run_id):
        raise ConfigError(f"--run-id {run_id!r}: use letters, digits, '.', '_' and '-' only")
    if named and scale not in (None, int(named["scale"])):
        raise ConfigError(f"--run-id {run_id!r} and --scale {scale} contradict; give one of them")
    if named:
        scale = scale or int(named["scale"])
        named_date = _date(named["date"], run_id)
        if ingest_date not in (None, named_date):
            raise ConfigError(f"--run-id {run_id!r} and --ingest-date {ingest_date} contradict")
        ingest_date = named_date
    if scale is None or ingest_date is None:
        raise ConfigError(
            f"--run-id {run_id!r} names no date and scale; write it as 2026-01-31-x2, "
            "or give --ingest-date and --scale"
        )
    _check_start(run_id, start_id)
    locations = {key: storage.absolute(uri) for key, uri in dataset.model_dump().items()}
    return Layout(Dataset(**locations), run_id, scale, ingest_date, start_id)


def _check_start(run_id: str, start_id: str | None) -> None:
    form = rf"{re.escape(run_id)}-\d{{8}}T\d{{6}}Z"
    if start_id is not None and not re.fullmatch(form, start_id):
        raise ConfigError(
            f"--start-id {start_id!r}: write the run id and the time of the start in UTC, "
            f"as in {run_id}-20260201T020000Z"
        )


def _date(text: str, run_id: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--run-id {run_id!r}: {text} is no date") from error
