"""The pages in a real browser: mouse, keyboard, live updates, phones, and axe-core."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifier.recording import record_status
from notifier.store.database import Database
from notifier.store.runs import RunStatus, State
from superres.errors import StorageError
from tests.support import image_files
from tests.support.chromium import Page, chromium
from tests.support.evaluation_records import MOMENT, evaluation
from tests.support.example_gallery import DAY, TOKEN, Gallery, credited, hours_ago, sample
from tests.support.paths import ROOT
from tests.support.required_tools import require

pytestmark = pytest.mark.chromium

AXE = ROOT / "tests" / "web" / "node_modules" / "axe-core" / "axe.min.js"
LEFT, RIGHT, TAB, ESCAPE = ("ArrowLeft", 37), ("ArrowRight", 39), ("Tab", 9), ("Escape", 27)
CARDS = "[...document.querySelectorAll('.cards > li h3')].map(title => title.textContent)"
DRAWN = "[...document.images].every(image => !image.src || (image.complete && image.naturalWidth))"
COMPARE = "document.querySelector('.compare')"
STAGE = "document.querySelector('.stage').getBoundingClientRect()"


@pytest.fixture
def gallery(tmp_path):
    made = Gallery(tmp_path, gallery_size=3)
    yield made
    made.close()


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium() as opened:
        opened.set_screen(1280, 860)
        yield opened


def finish(gallery: Gallery, name: str, **known):
    return gallery.finish(image_files.png(image_files.photo(60, 90, seed=len(name))), name, **known)


def at(page: Page, script: str) -> tuple[float, float, float, float]:
    """Left, top, width and height of an element on the screen."""
    box = page.run(
        f"(box => [box.left, box.top, box.width, box.height])({script}.getBoundingClientRect())"
    )
    return tuple(box)


def live(page: Page) -> None:
    page.wait("document.querySelector('#updated.live')")


# ---- dividers


def test_the_divider_moves_by_keyboard_and_by_mouse(gallery, page):
    finish(gallery, "boat.png")
    with gallery.served() as address:
        page.open(address)
        page.run("document.querySelector('.divider').focus()")
        for _ in range(5):
            page.press(*LEFT)
        assert page.run("document.querySelector('.divider').value") == "45"
        assert page.run(f"{COMPARE}.style.getPropertyValue('--at')") == "45%"
        assert page.run("document.querySelector('.divider').ariaValueText") == "45 %"
        left, top, width, height = at(page, f"{COMPARE}.querySelector('.frame')")
        line = at(page, f"{COMPARE}.querySelector('.line')")
        assert line[0] + 1 == pytest.approx(left + 0.45 * width, abs=1)
        page.mouse("mousePressed", left + 0.45 * width, top + height / 2)
        page.mouse("mouseMoved", left + 0.8 * width, top + height / 2)
        page.mouse("mouseReleased", left + 0.8 * width, top + height / 2)
        assert page.run("document.querySelector('.divider').value") == "80"
        line = at(page, f"{COMPARE}.querySelector('.line')")
        assert line[0] + 1 == pytest.approx(left + 0.8 * width, abs=1)
        assert "inset(0" in page.run(f"getComputedStyle({COMPARE}.querySelector('.over')).clipPath")
    assert page.complaints == []


def test_every_control_can_be_reached_by_tab(gallery, page):
    finish(gallery, "boat.png", **credited("Ada", "https://example.org/"))
    with gallery.served() as address:
        page.open(address)
        reached = []
        for _ in range(12):
            page.press(*TAB)
            reached.append(
                page.run("(e => e.ariaLabel || e.textContent.trim())(document.activeElement)")
            )
    expected = ["Skip to content", "Super-resolution", "Gallery", "Runs", "Newest"]
    expected += [
        "Greatest gain",
        "Least gain",
        "Divider of boat.png: share of the other picture, in percent",
    ]
    expected += ["Zoom into boat.png", "boat.png", "Ada"]
    assert reached[: len(expected)] == expected


# ---- the zoom


def test_the_zoom_shows_pixels_and_both_pictures_move_together(gallery, page):
    content = image_files.png(image_files.photo(301, 403))
    gallery.finish(content, "boat.png")
    with gallery.served() as address:
        page.open(address)
        page.run("document.querySelector('.divider').value = 30")
        page.run("document.querySelector('.zoom').click()")
        page.wait("document.querySelector('.layer.left img').dataset.whole")
        page.wait("document.querySelector('.layer.right img').dataset.whole")
        assert page.run("document.activeElement.className").startswith("stage")
        assert page.run("document.querySelector('.viewer .divider').value") == "30"
        layers = "[...document.querySelectorAll('.layer img')]"
        assert page.run(f"{layers}.map(image => image.naturalWidth)") == [403, 402]
        for _ in range(4):
            page.press("+", 187)
        zoom = page.run(f"{layers}[1].getBoundingClientRect().width") / 402
        widths = page.run(f"{layers}.map(image => image.getBoundingClientRect().width)")
        # The original has one more column of pixels of the same size.
        assert widths == pytest.approx([403 * zoom, 402 * zoom], rel=1e-3)
        assert page.run(f"getComputedStyle({layers}[1]).imageRendering") == "pixelated"
        before = page.run(f"{layers}.map(image => image.getBoundingClientRect().left)")
        page.press(*RIGHT)
        after = page.run(f"{layers}.map(image => image.getBoundingClientRect().left)")
        assert before[0] == before[1]
        assert after == [before[0] - 60] * 2
        page.run("document.querySelector('[data-zoom=\"4\"]').click()")
        assert page.run(f"{layers}[1].getBoundingClientRect().width") == pytest.approx(4 * 402)
        pressed = "document.querySelector('[data-zoom=\"4\"]').ariaPressed"
        assert page.run(pressed) == "true"

        # The wheel zooms at the mouse; dragging moves the pictures.
        left, top, width, height = at(page, "document.querySelector('.stage')")
        x, y = left + 0.7 * width, top + 0.3 * height
        box = f"{layers}[1].getBoundingClientRect()"
        under = f"({x} - {box}.left) / {box}.width"
        position = page.run(under)
        page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-120)
        page.wait(f"{layers}[1].getBoundingClientRect().width > 4.5 * 402")
        assert page.run(under) == pytest.approx(position, abs=0.002)
        before = page.run(f"{layers}[1].getBoundingClientRect().left")
        page.mouse("mousePressed", x, y)
        page.mouse("mouseMoved", x - 50, y)
        page.mouse("mouseReleased", x - 50, y)
        assert page.run(f"{layers}[1].getBoundingClientRect().left") == pytest.approx(before - 50)
        page.press("0", 48)
        assert page.run("document.querySelector('[data-zoom=fit]').ariaPressed") == "true"
        page.run("document.querySelectorAll('#viewer-sides button')[1].click()")
        page.wait(f"{layers}[0].src.includes('/bicubic') && {layers}[0].dataset.whole")
        assert page.run("document.querySelector('.stage .tag.left').textContent") == "Bicubic"
        page.press(*ESCAPE)
        page.wait("!document.querySelector('#viewer').open")
        page.wait(
            "document.activeElement.className === 'zoom'"
        )  # the focus returns to the button that opened it
    assert page.complaints == []


def test_two_fingers_zoom(gallery, page):
    finish(gallery, "boat.png")
    page.set_screen(390, 844)
    page.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
    with gallery.served() as address:
        page.open(address)
        page.run("document.querySelector('.zoom').click()")
        page.wait("document.querySelector('.layer.right img').dataset.whole")
        width = "document.querySelector('.layer.right img').getBoundingClientRect().width"
        before = page.run(width)
        for kind, spread in (("touchStart", 30), ("touchMove", 60), ("touchMove", 90)):
            points = [{"x": 120 + side * spread, "y": 300, "id": side} for side in (-1, 1)]
            points = [point | {"id": number} for number, point in enumerate(points)]
            page.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        page.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        page.wait(f"{width} > {2 * before}")
    assert page.complaints == []


def test_the_zoom_says_that_a_picture_has_expired(gallery, page):
    image = finish(gallery, "boat.png")
    with gallery.served() as address:
        page.open(address)
        page.wait(DRAWN)
        Path(image.original.uri).unlink()
        page.run("document.querySelector('.zoom').click()")
        page.wait("document.querySelector('#viewer-status').textContent.includes('expired')")
        assert page.run("document.querySelector('.layer.left img').naturalWidth") > 0


# ---- live


def test_new_images_appear_and_dividers_zoom_focus_and_scroll_stay(gallery, page):
    for number in range(3):
        finish(gallery, f"{number}.png", finished_at=hours_ago(5 - number))
    with gallery.served() as address:
        page.open(address)
        live(page)
        page.wait(DRAWN)
        page.set_screen(700, 500)  # one column: with two, cards would change rows
        page.run("document.querySelectorAll('.divider')[1].focus()")
        page.press(*LEFT)
        page.run("document.querySelectorAll('.cards > li')[1].scrollIntoView()")
        page.run("document.querySelectorAll('.cards > li')[1].dataset.mark = 'same'")
        before = page.run("document.querySelector('[data-mark]').getBoundingClientRect().top")
        page.run("document.querySelectorAll('.zoom')[0].click()")

        finish(gallery, "new.png")
        page.wait(f"{CARDS}[0] === 'new.png'")
        assert page.run(CARDS) == ["new.png", "2.png", "1.png"]
        assert page.run("document.querySelector('#viewer').open")
        page.run("document.querySelector('.viewer .close').click()")
        page.wait("document.activeElement.className === 'zoom'")
        after = page.run("document.querySelector('[data-mark]').getBoundingClientRect().top")
        assert after == pytest.approx(before, abs=1)
        assert page.run("document.querySelector('[data-mark] .divider').value") == "49"
        assert page.run("document.querySelector('#announcement').textContent") == "One new image"
        assert page.run("document.querySelector('.totals b').textContent") == "4"

        page.run("document.querySelector('[data-mark] .divider').focus()")
        finish(gallery, "newer.png")
        page.wait(f"{CARDS}[0] === 'newer.png'")
        assert page.run("document.activeElement.closest('li').dataset.mark") == "same"
    assert page.complaints == []


def test_the_first_image_appears_on_the_empty_page(gallery, page):
    with gallery.served() as address:
        page.open(address)
        live(page)
        assert "make run" in page.run("document.querySelector('main').innerText")
        finish(gallery, "first.png")
        page.wait(f"{CARDS}[0] === 'first.png'")
        page.wait(DRAWN)
    assert page.complaints == []


def test_other_pages_announce_new_images_and_do_not_move(gallery, page):
    for number in range(5):
        gallery.record(
            evaluation(number, minutes=number).model_copy(update={"source": f"no-{number}"})
        )
    with gallery.served() as address:
        for path in ("/?order=worst", None):
            page.open(address + (path or "/"))
            if path is None:
                page.run("document.querySelector('[rel=next]').click()")
                page.wait("location.search.includes('after=')")
            live(page)
            cards = page.run(CARDS)
            assert page.run("document.querySelector('#news').hidden")
            finish(gallery, f"{path}.png", finished_at=hours_ago(-1 if path else -2))
            page.wait("!document.querySelector('#news').hidden")
            assert page.run(CARDS) == cards
            page.run("document.querySelector('#news a').click()")
            page.wait(f"{CARDS}[0]?.endsWith('.png') && location.search === ''")


def test_a_newer_result_replaces_the_card_of_an_image(gallery, page):
    first = finish(gallery, "boat.png", finished_at=hours_ago(1))
    with gallery.served() as address:
        page.open(address)
        live(page)
        version = page.run("document.querySelector('.cards > li').dataset.version")
        again = finish(gallery, "boat.png")
        assert again.image_id == first.image_id
        page.wait(f"document.querySelector('.cards > li').dataset.version !== '{version}'")
        assert page.run(CARDS) == ["boat.png"]


@pytest.mark.parametrize("streams", ["absent", "refused"])
def test_without_a_stream_the_page_refreshes_periodically(tmp_path, page, streams):
    gallery = Gallery(tmp_path, refresh_seconds=1)
    if streams == "absent":
        page.call("Page.addScriptToEvaluateOnNewDocument", source="delete window.EventSource")
    else:
        gallery.app.view_functions["stream.events"] = lambda: ("all taken", 503)
    with gallery.served() as address:
        page.open(address)
        finish(gallery, "boat.png")
        page.wait(f"{CARDS}[0] === 'boat.png'")
        assert not page.run("document.querySelector('#updated.live')")
    gallery.close()


# ---- outages


def test_an_outage_is_shown_until_it_ends(gallery, page, monkeypatch):
    finish(gallery, "boat.png")
    banner = "document.querySelector('#banner').innerText"
    with gallery.served() as address:
        page.open(address)
        live(page)
        broken = threading.Event()
        reading = Database.reading

        def maybe(self):
            if broken.is_set():
                raise StorageError("the database does not answer: test")
            return reading(self)

        monkeypatch.setattr(Database, "reading", maybe)
        broken.set()
        gallery.changes.number += 1  # a change that cannot be read
        with gallery.changes._changed:
            gallery.changes._changed.notify_all()
        page.wait(f"{banner}.includes('trouble reaching its database')")
        assert page.run(CARDS) == ["boat.png"]  # the old content stays
        broken.clear()
        page.wait(f"{banner} === ''")
        port = int(address.rsplit(":", 1)[1])
    page.wait(f"{banner}.includes('cannot be reached')")
    assert page.run("document.querySelector('#updated').className") == "updated"
    finish(gallery, "later.png")
    with gallery.served(port):
        page.wait(f"{banner} === '' && {CARDS}[0] === 'later.png'")
        live(page)


def test_the_error_page_reloads_after_an_outage(gallery, page, monkeypatch):
    finish(gallery, "boat.png")
    with gallery.served() as address:
        with monkeypatch.context() as broken:
            broken.setattr(Database, "reading", refuse)
            page.open(address)
            assert page.run("document.querySelector('h1').textContent") == "Service Unavailable"
        page.wait(f"{CARDS}[0] === 'boat.png'")


def refuse(*_):
    raise StorageError("the database does not answer: test")


def test_a_picture_that_cannot_be_loaded_shows_a_message(gallery, page):
    image = finish(gallery, "boat.png")
    Path(image.original.uri).unlink()
    with gallery.served() as address:
        page.open(address)
        page.wait("!document.querySelector('.unavailable').hidden")


# ---- the page of an image


def test_the_other_picture_can_be_chosen(gallery, page):
    image = finish(gallery, "boat.png")
    with gallery.served() as address:
        page.open(f"{address}/images/{image.image_id}")
        for number, kind in enumerate(("original", "bicubic", "low")):
            page.run(f"document.querySelectorAll('.sides button')[{number}].click()")
            over = "document.querySelector('.over')"
            page.wait(f"{over}.src.includes('/{kind}?') && {over}.complete && {over}.naturalWidth")
            pressed = "[...document.querySelectorAll('.sides button')].map(b => b.ariaPressed)"
            assert page.run(pressed).index("true") == number
        assert page.run(f"getComputedStyle({over}).imageRendering") == "pixelated"
        page.run("document.querySelector('.map').scrollIntoView()")
        page.wait(DRAWN)
    assert page.complaints == []


# ---- everywhere


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The URLs of a gallery with images and runs, and of an empty one."""
    gallery = Gallery(tmp_path_factory.mktemp("full"), gallery_size=4, uploads_url="/uploads")
    images = []
    for number in range(5):
        content, name = sample(number, 320)
        mode = "upscale" if number == 3 else "evaluate"
        known = credited("Ada Lovelace", "https://example.org/") if number % 2 else {}
        images.append(
            gallery.finish(content, name, mode=mode, finished_at=hours_ago(9 - number), **known)
        )
    states: tuple[State, ...] = ("succeeded", "failed", "running", "stopped")
    for number, state in enumerate(states):
        detail = {"error": "States.TaskFailed", "cause": "the cluster has gone"}
        status = RunStatus(f"run-{number}", "execution", state, 2, DAY, None, MOMENT, detail)
        record_status(gallery.database, status)
    gallery.changes.poll()
    empty = Gallery(tmp_path_factory.mktemp("empty"), private=False)
    with gallery.served() as address, empty.served() as nothing:
        yield {
            "gallery": f"{address}/",
            "sorted": f"{address}/?order=worst",
            "measured": f"{address}/images/{images[4].image_id}",
            "unmeasured": f"{address}/images/{images[3].image_id}",
            "runs": f"{address}/runs",
            "empty": f"{nothing}/",
            "no runs": f"{nothing}/runs",
            "login": f"{nothing}/login",
            "error": f"{address}/images/none",
        }
    gallery.close()
    empty.close()


PAGES = "gallery", "sorted", "measured", "unmeasured", "runs", "empty", "no runs", "login", "error"


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_violations(full, page, name):
    require("axe-core", "make web-tools", found=AXE.is_file())
    page.open(full[name])
    page.call("Runtime.evaluate", expression=AXE.read_text("utf-8"))
    for dark in (False, True):
        for width, height in ((1280, 860), (390, 844)):
            page.set_screen(width, height, dark=dark)
            assert violations(page) == []
    if name in ("gallery", "measured"):
        page.run("document.querySelector('.zoom').click()")
        page.wait("document.querySelector('.layer.right img').dataset.whole")
        for dark in (False, True):
            page.set_screen(1280, 860, dark=dark)
            assert violations(page) == []


def violations(page: Page) -> list[str]:
    script = "axe.run().then(found => JSON.stringify(found.violations))"
    answer = page.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
    found = json.loads(answer["result"]["value"])
    return [
        f"{rule['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for rule in found
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_a_phone_or_logs_errors(full, page, name):
    page.open(full[name])
    for width in (320, 390, 1280):
        page.set_screen(width, 844)
        assert page.run("document.documentElement.scrollWidth") <= width
    # Chromium itself logs every response that is an error.
    assert [each for each in page.complaints if name != "error" or "404" not in each] == []


def test_dark_mode_is_dark(full, page):
    page.open(full["gallery"])
    colours = []
    for dark in (False, True):
        page.set_screen(1280, 860, dark=dark)
        colours.append(page.run("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(246, 247, 249)", "rgb(17, 19, 23)"]


def test_a_person_can_log_in_and_out(tmp_path, page):
    gallery = Gallery(tmp_path, private=True)
    with gallery.served() as address:
        page.open(f"{address}/runs")
        page.wait("document.querySelector('#token')")
        for token, reached in (("x" * 20, "[role=alert]"), (TOKEN, "[data-page=runs]")):
            page.run(f"document.querySelector('#token').value = '{token}'")
            page.run("document.querySelector('form.login button').click()")
            page.wait(f"document.querySelector('{reached}')")
        page.run("document.querySelector('form[action=\"/logout\"] button').click()")
        page.wait("document.querySelector('#token')")
    gallery.close()
