"""The pages that people look at: the gallery, an image, the runs.

A request with the header ``X-Fragment`` gets the main part alone: pages that are open ask for it
when something has changed (``static/live.js``).
"""

import re
from dataclasses import dataclass
from typing import get_args

from flask import Blueprint, Response, current_app, make_response, render_template, request

from notifier.drawing import COLOURS, DIFFERENCE_PEAK
from notifier.pictures import MADE_PIXELS
from notifier.store.images import Order, Totals, image_of, page_of, recent_gains, totals_of
from notifier.store.paging import Place
from notifier.store.runs import RunStatus, runs_of
from notifier.web.chart import Chart, chart_of, decibels
from notifier.web.problems import Problem
from notifier.web.service import service
from notifier.web.showing import downloads_of, picture_of, shown, shown_run
from superres.records import IMAGE_ID

_GAINS, _LATEST_RUNS, _RUNS = 60, 4, 40
_OVERVIEW = "notifier-overview"
blueprint = Blueprint("pages", __name__)


@dataclass(frozen=True)
class Overview:
    """What the gallery tells of everything; ``number`` is the change it was read at."""

    number: int
    totals: Totals
    chart: Chart | None
    runs: list[RunStatus]
    newest: str


@blueprint.get("/")
def gallery() -> Response:
    """Images in an order, a page of them at a time, and what there is in all."""
    order = _order()
    after, before = _place("after"), _place("before")
    size = service().settings.notifier.gallery_size
    overview = _overview()
    with service().database.reading() as session:
        page = page_of(session, order, size, after, None if after else before)
    first = after is None and before is None
    return _page(
        "gallery.html",
        overview=overview,
        runs=[shown_run(status) for status in overview.runs],
        images=[shown(image) for image in page.images],
        order=order,
        first=first,
        lives=first and order == "newest",
        newer=page.before and page.before.cursor(),
        older=page.after and page.after.cursor(),
        decibels=decibels,
    )


@blueprint.get("/images/<image_id>")
def image_page(image_id: str) -> Response:
    """One image with all that is known of it."""
    if not re.fullmatch(IMAGE_ID, image_id):
        raise Problem(404, "no image has that name")
    with service().database.reading() as session:
        found = image_of(session, image_id)
    if found is None:
        raise Problem(404, f"no image {image_id} is finished; it may still be on its way")
    return _page(
        "image.html",
        shown=shown(found),
        image=found,
        difference=picture_of(found, "difference"),
        downloads=downloads_of(found),
        colours=[f"#{colour:06x}" for colour in COLOURS],
        peak=DIFFERENCE_PEAK,
        most_megapixels=MADE_PIXELS // 1_000_000,
    )


@blueprint.get("/runs")
def runs_page() -> Response:
    """Runs of the jobs and executions of the state machine, the latest first."""
    after = _place("after")
    with service().database.reading() as session:
        statuses, older = runs_of(session, _RUNS, after)
    return _page(
        "runs.html",
        runs=[shown_run(status) for status in statuses],
        first=after is None,
        older=older and older.cursor(),
    )


def _page(template: str, **values: object) -> Response:
    settings = service().settings.notifier
    response = make_response(
        render_template(
            template,
            layout="fragment.html" if "X-Fragment" in request.headers else "base.html",
            settings=settings,
            number=service().changes.number,
            **values,
        )
    )
    response.headers["Vary"] = "X-Fragment, Cookie"
    return response


def _overview() -> Overview:
    """What changes with the change number alone: read once for each, not for each request."""
    # The number first: what is read after it is at least as new.
    number = service().changes.number
    known: Overview | None = current_app.extensions.get(_OVERVIEW)
    if known is not None and known.number == number:
        return known
    with service().database.reading() as session:
        newest = page_of(session, "newest", 1).images
        overview = Overview(
            number,
            totals_of(session),
            chart_of(recent_gains(session, _GAINS)),
            runs_of(session, _LATEST_RUNS)[0],
            f"{newest[0].image_id} {newest[0].finished_at.isoformat()}" if newest else "",
        )
    current_app.extensions[_OVERVIEW] = overview
    return overview


def _order() -> Order:
    told = request.args.get("order", "newest")
    for order in get_args(Order):
        if told == order:
            found: Order = order
            return found
    raise Problem(400, f"order: expected one of {', '.join(get_args(Order))}")


def _place(name: str) -> Place | None:
    cursor = request.args.get(name)
    return Place.at(cursor) if cursor else None
