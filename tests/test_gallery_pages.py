"""What the pages and ``/pictures`` answer: their facts, their validators, and what they refuse."""

import io
import json
import re
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from notifier.recording import record_status
from notifier.store.runs import RunStatus
from notifier.web.chart import chart_of
from notifier.web.showing import gain_of, shown, shown_run
from superres.records import Evaluation, Metrics, StoredImage
from tests import corpus
from tests.finished import MOMENT, evaluation
from tests.gallery import DAY, TOKEN, Gallery, credited, hours_ago

PHOTO = corpus.png(corpus.photo(61, 83))


@pytest.fixture
def gallery(tmp_path):
    made = Gallery(tmp_path, gallery_size=3)
    yield made
    made.close()


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A service with one image, for tests that change nothing."""
    made = Gallery(tmp_path_factory.mktemp("one"))
    image = made.finish(
        PHOTO, "a boat.png", **credited("Ada <Lovelace>", "https://example.org/ada")
    )
    yield made, image
    made.close()


def text_of(page: str) -> str:
    """What is read in the main part of a page."""
    main = page[page.index("<main") : page.index("</main>")]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def names(page: str) -> list[str]:
    return re.findall(r'<h3 id="name-[^>]+><a [^>]+>([^<]+)</a>', page)


# ---- the gallery


def test_a_card_tells_what_there_is_to_know(one):
    gallery, image = one
    page = gallery.get("/").text
    told = text_of(page)
    gain = image.ours.psnr - image.bicubic.psnr
    assert f"Gain over bicubic {gain:+.2f} dB" in told
    assert f"Super-resolved {image.ours.psnr:.2f} dB {image.ours.ssim:.4f}" in told
    assert f"Bicubic {image.bicubic.psnr:.2f} dB {image.bicubic.ssim:.4f}" in told
    assert "41 × 30 ×2 82 × 60" in told
    assert "Photograph by Ada <Lovelace>" in told
    assert 'href="https://example.org/ada" rel="noopener noreferrer nofollow external"' in page
    assert f'datetime="{image.finished_at.isoformat()}"' in page
    assert names(page) == ["a boat.png"]


def test_every_picture_of_a_page_is_there(one):
    gallery, image = one
    for path in ("/", f"/images/{image.image_id}"):
        page = unescape(gallery.get(path).text)
        addresses = set(re.findall(r'/pictures/[^"\s,]+', page))
        assert len(addresses) >= 8
        for address in addresses:
            assert gallery.get(address).status_code == 200, address


def test_the_means_are_of_all_images(gallery):
    images = [
        gallery.finish(corpus.png(corpus.photo(60, 80, seed=n)), f"{n}.png") for n in range(3)
    ]
    gallery.finish(PHOTO, "unmeasured.png", mode="upscale")
    told = text_of(gallery.get("/").text)
    gains = [image.ours.psnr - image.bicubic.psnr for image in images]
    assert "Images 4 3 measured" in told
    assert f"Mean gain {sum(gains) / 3:+.2f} dB" in told.replace("−", "-")
    assert f"Mean PSNR {sum(i.ours.psnr for i in images) / 3:.2f} dB" in told
    assert f"bicubic {sum(i.bicubic.psnr for i in images) / 3:.2f} dB" in told
    assert f"Mean SSIM {sum(i.ours.ssim for i in images) / 3:.4f}" in told
    assert "The last measured 3 images, oldest first" in told


def test_without_an_original_nothing_is_measured_and_bicubic_is_shown(gallery):
    gallery.finish(PHOTO, mode="upscale")
    page = gallery.get("/").text
    told = text_of(page)
    assert "No original to measure against." in told
    assert "PSNR" not in told
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
    gallery.tell(image)
    page = gallery.get(f"/images/{image.image_id}").text
    assert "Photograph by Ada" in page
    assert "alert" not in page


def test_what_comes_from_outside_is_escaped(gallery):
    bad = "<script>alert('&\"</script>"
    image = evaluation(1).model_copy(update=credited(bad) | {"source": f"upload:{bad}x"})
    gallery.tell(image)
    for path in ("/", f"/images/{image.image_id}"):
        page = gallery.get(path).text
        assert "<script>alert" not in page
        assert "&#34;" in page
        for told in re.findall(r"data-viewer='([^']*)'", page):
            assert "<" not in told
            assert json.loads(unescape(told))["name"].endswith("x")


def test_orders(gallery):
    for number, gain in enumerate((0.5, 2.0, None, 1.0)):
        gallery.tell(
            evaluation(number, gain=gain, minutes=number).model_copy(
                update={"source": f"no-{number}"}
            )
        )
    assert names(gallery.get("/").text) == ["no-3", "no-2", "no-1"]
    assert names(gallery.get("/?order=best").text) == ["no-1", "no-3", "no-0"]
    assert names(gallery.get("/?order=worst").text) == ["no-0", "no-3", "no-1"]


@pytest.mark.parametrize("order", ["newest", "best", "worst"])
def test_pages_lead_through_all_images_and_back(gallery, order):
    for number in range(8):
        image = evaluation(number, gain=number / 4, minutes=number)
        gallery.tell(image.model_copy(update={"source": f"no-{number}"}))
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


def test_only_the_first_page_of_the_newest_takes_up_new_images(gallery):
    for number in range(4):
        gallery.tell(evaluation(number, minutes=number))
    older = unescape(re.search(r'rel="next" href="([^"]+)"', gallery.get("/").text)[1])
    assert 'data-lives="true"' in gallery.get("/").text
    for path in ("/?order=best", older):
        assert 'data-lives="false"' in gallery.get(path).text


@pytest.mark.parametrize(
    ("query", "status"),
    [("order=random", 400), ("after=x", 404), ("before=%00", 404), ("after=W10=", 404)],
)
def test_a_wrong_address_is_told(one, query, status):
    answer = one[0].get(f"/?{query}")
    assert answer.status_code == status
    assert f'<p class="status-code">{answer.status_code}</p>' in answer.text


def test_nothing_yet(gallery):
    page = gallery.get("/").text
    assert "No results yet" in page
    assert "make run" in page
    assert "<svg viewBox" not in text_of(page)
    assert "Mean" not in text_of(page)
    assert "No runs yet" in gallery.get("/runs").text


def test_nothing_to_sort_by(gallery):
    gallery.tell(evaluation(1, gain=None))
    assert "Nothing to sort by" in gallery.get("/?order=best").text


def test_a_link_to_send_photographs_where_there_is_one(tmp_path, one):
    assert "Send photographs" not in one[0].get("/").text
    gallery = Gallery(tmp_path, uploads_url="/uploads")
    page = gallery.get("/").text
    gallery.close()
    assert '<a href="/uploads">Send photographs</a>' in page
    assert '<a href="/uploads">send photographs</a>' in page  # where nothing is yet


def test_a_fragment_is_the_main_part_alone(one):
    gallery, image = one
    for path in ("/", "/runs", f"/images/{image.image_id}"):
        whole, part = gallery.get(path), gallery.get(path, **{"X-Fragment": "1"})
        assert part.text.strip().startswith("<main")
        assert part.text.strip().endswith("</main>")
        assert part.text.strip() in whole.text
        assert "X-Fragment" in whole.headers["Vary"]
        assert whole.headers["Cache-Control"] == "no-cache"


def test_pages_load_nothing_but_what_the_policy_allows(one):
    gallery, image = one
    for path in ("/", "/runs", "/login", "/images/none", f"/images/{image.image_id}"):
        answer = gallery.get(path)
        assert "script-src 'self'; style-src 'self'" in answer.headers["Content-Security-Policy"]
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", answer.text)
        for script in re.findall(r"<script[^>]*>[^<]*", answer.text):
            assert re.fullmatch(r'<script type="module" src="/static/[a-z]+\.js">', script)
        loaded = re.findall(r'(?:src|srcset|<link[^>]* href|action)="([^"]+)"', answer.text)
        assert all(address.startswith("/") and address[1:2] != "/" for address in loaded)


def test_runs(gallery):
    detail = {
        "counts": {"evaluate_images": 1200},
        "rejected": ["a", "b"],
        "seconds": {"fused": 2.5},
    }
    trouble = {"error": "States.TaskFailed", "cause": "<the cluster> has gone"}
    for status in (
        RunStatus("2026-01-31-x2", "run", "succeeded", 2, DAY, None, hours_ago(1), detail),
        RunStatus("nightly-1", "execution", "failed", 2, DAY, None, hours_ago(1), trouble),
        RunStatus("nightly-2", "execution", "running", 2, DAY, None, hours_ago(1), {}),
    ):
        record_status(gallery.database, status)
    told = text_of(gallery.get("/runs").text)
    assert "2026-01-31-x2 succeeded 1200 2 2.5 2026-01-31 ×2" in told
    assert "nightly-1 execution States.TaskFailed: <the cluster> has gone failed – – –" in told
    gallery.changes.look()
    front = text_of(gallery.get("/").text)
    assert "running nightly-2" in front
    assert "2026-01-31-x2 1200 images, 2 rejected" in front


def test_more_runs_than_a_page(gallery):
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
    [{}, {"counts": 1, "rejected": "x", "seconds": {"a": "b"}, "error": 5}, {"counts": []}],
)
def test_a_run_whose_details_are_of_another_kind_is_shown_without_them(detail):
    run = shown_run(RunStatus("x", "run", "failed", None, None, None, MOMENT, detail))
    assert (run.images, run.rejected, run.seconds, run.trouble) == (None, None, None, "")


def test_the_chart_stands_on_zero():
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


def test_the_chart_of_nothing_and_of_equal_values():
    assert chart_of([]) is None
    chart = chart_of([("a", MOMENT, 0.0)])
    assert chart.bars[0].height > 0


# ---- one image


def test_the_page_of_an_image(one):
    gallery, image = one
    page = gallery.get(f"/images/{image.image_id}").text
    told = text_of(page)
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
        assert fact in told
    for kind in ("result", "original", "low", "bicubic"):
        assert f"/pictures/{image.image_id}/{kind}?v={shown(image).version}&amp;download=1" in page


@pytest.mark.parametrize("image_id", ["0" * 32, "x", "..", "0" * 31 + "G", "A" * 32])
def test_an_image_that_is_not_there(one, image_id):
    gallery, _ = one
    for path in (f"/images/{image_id}", f"/pictures/{image_id}/result"):
        assert gallery.get(path).status_code == 404


def test_a_large_image_has_neither_map_nor_enlargement(gallery):
    sizes = {"result": (12000, 8000), "low_resolution": (6000, 4000), "original": (12000, 8000)}
    known = {
        name: StoredImage(uri=f"{gallery.folder}/{name}.png", width=width, height=height)
        for name, (width, height) in sizes.items()
    }
    image = evaluation(1).model_copy(update=known)
    gallery.tell(image)
    page = gallery.get(f"/images/{image.image_id}").text
    assert "for images of up to 40 megapixels" in page
    assert "/bicubic" not in page
    assert "/difference" not in page
    answer = gallery.get(f"/pictures/{image.image_id}/bicubic")
    assert answer.status_code == 404
    assert "40 megapixels; the result has 96" in answer.json["detail"]


# ---- pictures over HTTP


def picture(one: tuple[Gallery, Evaluation], kind: str, query: str = "", **headers: str):
    gallery, image = one
    return gallery.get(f"/pictures/{image.image_id}/{kind}?{query}", **headers)


@pytest.mark.parametrize(
    ("kind", "query", "size"),
    [
        ("result", "", (82, 60)),
        ("original", "", (83, 61)),
        ("low", "", (41, 30)),
        ("bicubic", "", (82, 60)),
        ("difference", "", (82, 60)),
        ("original", "width=320", (82, 60)),
        ("low", "width=640", (41, 30)),
    ],
)
def test_pictures(one, kind, query, size):
    answer = picture(one, kind, query)
    assert answer.status_code == 200
    with Image.open(io.BytesIO(answer.data)) as opened:
        assert opened.size == size
        assert answer.mimetype == f"image/{opened.format.lower()}"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "attachment" not in answer.headers.get("Content-Disposition", "")


@pytest.mark.parametrize("kind", ["result", "bicubic"])
def test_a_picture_that_is_known_is_not_sent_again(one, kind):
    first = picture(one, kind)
    assert first.headers["Cache-Control"] == "private, no-cache"
    for known in (
        {"If-None-Match": first.headers["ETag"]},
        {"If-Modified-Since": first.headers["Last-Modified"]},
    ):
        again = picture(one, kind, **known)
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
    assert picture(one, kind, **{"If-None-Match": '"other"'}).status_code == 200


def test_a_named_version_may_be_kept_for_good(one):
    version = shown(one[1]).version
    assert "immutable" in picture(one, "result", f"v={version}").headers["Cache-Control"]
    assert "no-cache" in picture(one, "result", "v=older").headers["Cache-Control"]


def test_the_validator_changes_with_the_image(gallery):
    image = gallery.finish(PHOTO)
    told = [gallery.get(f"/pictures/{image.image_id}/{kind}") for kind in ("result", "bicubic")]
    later = gallery.finish(corpus.png(corpus.photo(64, 64)), finished_at=hours_ago(-1))
    assert later.image_id == image.image_id
    for kind, before in zip(("result", "bicubic"), told, strict=True):
        tag = before.headers["ETag"]
        after = gallery.get(f"/pictures/{image.image_id}/{kind}", **{"If-None-Match": tag})
        assert after.status_code == 200
        assert after.data != before.data


@pytest.mark.parametrize("kind", ["result", "difference"])
def test_a_part_of_a_picture(one, kind):
    whole = picture(one, kind)
    part = picture(one, kind, Range="bytes=8-15")
    assert (part.status_code, part.data) == (206, whole.data[8:16])
    assert part.headers["Content-Range"] == f"bytes 8-15/{len(whole.data)}"
    assert picture(one, kind, Range="bytes=999999999-").status_code == 416
    changed = {"Range": "bytes=8-15", "If-Range": '"other"'}
    assert picture(one, kind, **changed).status_code == 200


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("result", "a-boat-x2.png"),
        ("original", "a-boat.png"),
        ("low", "a-boat-low.png"),
        ("bicubic", "a-boat-x2-bicubic.png"),
        ("difference", "a-boat-x2-difference.png"),
    ],
)
def test_downloads_have_good_names(one, kind, name):
    disposition = picture(one, kind, "download=1").headers["Content-Disposition"]
    assert disposition == f"attachment; filename={name}"


def test_the_name_of_a_download_is_tame(gallery):
    for number, source in enumerate(
        ("upload:../../etc/x\r\nX: y.png", "upload:写真.png", "upload:" + "a" * 300)
    ):
        image = gallery.finish(PHOTO, f"{number}.png", source=source)
        answer = gallery.get(f"/pictures/{image.image_id}/result?download=1")
        name = answer.headers["Content-Disposition"].removeprefix("attachment; filename=")
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,90}\.png", name)
        assert ".." not in name


def test_the_type_is_told_by_the_content_not_by_the_name(gallery):
    image = gallery.finish(PHOTO)
    Path(image.result.uri).write_bytes(corpus.pillow(corpus.photo(60, 82), "JPEG"))
    assert gallery.get(f"/pictures/{image.image_id}/result").mimetype == "image/jpeg"
    Path(image.result.uri).write_bytes(b"<!doctype html><script>alert(1)</script>")
    answer = gallery.get(f"/pictures/{image.image_id}/result")
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


def test_a_tiff_is_shown_as_png_and_downloaded_as_it_came(gallery):
    image = gallery.finish(corpus.tiff(corpus.photo(61, 83)), "scan.tif")
    address = f"/pictures/{image.image_id}/original"
    assert gallery.get(address).mimetype == "image/png"
    download = gallery.get(f"{address}?download=1")
    assert download.mimetype == "image/tiff"
    assert download.headers["Content-Disposition"] == "attachment; filename=scan.tif"
    assert download.data == Path(image.original.uri).read_bytes()


@pytest.mark.parametrize(
    "place", ["/etc/passwd", "{folder}/notifier.db", "{folder}/results/../x.png"]
)
def test_a_forged_record_reads_no_other_file(gallery, place):
    uri = place.format(folder=gallery.folder)
    (gallery.folder / "x.png").write_bytes(PHOTO)
    stored = StoredImage(uri=uri, width=82, height=60)
    image = evaluation(1).model_copy(
        update={"result": stored, "original": stored, "low_resolution": stored}
    )
    gallery.tell(image)
    for kind in ("result", "original", "low", "bicubic", "difference"):
        for query in ("", "?width=320", "?download=1"):
            answer = gallery.get(f"/pictures/{image.image_id}/{kind}{query}")
            assert answer.status_code == 404
            assert "outside the configured folders" in answer.json["detail"]
            assert str(gallery.folder) not in answer.text


@pytest.mark.parametrize(
    "path", ["../../../etc/passwd", "result/..", "%2e%2e%2fresult", "result%00", "evaluation"]
)
def test_a_path_leads_nowhere(one, path):
    gallery, image = one
    assert gallery.get(f"/pictures/{image.image_id}/{path}").status_code == 404


@pytest.mark.parametrize("width", ["0", "321", "-1", "x", "", "1e3", "99999999999"])
def test_thumbnails_have_set_widths(one, width):
    answer = picture(one, "result", f"width={width}")
    assert answer.status_code == 400
    assert "320, 640, 1280" in answer.json["detail"]


def test_what_has_expired_is_gone(gallery):
    image = gallery.finish(PHOTO)
    Path(image.original.uri).unlink()
    for query in ("", "?width=320"):
        answer = gallery.get(f"/pictures/{image.image_id}/original{query}")
        assert answer.status_code == 410
        assert "expired" in answer.json["detail"]
        assert "immutable" not in answer.headers["Cache-Control"]


def test_there_is_no_original_of_what_was_sent_to_be_enlarged(gallery):
    image = gallery.finish(PHOTO, mode="upscale")
    assert gallery.get(f"/pictures/{image.image_id}/original").status_code == 404


def test_storage_that_fails_is_told_without_its_reason(gallery, monkeypatch):
    image = gallery.finish(PHOTO)
    monkeypatch.setattr("notifier.drawing.thumbnail", fail)
    answer = gallery.get(f"/pictures/{image.image_id}/result?width=320")
    assert answer.status_code == 503
    assert str(gallery.folder) not in answer.text
    assert int(answer.headers["Retry-After"]) > 0


def fail(*_):
    raise OSError(5, "Input/output error")


def test_whole_pictures_in_s3_are_left_to_s3(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr("superres.storage.exists", lambda uri: not uri.endswith("gone.png"))
    asked = []

    def presigned(uri, seconds, filename=None, content_type=None):
        asked.append((uri, seconds, filename, content_type))
        return "https://bucket.s3.eu-central-1.amazonaws.com/x?signed"

    monkeypatch.setattr("superres.storage.presigned", presigned)
    gallery = Gallery(tmp_path)
    dataset = gallery.settings.dataset
    object.__setattr__(dataset, "reconstructed_images_dir", "s3://bucket/results")
    uri = "s3://bucket/results/images/x.png"
    image = evaluation(1)
    for name in (uri, "s3://bucket/results/gone.png", "s3://other/x.png"):
        stored = StoredImage(uri=name, width=4, height=2)
        image = image.model_copy(
            update={"result": stored, "finished_at": image.finished_at + timedelta(hours=1)}
        )
        gallery.tell(image)
        answer = gallery.get(f"/pictures/{image.image_id}/result?download=1")
        if name == uri:
            assert answer.status_code == 302
            assert answer.location == "https://bucket.s3.eu-central-1.amazonaws.com/x?signed"
            # What the browser keeps must not outlive the signature.
            assert answer.headers["Cache-Control"] == "private, max-age=300"
            assert asked[-1] == (uri, 600, "picsum-x2.png", "image/png")
        else:
            assert answer.status_code == (410 if "gone" in name else 404)
    gallery.close()


# ---- logging in


def test_the_login_page_and_its_error(tmp_path):
    gallery = Gallery(tmp_path, guarded=True)
    refused = gallery.get("/runs")
    assert (refused.status_code, refused.location) == (302, "/login?next=%2Fruns")
    form = gallery.get(refused.location).text
    assert 'name="next" value="/runs"' in form
    assert "Log out" not in form
    wrong = gallery.client.post("/login", data={"token": "x" * 20, "next": "/runs"})
    assert wrong.status_code == 403
    assert "That is not the token." in wrong.text
    assert "x" * 20 not in wrong.text
    right = gallery.client.post("/login", data={"token": TOKEN, "next": "/runs"})
    assert right.location == "/runs"
    assert '<form method="post" action="/logout">' in gallery.get("/runs").text
    gallery.close()
