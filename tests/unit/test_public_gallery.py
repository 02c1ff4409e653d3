"""What strangers get of a public gallery: pictures without metadata, and no addresses in S3."""

import io
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base
from prometheus_client import CollectorRegistry

from notifier import pictures
from notifier.web.app import create_app
from superres.imaging.decoding import decode
from superres.imaging.limits import Limits
from superres.pipeline.records import StoredImage
from tests.support import private_metadata
from tests.support.example_gallery import TOKEN, Gallery
from tests.support.private_metadata import CAMERA, DATE, PLANTED

ANY = Limits(1 << 30, 1 << 30)
SIGNED_IN = {"Authorization": f"Bearer {TOKEN}"}
FILES = {
    "jpg": private_metadata.jpeg(),
    "png": private_metadata.png(),
    "webp": private_metadata.webp(),
    "tif": private_metadata.tiff(),
}
QUERIES = ("", "?download=1", "?width=320", "?v=1")


@pytest.fixture
def gallery(tmp_path):
    made = Gallery(tmp_path, public_gallery=True)
    yield made
    made.close()


@pytest.mark.parametrize("mode", ["evaluate", "upscale"])
@pytest.mark.parametrize("suffix", FILES)
def test_strangers_get_no_metadata_of_any_picture(gallery, mode, suffix):
    content = FILES[suffix]
    image = gallery.finish(content, f"a.{suffix}", mode=mode)
    received = "original" if mode == "evaluate" else "low"
    for kind in {"result", "low", "bicubic", "difference", received}:
        for query in QUERIES:
            answer = gallery.get(f"/pictures/{image.image_id}/{kind}{query}")
            assert answer.status_code == 200, (kind, query)
            assert PLANTED.encode() not in answer.data
            with Image.open(io.BytesIO(answer.data)) as picture:
                assert not picture.getexif().get_ifd(IFD.GPSInfo)
                assert answer.mimetype == f"image/{picture.format.lower()}"
    shown = gallery.get(f"/pictures/{image.image_id}/{received}")
    assert np.array_equal(decode(shown.data, ANY).planes(), decode(content, ANY).planes())
    if suffix != "tif":
        with Image.open(io.BytesIO(shown.data)) as picture:
            assert picture.getexif()[Base.Make] == CAMERA
            assert picture.getexif()[Base.DateTime] == DATE


@pytest.mark.parametrize("suffix", FILES)
def test_who_has_signed_in_gets_the_file_byte_for_byte(gallery, suffix):
    image = gallery.finish(FILES[suffix], f"a.{suffix}")
    address = f"/pictures/{image.image_id}/original?download=1"
    stranger = gallery.get(address)
    reader = gallery.get(address, **SIGNED_IN)
    assert reader.data == FILES[suffix]
    assert stranger.data != reader.data
    assert stranger.headers["ETag"] != reader.headers["ETag"]
    assert {"Authorization", "Cookie"} <= set(stranger.headers["Vary"].split(", "))
    assert gallery.get(address, Authorization="Bearer wrong").data == stranger.data
    assert gallery.client.post("/login", data={"token": TOKEN}).status_code == 303
    assert gallery.get(address).data == FILES[suffix]


def test_a_gallery_that_is_not_public_gives_the_file_as_it_is(tmp_path):
    gallery = Gallery(tmp_path)
    image = gallery.finish(FILES["jpg"], "a.jpg")
    assert gallery.get(f"/pictures/{image.image_id}/original").data == FILES["jpg"]
    gallery.close()


def test_the_copy_is_made_once(gallery, monkeypatch):
    made = []

    def write(source: Path, target: Path) -> None:
        made.append(source)
        target.write_bytes(FILES["jpg"])

    monkeypatch.setattr(pictures, "write_public_copy", write)
    image = gallery.finish(FILES["jpg"], "a.jpg")
    address = f"/pictures/{image.image_id}/original"
    first = gallery.get(address)
    assert gallery.get(address, **{"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert gallery.get(address, Range="bytes=0-1").data == FILES["jpg"][:2]
    assert len(made) == 1


def test_a_damaged_file_is_refused_with_its_reason(gallery):
    image = gallery.finish(FILES["png"], "a.png")
    Path(image.original.uri).write_bytes(FILES["png"][:200])
    answer = gallery.get(f"/pictures/{image.image_id}/original")
    assert answer.status_code == 404
    assert "damaged" in answer.json["detail"]
    assert str(gallery.folder) not in answer.text


def test_strangers_get_no_address_in_s3(gallery, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    image = gallery.finish(FILES["jpg"], "a.jpg", recorded=False)
    (tmp_path / "object").write_bytes(FILES["jpg"])
    object.__setattr__(gallery.settings.dataset, "high_resolution_dir", "s3://bucket/high")

    @contextmanager
    def local_copy(uri):
        yield tmp_path / "object"

    monkeypatch.setattr("superres.pipeline.storage.exists", lambda _: True)
    monkeypatch.setattr("superres.pipeline.storage.local_copy", local_copy)
    original = StoredImage(uri="s3://bucket/high/a.jpg", width=60, height=40)
    gallery.record(image.model_copy(update={"original": original}))
    address = f"/pictures/{image.image_id}/original"
    for query in QUERIES:
        answer = gallery.get(f"{address}{query}")
        assert answer.status_code == 200
        assert PLANTED.encode() not in answer.data
    signed = gallery.get(address, **SIGNED_IN)
    assert signed.status_code == 302
    assert signed.location.startswith("https://bucket.s3")


def test_pages_say_who_gets_what(gallery):
    image = gallery.finish(FILES["jpg"], "a.jpg")
    page = f"/images/{image.image_id}"
    assert "without metadata" in gallery.get(page).text
    assert "as received" in gallery.get(page, **SIGNED_IN).text
    assert 'href="/login' in gallery.get(page).text


def test_strangers_do_not_learn_why_it_is_not_ready(gallery):
    registry = CollectorRegistry()
    broken = replace(gallery.service, ready=lambda: "cannot open /srv/secret.db", registry=registry)
    answer = create_app(broken).test_client().get("/readyz")
    assert answer.status_code == 503
    assert "secret" not in answer.text
