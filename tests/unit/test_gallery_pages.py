"""The pages of the gallery: their content, and what they reject."""

import json
import math
import re
from dataclasses import replace
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import delete
from structlog.testing import capture_logs

from notifier.recording import record_status
from notifier.store.database import count_change
from notifier.store.runs import RunStatus, status_of_manifest
from notifier.store.tables import Image
from notifier.web.chart import chart_of
from notifier.web.showing import gain_of, shown, shown_run
from superres.imaging.decoding import decode
from superres.imaging.info import ImageInfo
from superres.imaging.limits import Limits
from superres.pipeline.recipe import Recipe
from superres.pipeline.records import Metrics, StoredImage
from tests.support import image_files
from tests.support.evaluation_records import MOMENT, evaluation, image_id, manifest
from tests.support.example_gallery import (
    DAY,
    PHOTO,
    TOKEN,
    Gallery,
    credited,
    gallery_of_one,
    hours_ago,
)


@pytest.fixture
def gallery(tmp_path):
    made = Gallery(tmp_path, gallery_size=3)
    yield made
    made.close()


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A notifier with one image, for tests that change nothing."""
    with gallery_of_one(tmp_path_factory.mktemp("one")) as made:
        yield made


def text_of(page: str) -> str:
    """The visible text of the main part of a page."""
    main = page[page.index("<main") : page.index("</main>")]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def info_of(content: bytes) -> ImageInfo:
    return decode(content, Limits(1 << 30, 1 << 30)).info


def names(page: str) -> list[str]:
    return re.findall(r'<h3 id="name-[^>]+><a [^>]+>([^<]+)</a>', page)


# ---- the gallery


def test_a_card_shows_name_figures_and_credit(one):
    gallery, image = one
    page = gallery.get("/").text
    text = text_of(page)
    gain = image.ours.psnr - image.bicubic.psnr
    assert f"Gain over bicubic {gain:+.2f} dB" in text
    assert f"Upscaled {image.ours.psnr:.2f} dB {image.ours.ssim:.4f}" in text
    assert f"Bicubic {image.bicubic.psnr:.2f} dB {image.bicubic.ssim:.4f}" in text
    assert "41 × 30 ×2 82 × 60" in text
    assert "Photograph by Ada <Lovelace>" in text
    assert 'href="https://example.org/ada" rel="noopener noreferrer nofollow external"' in page
    assert f'datetime="{image.finished_at.isoformat()}"' in page
    assert names(page) == ["a boat.png"]


def test_two_recipes_of_an_image_are_shown_and_lead_to_one_another(gallery):
    default = gallery.finish(PHOTO)
    grey = gallery.finish(PHOTO, recipe=Recipe(grayscale=True))
    page = gallery.get("/").text
    assert re.findall(r'<a href="/images/([0-9a-f-]+)">boat', page) == [
        grey.result_id,
        default.result_id,
    ]
    assert len(set(re.findall(r'<li data-key="([^"]+)"', page))) == 2
    assert "grayscale" in text_of(page)
    for shown_one, other, recipe, of_other in (
        (default, grey, "default", "grayscale"),
        (grey, default, "grayscale", "default"),
    ):
        page = gallery.get(f"/images/{shown_one.result_id}").text
        assert f"Recipe {recipe} Other recipes {of_other} Model fsrcnn_x2" in text_of(page)
        assert f'<a href="/images/{other.result_id}">{of_other}</a>' in page
        assert f'href="/api/v1/images/{shown_one.result_id}"' in page
        for kind in ("result", "bicubic", "difference"):
            address = f"/pictures/{shown_one.result_id}/{kind}"
            assert f"{address}?v=" in page
            channels = info_of(gallery.get(address).data).channels
            assert kind == "difference" or channels == (1 if shown_one is grey else 3), kind


def test_every_picture_of_a_page_can_be_loaded(one):
    gallery, image = one
    for path in ("/", f"/images/{image.image_id}"):
        page = unescape(gallery.get(path).text)
        addresses = set(re.findall(r'/pictures/[^"\s,]+', page))
        assert len(addresses) >= 8
        for address in addresses:
            assert gallery.get(address).status_code == 200, address


def test_the_means_are_of_all_images(gallery):
    images = [
        gallery.finish(image_files.png(image_files.photo(60, 80, seed=n)), f"{n}.png")
        for n in range(3)
    ]
    gallery.finish(PHOTO, "unmeasured.png", mode="upscale")
    text = text_of(gallery.get("/").text)
    gains = [image.ours.psnr - image.bicubic.psnr for image in images]
    assert "Images 4 3 measured" in text
    assert f"Mean gain {sum(gains) / 3:+.2f} dB" in text.replace("−", "-")
    assert f"Mean PSNR {sum(i.ours.psnr for i in images) / 3:.2f} dB" in text
    assert f"bicubic {sum(i.bicubic.psnr for i in images) / 3:.2f} dB" in text
    assert f"Mean SSIM {sum(i.ours.ssim for i in images) / 3:.4f}" in text
    assert "The last measured 3 images, oldest first" in text


def test_without_an_original_nothing_is_measured_and_bicubic_is_shown(gallery):
    gallery.finish(PHOTO, mode="upscale")
    page = gallery.get("/").text
    text = text_of(page)
    assert "No original to compare with." in text
    assert "PSNR" not in text
    assert 'class="tag left">Bicubic<' in page
    assert "/original" not in page


@pytest.mark.parametrize(
    ("ours", "bicubic", "gain"),
    [
        (30.0, 28.5, "+1.50 dB"),
        (28.0, 28.5, "−0.50 dB"),
        (None, 28.5, "∞ dB"),
        (30.0, None, "−∞ dB"),
        (None, None, "both equal"),
    ],
)
def test_the_gain_of_an_image_that_equals_its_original(ours, bicubic, gain):
    image = evaluation(1).model_copy(
        update={"ours": Metrics(psnr=ours, ssim=1), "bicubic": Metrics(psnr=bicubic, ssim=1)}
    )
    assert gain_of(image) == gain
    row = shown(image).figures[0]
    assert row.psnr == ("∞ dB" if ours is None else f"{ours:.2f} dB")


def test_an_image_that_was_not_measured_has_no_gain():
    assert gain_of(evaluation(1, gain=None)) is None
    assert shown(evaluation(1, gain=None)).figures == []


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//example.org",
        "https://",
        "https://a b",
        "[",
        None,
    ],
)
def test_a_credit_links_to_the_web_and_nowhere_else(gallery, url):
    image = evaluation(1).model_copy(update=credited("Ada", url))
    assert shown(image).credit_url is None
    gallery.record(image)
    page = gallery.get(f"/images/{image.image_id}").text
    assert "Photograph by Ada" in page
    assert "alert" not in page


def test_text_from_records_is_escaped(gallery):
    bad = "<script>alert('&\"</script>"
    image = evaluation(1).model_copy(update=credited(bad) | {"source": f"upload:{bad}x"})
    gallery.record(image)
    for path in ("/", f"/images/{image.image_id}"):
        page = gallery.get(path).text
        assert "<script>alert" not in page
        assert "&#34;" in page
        for data in re.findall(r"data-viewer='([^']*)'", page):
            assert "<" not in data
            assert json.loads(unescape(data))["name"].endswith("x")


def test_images_are_sorted_by_time_or_gain(gallery):
    for number, gain in enumerate((0.5, 2.0, None, 1.0)):
        gallery.record(
            evaluation(number, gain=gain, minutes=number).model_copy(
                update={"source": f"no-{number}"}
            )
        )
    assert names(gallery.get("/").text) == ["no-3", "no-2", "no-1"]
    assert names(gallery.get("/?order=best").text) == ["no-1", "no-3", "no-0"]
    assert names(gallery.get("/?order=worst").text) == ["no-0", "no-3", "no-1"]


@pytest.mark.parametrize("order", ["newest", "best", "worst"])
def test_page_links_lead_through_all_images_and_back(gallery, order):
    for number in range(8):
        image = evaluation(number, gain=number / 4, minutes=number)
        gallery.record(image.model_copy(update={"source": f"no-{number}"}))
    seen, path, pages = [], f"/?order={order}", []
    while path:
        page = gallery.get(path).text
        pages.append(names(page))
        seen += pages[-1]
        link = re.search(r'rel="next" href="([^"]+)"', page)
        path = unescape(link[1]) if link else ""
    expected = [f"no-{n}" for n in range(8)]
    assert seen == (expected if order == "worst" else expected[::-1])
    back = []
    while link := re.search(r'rel="prev" href="([^"]+)"', page):
        page = gallery.get(unescape(link[1])).text
        back.append(names(page))
    assert back == pages[-2::-1]


def test_only_the_first_page_of_the_newest_images_is_live(gallery):
    for number in range(4):
        gallery.record(evaluation(number, minutes=number))
    older = unescape(re.search(r'rel="next" href="([^"]+)"', gallery.get("/").text)[1])
    assert 'data-live="true"' in gallery.get("/").text
    for path in ("/?order=best", older):
        assert 'data-live="false"' in gallery.get(path).text


@pytest.mark.parametrize(
    ("query", "status"),
    [("order=random", 400), ("after=x", 404), ("before=%00", 404), ("after=W10=", 404)],
)
def test_an_invalid_query_shows_an_error_page(one, query, status):
    answer = one[0].get(f"/?{query}")
    assert answer.status_code == status
    assert f'<p class="status-code">{answer.status_code}</p>' in answer.text


def test_an_empty_gallery_says_how_to_make_results(gallery):
    page = gallery.get("/").text
    assert "No results yet" in page
    assert "make run" in page
    assert "<svg viewBox" not in text_of(page)
    assert "Mean" not in text_of(page)
    assert "No runs yet" in gallery.get("/runs").text


def test_sorting_by_gain_without_any_gain_shows_a_hint(gallery):
    gallery.record(evaluation(1, gain=None))
    assert "Nothing to sort by" in gallery.get("/?order=best").text


def test_the_upload_page_is_linked_where_it_is_configured(tmp_path, one):
    assert "Upload photographs" not in one[0].get("/").text
    gallery = Gallery(tmp_path, uploads_url="/uploads")
    page = gallery.get("/").text
    gallery.close()
    assert '<a href="/uploads">Upload photographs</a>' in page
    assert '<a href="/uploads">upload photographs</a>' in page  # of the empty gallery


def test_a_fragment_is_the_main_part_alone(one):
    gallery, image = one
    for path in ("/", "/runs", f"/images/{image.image_id}"):
        whole, part = gallery.get(path), gallery.get(path, **{"X-Fragment": "1"})
        assert part.text.strip().startswith("<main")
        assert part.text.strip().endswith("</main>")
        assert part.text.strip() in whole.text
        assert "X-Fragment" in whole.headers["Vary"]
        assert whole.headers["Cache-Control"] == "no-cache"


def test_pages_load_only_what_their_policy_allows(one):
    gallery, image = one
    for path in ("/", "/runs", "/login", "/images/none", f"/images/{image.image_id}"):
        answer = gallery.get(path)
        assert "script-src 'self'; style-src 'self'" in answer.headers["Content-Security-Policy"]
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", answer.text)
        for script in re.findall(r"<script[^>]*>[^<]*", answer.text):
            assert re.fullmatch(r'<script type="module" src="/static/[a-z]+\.js">', script)
        loaded = re.findall(r'(?:src|srcset|<link[^>]* href|action)="([^"]+)"', answer.text)
        assert all(address.startswith("/") and address[1:2] != "/" for address in loaded)


def test_runs_and_executions_are_shown(gallery):
    detail = {
        "counts": {"evaluate_images": 1200},
        "rejected": ["a", "b"],
        "seconds": {"fused": 2.5},
    }
    error = {"error": "States.TaskFailed", "cause": "<the cluster> has gone"}
    for status in (
        RunStatus("2026-01-31-x2", "run", "succeeded", 2, DAY, None, hours_ago(1), detail),
        RunStatus("nightly-1", "execution", "failed", 2, DAY, None, hours_ago(1), error),
        RunStatus("nightly-2", "execution", "running", 2, DAY, None, hours_ago(1), {}),
    ):
        record_status(gallery.database, status)
    text = text_of(gallery.get("/runs").text)
    assert "2026-01-31-x2 succeeded 1200 2 2.5 2026-01-31 ×2" in text
    assert "nightly-1 execution States.TaskFailed: <the cluster> has gone failed – – –" in text
    gallery.changes.poll()
    front = text_of(gallery.get("/").text)
    assert "running nightly-2" in front
    assert "2026-01-31-x2 1200 images, 2 rejected" in front


def test_older_runs_are_on_the_next_page(gallery):
    for number in range(45):
        moment = MOMENT + timedelta(minutes=number)
        record_status(
            gallery.database,
            RunStatus(f"run-{number}.", "run", "succeeded", 2, DAY, None, moment, {}),
        )
    page = gallery.get("/runs").text
    assert ("run-44." in page, "run-4." in page) == (True, False)
    older = gallery.get(unescape(re.search(r'rel="next" href="([^"]+)"', page)[1])).text
    assert ("run-44." in older, "run-4." in older) == (False, True)
    assert 'rel="next"' not in older


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"counts": 1, "rejected": "x", "seconds": {"a": "b"}, "error": 5, "recipe": "x"},
        {"counts": [], "recipe": {"members": 5}},
    ],
)
def test_a_run_is_shown_without_details_of_unexpected_types(detail):
    run = shown_run(RunStatus("x", "run", "failed", None, None, None, MOMENT, detail))
    assert (run.images, run.rejected, run.seconds, run.error) == (None, None, None, "")
    assert run.recipe is None


def test_a_run_of_another_recipe_says_which(gallery):
    record_status(
        gallery.database, status_of_manifest(manifest(recipe=Recipe(precision="float16")))
    )
    text = text_of(gallery.get("/runs").text)
    assert re.search(r"2026-01-31-x2-[0-9a-f]{8} precision float16 succeeded", text)


def test_bars_of_the_chart_start_at_zero():
    chart = chart_of([("a", MOMENT, 2.0), ("b", MOMENT, -0.4), ("c", MOMENT, 1.0)])
    zero = next(y for y, label in chart.levels if label == "0")
    gain, loss, last = chart.bars
    assert gain.y + gain.height == pytest.approx(zero)
    assert loss.y == pytest.approx(zero)
    assert (gain.loses, loss.loses) == (False, True)
    assert gain.height == pytest.approx(2 * last.height, abs=0.02)
    assert loss.height == pytest.approx(0.4 * last.height, abs=0.02)
    assert last.x + last.width <= 420
    assert [label for _, label in chart.levels] == ["2", "0", "−0.5"]
    assert "mean +0.87 dB, least −0.40 dB, greatest +2.00 dB" in chart.summary


def test_a_chart_skips_what_no_image_has():
    absurd = [("a", MOMENT, gain) for gain in (1e308, -1e308, math.inf, -math.inf, math.nan)]
    assert chart_of(absurd) is None
    assert chart_of([*absurd, ("b", MOMENT, 1.0)]) == chart_of([("b", MOMENT, 1.0)])


def test_a_stored_record_that_is_refused_today_is_left_out_and_reported_once(one):
    """An earlier version may have stored it."""
    gallery, image = one
    poison = evaluation(7).to_json().replace('"seconds":0.5', '"seconds":-1')
    with gallery.database.writing() as session:
        row = {"result_id": image_id(7), "image_id": image_id(7), "record": poison}
        session.add(Image(**row, finished_at=MOMENT, run_id="", gain=1e308, uri="", tag=""))
        count_change(session)
    gallery.changes.poll()
    try:
        with capture_logs() as logs:
            for path in ("/", "/?order=best"):
                page = gallery.get(path)
                assert page.status_code == 200
                assert names(page.text) == ["a boat.png"]
                assert gallery.get(f"/images/{image_id(7)}").status_code == 404
                assert gallery.get(f"/images/{image.image_id}").status_code == 200
        assert [log["event"] for log in logs] == ["stored_record_unreadable"]
        assert image_id(7) in logs[0]["record"]
        assert "seconds" in logs[0]["reason"]
    finally:
        with gallery.database.writing() as session:
            session.execute(delete(Image).where(Image.image_id == image_id(7)))
            count_change(session)


@pytest.mark.parametrize("seconds", [{"split": 1e308}, {"split": -1}, {"split": 10**400}])
def test_a_run_of_absurd_seconds_is_shown_without_them(seconds):
    status = replace(status_of_manifest(manifest()), detail={"seconds": seconds})
    assert shown_run(status).seconds is None


def test_a_chart_of_equal_values_has_visible_bars_and_of_none_is_absent():
    assert chart_of([]) is None
    chart = chart_of([("a", MOMENT, 0.0)])
    assert chart.bars[0].height > 0


# ---- one image


def test_the_page_of_an_image_shows_facts_and_downloads(one):
    gallery, image = one
    page = gallery.get(f"/images/{image.image_id}").text
    text = text_of(page)
    for fact in (
        image.run_id,
        image.image_id,
        image.protocol,
        image.source,
        image.model_digest[:16],
        "82 × 60",
        "41 × 30",
        "83 × 61",
        "10 % of the range or more",
        "Difference from the original",
    ):
        assert fact in text
    for kind in ("result", "original", "low", "bicubic"):
        assert f"/pictures/{image.image_id}/{kind}?v={shown(image).version}&amp;download=1" in page


@pytest.mark.parametrize("image_id", ["0" * 32, "x", "..", "0" * 31 + "G", "A" * 32])
def test_an_unknown_image_is_not_found(one, image_id):
    gallery, _ = one
    for path in (f"/images/{image_id}", f"/pictures/{image_id}/result"):
        assert gallery.get(path).status_code == 404


def test_a_large_image_has_neither_difference_map_nor_bicubic_picture(gallery):
    sizes = {"result": (12000, 8000), "low_resolution": (6000, 4000), "original": (12000, 8000)}
    known = {
        name: StoredImage(uri=f"{gallery.folder}/{name}.png", width=width, height=height)
        for name, (width, height) in sizes.items()
    }
    image = evaluation(1).model_copy(update=known)
    gallery.record(image)
    page = gallery.get(f"/images/{image.image_id}").text
    assert "limited to images of up to 40 megapixels" in page
    assert "/bicubic" not in page
    assert "/difference" not in page
    answer = gallery.get(f"/pictures/{image.image_id}/bicubic")
    assert answer.status_code == 404
    assert "40 megapixels; the result has 96" in answer.json["detail"]


# ---- logging in


def test_the_login_page_rejects_a_wrong_token(tmp_path):
    gallery = Gallery(tmp_path, private=True)
    refused = gallery.get("/runs")
    assert (refused.status_code, refused.location) == (302, "/login?next=%2Fruns")
    form = gallery.get(refused.location).text
    assert 'name="next" value="/runs"' in form
    assert "Log out" not in form
    wrong = gallery.client.post("/login", data={"token": "x" * 20, "next": "/runs"})
    assert wrong.status_code == 403
    assert "This token is wrong." in wrong.text
    assert "x" * 20 not in wrong.text
    right = gallery.client.post("/login", data={"token": TOKEN, "next": "/runs"})
    assert right.location == "/runs"
    assert '<form method="post" action="/logout">' in gallery.get("/runs").text
    gallery.close()
