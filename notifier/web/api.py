"""The REST API: images and runs as JSON, page by page."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from functools import cache
from typing import Any, Literal

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, Field, TypeAdapter

from notifier.disclosure import API_PREFIX, public_detail, public_record
from notifier.store.images import Order, page_of, record_of, totals_of
from notifier.store.paging import Position
from notifier.store.runs import Kind, RunStatus, State, runs_of
from notifier.web.context import service
from notifier.web.problems import problem_schemas
from superres.pipeline.records import (
    AppliedRecipe,
    Attribution,
    ImageId,
    Metrics,
    Mode,
    ResultId,
    Scale,
)
from superres.service.problems import Problem

PREFIX = API_PREFIX
blueprint = APIBlueprint(
    "api",
    __name__,
    url_prefix=PREFIX,
    abp_security=[{"token": []}, {}],
    abp_responses=problem_schemas(401, 429, 503),
)
_IMAGES, _RUNS = Tag(name="images"), Tag(name="runs")
_STATUSES = TypeAdapter(list[RunStatus])


class Links(BaseModel):
    """Related resources, as paths of this service."""

    self: str
    page: str
    result: str
    original: str | None


class Size(BaseModel):
    """Of an image, in pixels."""

    width: int
    height: int


class FinishedImage(BaseModel):
    """What everybody may see of an evaluation record (``notifier.disclosure``), with links."""

    version: Literal[1]
    image_id: ImageId
    run_id: str
    mode: Mode
    scale: Scale
    ingest_date: date
    source: str
    attribution: Attribution | None
    low_resolution: Size
    result: Size
    original: Size | None
    protocol: str | None
    ours: Metrics | None
    bicubic: Metrics | None
    seconds: float
    model_digest: str
    finished_at: datetime
    start_id: str | None
    model_name: str | None
    recipe: AppliedRecipe | None
    links: Links


class ImageList(BaseModel):
    """Some images; ``next`` is the cursor of the next page, null on the last."""

    images: list[FinishedImage]
    next: str | None


class TotalsOfImages(BaseModel):
    """All images counted; means in dB and SSIM over those that have an original."""

    images: int
    measured: int
    psnr: float | None
    bicubic_psnr: float | None
    gain: float | None
    ssim: float | None
    bicubic_ssim: float | None


class RunOrExecution(BaseModel):
    """The status of a run of the jobs or of an execution of the state machine."""

    name: str
    kind: Kind
    state: State
    scale: int | None
    ingest_date: date | None
    started_at: datetime | None
    changed_at: datetime
    detail: dict[str, Any]


class RunList(BaseModel):
    """Some runs; ``next`` is the cursor of the next page, null on the last."""

    runs: list[RunOrExecution]
    next: str | None


class Page(BaseModel):
    """Which page of a list."""

    @classmethod
    def model_json_schema(cls, *arguments: Any, **named: Any) -> dict[str, Any]:
        """As usual, but cached: flask-openapi3 calls it with every request."""
        if arguments or named:
            return super().model_json_schema(*arguments, **named)
        return _schema_of(cls)

    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=400)

    @property
    def position(self) -> Position | None:
        """Where the page begins; None for the first."""
        return None if self.cursor is None else Position.from_cursor(self.cursor)


class ImagesQuery(Page):
    """Which images, in which order."""

    order: Order = "newest"


class ImagePath(BaseModel):
    """Which image; with ``-`` and the key of the recipe where that is not the default one."""

    image_id: ResultId


@blueprint.get(
    "/images",
    summary="Finished images",
    tags=[_IMAGES],
    responses={200: ImageList, **problem_schemas(404, 422)},
)
def list_images(query: ImagesQuery) -> Response:
    """Sorted by time, or by PSNR gain over bicubic (without images that have no original)."""

    def content() -> dict[str, Any]:
        with service().database.reading() as session:
            page = page_of(session, query.order, query.limit, query.position)
        images = [public_record(json.loads(record)) for record in page.records]
        return {"images": images, "next": page.after and page.after.cursor()}

    return _cached_response(content)


@blueprint.get(
    "/images/<image_id>",
    summary="One image",
    tags=[_IMAGES],
    responses={200: FinishedImage, **problem_schemas(404, 422)},
)
def get_image(path: ImagePath) -> Response:
    """The newest evaluation of an image; of another recipe than the default with `-{key}`."""

    def content() -> dict[str, Any]:
        record = record_of(service().database, path.image_id)
        if record is None:
            raise Problem(404, f"no finished image {path.image_id}")
        return public_record(json.loads(record))

    return _cached_response(content)


@blueprint.get("/totals", summary="Totals", tags=[_IMAGES], responses={200: TotalsOfImages})
def get_totals() -> Response:
    """The number of images, and their mean quality."""

    def content() -> dict[str, Any]:
        with service().database.reading() as session:
            return vars(totals_of(session))

    return _cached_response(content)


@blueprint.get(
    "/runs", summary="Runs", tags=[_RUNS], responses={200: RunList, **problem_schemas(404, 422)}
)
def list_runs(query: Page) -> Response:
    """Runs of the jobs and executions of the state machine, the latest first."""

    def content() -> dict[str, Any]:
        with service().database.reading() as session:
            statuses, after = runs_of(session, query.limit, query.position)
        shown = [replace(status, detail=public_detail(status.detail)) for status in statuses]
        runs = _STATUSES.dump_python(shown, mode="json")
        return {"runs": runs, "next": after and after.cursor()}

    return _cached_response(content)


@cache
def _schema_of(model: type[Page]) -> dict[str, Any]:
    return super(Page, model).model_json_schema()


def _cached_response(content: Callable[[], dict[str, Any]]) -> Response:
    """Responds from the cache where possible, and with 304 when the client is up to date."""
    # The tag is read first, so that the content is at least as new.
    tag = service().changes.tag

    def body() -> str:
        return json.dumps(content(), ensure_ascii=False, separators=(",", ":")) + "\n"

    text = service().rendered.get(tag, request.full_path, body)
    if tag in request.if_none_match:
        response = Response(status=304)
    else:
        response = Response(text, mimetype="application/json")
    response.set_etag(tag)
    return response
