"""The route ``/pictures``: validators, downloads, and what it rejects."""

import io
import re
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from notifier.web.showing import shown
from superres.pipeline.records import Evaluation, StoredImage
from tests.support import image_files
from tests.support.evaluation_records import evaluation
from tests.support.example_gallery import PHOTO, Gallery, gallery_of_one, hours_ago


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
def test_every_kind_of_picture_has_its_size_and_type(one, kind, query, size):
    answer = picture(one, kind, query)
    assert answer.status_code == 200
    with Image.open(io.BytesIO(answer.data)) as opened:
        assert opened.size == size
        assert answer.mimetype == f"image/{opened.format.lower()}"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "attachment" not in answer.headers.get("Content-Disposition", "")


@pytest.mark.parametrize("kind", ["result", "bicubic"])
def test_an_unchanged_picture_is_not_sent_again(one, kind):
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


def test_a_picture_with_its_version_may_be_cached_for_ever(one):
    version = shown(one[1]).version
    assert "immutable" in picture(one, "result", f"v={version}").headers["Cache-Control"]
    assert "no-cache" in picture(one, "result", "v=older").headers["Cache-Control"]


def test_the_validator_changes_with_the_image(gallery):
    image = gallery.finish(PHOTO)
    first = [gallery.get(f"/pictures/{image.image_id}/{kind}") for kind in ("result", "bicubic")]
    later = gallery.finish(image_files.png(image_files.photo(64, 64)), finished_at=hours_ago(-1))
    assert later.image_id == image.image_id
    for kind, before in zip(("result", "bicubic"), first, strict=True):
        tag = before.headers["ETag"]
        after = gallery.get(f"/pictures/{image.image_id}/{kind}", **{"If-None-Match": tag})
        assert after.status_code == 200
        assert after.data != before.data


@pytest.mark.parametrize("kind", ["result", "difference"])
def test_a_range_of_a_picture_can_be_requested(one, kind):
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
def test_downloads_are_named_after_the_image_and_kind(one, kind, name):
    disposition = picture(one, kind, "download=1").headers["Content-Disposition"]
    assert disposition == f"attachment; filename={name}"


@pytest.mark.parametrize("suffix", ["JPG", "jfif", "jpe", "tiff"])
def test_the_name_of_a_download_has_no_suffix_of_its_source(gallery, suffix):
    image = gallery.finish(PHOTO, source=f"folder:a.boat.{suffix}")
    answer = gallery.get(f"/pictures/{image.image_id}/result?download=1")
    assert answer.headers["Content-Disposition"] == "attachment; filename=a.boat-x2.png"


def test_the_name_of_a_download_is_safe(gallery):
    for number, source in enumerate(
        ("upload:../../etc/x\r\nX: y.png", "upload:写真.png", "upload:" + "a" * 300)
    ):
        image = gallery.finish(PHOTO, f"{number}.png", source=source)
        answer = gallery.get(f"/pictures/{image.image_id}/result?download=1")
        name = answer.headers["Content-Disposition"].removeprefix("attachment; filename=")
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,90}\.png", name)
        assert ".." not in name


def test_the_type_is_that_of_the_content_not_of_the_name(gallery):
    image = gallery.finish(PHOTO)
    Path(image.result.uri).write_bytes(image_files.pillow(image_files.photo(60, 82), "JPEG"))
    assert gallery.get(f"/pictures/{image.image_id}/result").mimetype == "image/jpeg"
    Path(image.result.uri).write_bytes(b"<!doctype html><script>alert(1)</script>")
    answer = gallery.get(f"/pictures/{image.image_id}/result")
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


def test_a_tiff_is_shown_as_png_and_downloaded_unchanged(gallery):
    image = gallery.finish(image_files.tiff(image_files.photo(61, 83)), "scan.tif")
    address = f"/pictures/{image.image_id}/original"
    assert gallery.get(address).mimetype == "image/png"
    download = gallery.get(f"{address}?download=1")
    assert download.mimetype == "image/tiff"
    assert download.headers["Content-Disposition"] == "attachment; filename=scan.tif"
    assert download.data == Path(image.original.uri).read_bytes()


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "{folder}/notifier.db", "{folder}/results/../x.png"]
)
def test_a_forged_record_gives_no_access_to_other_files(gallery, location):
    uri = location.format(folder=gallery.folder)
    (gallery.folder / "x.png").write_bytes(PHOTO)
    stored = StoredImage(uri=uri, width=82, height=60)
    image = evaluation(1).model_copy(
        update={"result": stored, "original": stored, "low_resolution": stored}
    )
    gallery.record(image)
    for kind in ("result", "original", "low", "bicubic", "difference"):
        for query in ("", "?width=320", "?download=1"):
            answer = gallery.get(f"/pictures/{image.image_id}/{kind}{query}")
            assert answer.status_code == 404
            assert "outside the configured folders" in answer.json["detail"]
            assert str(gallery.folder) not in answer.text


@pytest.mark.parametrize(
    "path", ["../../../etc/passwd", "result/..", "%2e%2e%2fresult", "result%00", "evaluation"]
)
def test_a_manipulated_path_is_not_found(one, path):
    gallery, image = one
    assert gallery.get(f"/pictures/{image.image_id}/{path}").status_code == 404


@pytest.mark.parametrize("width", ["0", "321", "-1", "x", "", "1e3", "99999999999"])
def test_other_widths_of_thumbnails_are_rejected(one, width):
    answer = picture(one, "result", f"width={width}")
    assert answer.status_code == 400
    assert "320, 640, 1280" in answer.json["detail"]


def test_an_expired_file_is_reported_as_gone(gallery):
    image = gallery.finish(PHOTO)
    Path(image.original.uri).unlink()
    for query in ("", "?width=320"):
        answer = gallery.get(f"/pictures/{image.image_id}/original{query}")
        assert answer.status_code == 410
        assert "expired" in answer.json["detail"]
        assert "immutable" not in answer.headers["Cache-Control"]


def test_an_image_of_mode_upscale_has_no_original(gallery):
    image = gallery.finish(PHOTO, mode="upscale")
    assert gallery.get(f"/pictures/{image.image_id}/original").status_code == 404


def test_a_storage_failure_is_reported_without_its_reason(gallery, monkeypatch):
    image = gallery.finish(PHOTO)
    monkeypatch.setattr("notifier.drawing.thumbnail", fail)
    answer = gallery.get(f"/pictures/{image.image_id}/result?width=320")
    assert answer.status_code == 503
    assert str(gallery.folder) not in answer.text
    assert int(answer.headers["Retry-After"]) > 0


def fail(*_):
    raise OSError(5, "Input/output error")


def test_full_size_pictures_in_s3_are_redirects_to_s3(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(
        "superres.pipeline.storage.exists", lambda uri: not uri.endswith("gone.png")
    )
    asked = []

    def presigned(uri, seconds, filename=None, content_type=None):
        asked.append((uri, seconds, filename, content_type))
        return "https://bucket.s3.eu-central-1.amazonaws.com/x?signed"

    monkeypatch.setattr("superres.pipeline.storage.presigned", presigned)
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
        gallery.record(image)
        answer = gallery.get(f"/pictures/{image.image_id}/result?download=1")
        if name == uri:
            assert answer.status_code == 302
            assert answer.location == "https://bucket.s3.eu-central-1.amazonaws.com/x?signed"
            # The redirect must not be cached longer than the signature is valid.
            assert answer.headers["Cache-Control"] == "private, max-age=300"
            assert asked[-1] == (uri, 600, "picsum-x2.png", "image/png")
        else:
            assert answer.status_code == (410 if "gone" in name else 404)
    gallery.close()
