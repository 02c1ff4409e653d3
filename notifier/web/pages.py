"""The HTML pages: the gallery, an image, the runs.

The header ``X-Fragment`` asks for the main part alone: open pages request it when something has
changed (``static/live.js``).
"""

import re
from dataclasses import dataclass
from typing import get_args

from flask import Blueprint, Response, make_response, render_template, request, session

from notifier.drawing import COLOURS, DIFFERENCE_PEAK
from notifier.pictures import MAX_DERIVED_PIXELS
from notifier.store.images import (
    Order,
    Totals,
    image_of,
    other_results,
    page_of,
    recent_gains,
    totals_of,
)
from notifier.store.paging import Position
from notifier.store.runs import runs_of
from notifier.web.chart import Chart, chart_of, decibels
from notifier.web.context import service
from notifier.web.security import is_stranger
from notifier.web.showing import downloads_of, picture_of, shown, shown_run
from superres.pipeline.records import RESULT_ID
from superres.service.problems import Problem

_GAINS, _LATEST_RUNS, _RUNS = 60, 4, 40
blueprint = Blueprint("pages", __name__)


@dataclass(frozen=True)
class Overview:
    """The figures and the chart at the top of the gallery."""

    totals: Totals
    chart: Chart | None
    newest: str


@blueprint.get("/")
def gallery() -> Response:
    """One page of images in some order, below the totals."""
    order = _order()
    after, before = _position("after"), _position("before")
    # Read before the content, which is then at least as new.
    tag, number = service().changes.tag, service().changes.number
    key = (order, after, before, _wants_fragment(), bool(session.get("reader")))
    return _response(
        service().rendered.get(tag, key, lambda: _gallery(number, order, after, before))
    )


def _gallery(number: int, order: Order, after: Position | None, before: Position | None) -> str:
    size = service().settings.notifier.gallery_size
    with service().database.reading() as db:
        page = page_of(db, order, size, after, None if after else before)
        newest = page_of(db, "newest", 1).images
        statuses = runs_of(db, _LATEST_RUNS)[0]
        overview = Overview(
            totals_of(db),
            chart_of(recent_gains(db, _GAINS)),
            f"{newest[0].result_id} {newest[0].finished_at.isoformat()}" if newest else "",
        )
    first = after is None and before is None
    return _page(
        "gallery.html",
        number,
        overview=overview,
        runs=[shown_run(status) for status in statuses],
        images=[shown(image) for image in page.images],
        order=order,
        first=first,
        live=first and order == "newest",
        newer=page.before and page.before.cursor(),
        older=page.after and page.after.cursor(),
        decibels=decibels,
    )


@blueprint.get("/images/<result_id>")
def image_page(result_id: str) -> Response:
    """One image with its comparison, figures and files."""
    if not re.fullmatch(RESULT_ID, result_id):
        raise Problem(404, "there is no image of this name")
    number = service().changes.number
    with service().database.reading() as db:
        found = image_of(db, result_id)
        others = other_results(db, found) if found else []
    if found is None:
        raise Problem(404, f"image {result_id} is not finished; it may still be processed")
    page = _page(
        "image.html",
        number,
        shown=shown(found),
        image=found,
        others=[shown(other) for other in others],
        difference=picture_of(found, "difference"),
        downloads=downloads_of(found, as_received=not is_stranger()),
        colours=[f"#{colour:06x}" for colour in COLOURS],
        peak=DIFFERENCE_PEAK,
        max_megapixels=MAX_DERIVED_PIXELS // 1_000_000,
    )
    return _response(page)


@blueprint.get("/runs")
def runs_page() -> Response:
    """Runs of the jobs and executions of the state machine, the latest first."""
    after = _position("after")
    number = service().changes.number
    with service().database.reading() as db:
        statuses, older = runs_of(db, _RUNS, after)
    page = _page(
        "runs.html",
        number,
        runs=[shown_run(status) for status in statuses],
        first=after is None,
        older=older and older.cursor(),
    )
    return _response(page)


def _page(template: str, number: int, **values: object) -> str:
    return render_template(
        template,
        layout="fragment.html" if _wants_fragment() else "base.html",
        settings=service().settings.notifier,
        number=number,
        **values,
    )


def _response(page: str) -> Response:
    response = make_response(page)
    response.headers["Vary"] = "X-Fragment, Cookie"
    return response


def _wants_fragment() -> bool:
    return "X-Fragment" in request.headers


def _order() -> Order:
    orders: dict[str, Order] = {order: order for order in get_args(Order)}
    asked = request.args.get("order", "newest")
    if asked not in orders:
        raise Problem(400, f"order: expected one of {', '.join(orders)}")
    return orders[asked]


def _position(name: str) -> Position | None:
    cursor = request.args.get(name)
    return Position.from_cursor(cursor) if cursor else None
