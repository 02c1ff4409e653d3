"""The upload application: what it accepts, stores, publishes and rejects."""

import io
import re
import time
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingestion.cli.uploads import Publisher, uploads
from ingestion.references import Wanted
from superres.errors import ConfigError, TransferError
from superres.pipeline.config import Kafka
from superres.pipeline.recipe import Recipe
from superres.pipeline.records import image_id_of
from superres.service.supervisor import free_port
from tests.support import image_files
from tests.support.upload_app import BEARER, BOUNDARY, GOOD, TOKEN, UploadApp, multipart_body


@pytest.fixture
def app(tmp_path: Path) -> UploadApp:
    return UploadApp(tmp_path)


def limited_app(tmp_path: Path, **processing: float) -> UploadApp:
    return UploadApp(tmp_path, processing=processing)


# ---- accepted files


def test_an_image_is_stored_under_its_digest_and_published(app):
    answer = app.send(("boat.jpeg", GOOD))
    assert answer.status_code == 202
    digest = sha256(GOOD).hexdigest()
    assert app.stored == [f"{digest}.png"]  # by content, not by name
    (reference,) = app.published
    assert reference.image_id == image_id_of("evaluate", 2, f"upload:{digest}")
    assert reference.url.full == (app.uploads / f"{digest}.png").as_uri()
    assert reference.source == "upload:boat.jpeg"
    (image,) = answer.json["images"]
    assert image["name"] == "boat.jpeg"
    assert image["image_id"] == reference.image_id
    assert image["result_id"] == reference.image_id
    assert image["page"] == f"/images/{reference.image_id}"
    assert image["ingest_date"] == reference.ingest_date.isoformat()
    assert answer.json["rejected"] == []


def test_where_results_lie_is_not_promised_before_the_precision_is_decided(tmp_path):
    app = UploadApp(tmp_path, processing={"half_precision": "auto"})
    (image,) = app.send(("boat.png", GOOD)).json["images"]
    assert set(image) == {"name", "image_id", "ingest_date"}


def test_the_places_of_the_result_are_those_of_the_configured_recipe(tmp_path):
    app = UploadApp(tmp_path, processing={"grayscale": True})
    (image,) = app.send(("boat.png", GOOD)).json["images"]
    (reference,) = app.published
    # The run decides, not the reference: it has no recipe of its own.
    assert reference.recipe is None
    assert image["result_id"] == f"{reference.image_id}-{Recipe(grayscale=True).key}"
    assert image["page"].endswith(f"/{image['result_id']}")


def test_an_answer_has_no_path_of_this_machine_but_objects_in_s3(tmp_path):
    app = UploadApp(tmp_path, notifier={"public_url": "https://gallery.example/"})
    answer = app.send(("boat.png", GOOD))
    (image,) = answer.json["images"]
    assert image["page"] == f"https://gallery.example/images/{image['image_id']}"
    assert str(tmp_path) not in answer.text
    in_s3 = UploadApp(tmp_path / "s3", dataset={"reconstructed_images_dir": "s3://bucket/results"})
    (image,) = in_s3.send(("boat.png", GOOD)).json["images"]
    day = f"scale=2/ingest_date={image['ingest_date']}/{image['image_id']}"
    assert image["result"] == f"s3://bucket/results/images/{day}.png"
    assert image["evaluation"] == f"s3://bucket/results/evaluations/{day}.json"


def test_the_form_may_choose_mode_and_scale(app):
    app.send(("boat.png", GOOD), mode="upscale", scale="4")
    (reference,) = app.published
    assert (reference.mode, reference.scale) == ("upscale", 4)


@pytest.mark.parametrize(("field", "value"), [("mode", "enlarge"), ("scale", "5")])
def test_an_unknown_mode_or_scale_is_rejected_by_name(app, field, value):
    answer = app.send(("boat.png", GOOD), **{field: value})
    assert answer.status_code == 400
    assert repr(value) in answer.json["detail"]
    assert not app.published


def test_sending_a_file_again_is_the_same_upload(app):
    ids = {app.send((name, GOOD)).json["images"][0]["image_id"] for name in ("a.png", "b.png")}
    assert len(ids) == len(app.stored) == 1


def test_one_bad_file_does_not_affect_the_others(app):
    other = image_files.pillow(image_files.photo(20, 20), "JPEG")
    answer = app.send(("a.png", GOOD), ("page.jpg", b"<html>"), ("b.jpg", other))
    assert answer.status_code == 202
    assert [image["name"] for image in answer.json["images"]] == ["a.png", "b.jpg"]
    (rejected,) = answer.json["rejected"]
    assert rejected["name"] == "page.jpg"
    assert "HTML" in rejected["reason"]
    assert len(app.published) == len(app.stored) == 2
    metrics = app.client.get("/metrics").text
    assert "superres_uploads_images_total 2.0" in metrics
    assert "superres_uploads_rejected_total 1.0" in metrics
    assert f"superres_uploads_bytes_total {float(len(GOOD + other))}" in metrics


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "..\\..\\boot.ini",
        "....//x.png",
        "写真.png",
        "a\x00b",
        ".",
    ],
)
def test_a_malicious_file_name_has_no_effect(app, tmp_path, name):
    answer = app.send((name, GOOD))
    assert answer.status_code == 202
    assert app.stored == [f"{sha256(GOOD).hexdigest()}.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["uploads"]
    assert re.fullmatch(r"upload:[A-Za-z0-9_.-]+", app.published[0].source)


# ---- rejected files and requests


@pytest.mark.parametrize(
    ("name", "content"), (image_files.not_images() | image_files.bombs()).items()
)
def test_bad_images_are_rejected_with_a_reason(tmp_path, name, content):
    app = limited_app(tmp_path, max_megapixels=100)
    answer = app.send((name, content))
    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    (rejected,) = answer.json["rejected"]
    assert rejected["name"] == name
    assert rejected["reason"]
    assert "superres-" not in rejected["reason"]  # no path of the temporary file
    assert (app.published, app.stored) == ([], [])


def test_a_file_over_the_limit_is_rejected_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    app = limited_app(tmp_path, max_megabytes=0.1)
    answer = app.send(("large.png", GOOD + bytes(200_000)), ("boat.png", GOOD))
    assert answer.status_code == 202
    (rejected,) = answer.json["rejected"]
    assert "over the limit of 104,857" in rejected["reason"]
    assert len(app.stored) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["uploads"]  # temporary files are gone


def test_a_request_over_the_limit_is_rejected(tmp_path):
    app = limited_app(tmp_path, max_megabytes=0.1)
    many = app.send(*(("boat.png", GOOD) for _ in range(20)))
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    body = multipart_body("large.png", bytes(4 << 20))
    large = app.client.post("/uploads", data=body, content_type=kind, headers=BEARER)
    for answer in (many, large):
        assert (answer.status_code, answer.mimetype) == (413, "application/problem+json")
        assert "16 files" in answer.json["detail"]
    assert not app.published


def test_an_image_in_mode_evaluate_may_be_larger_by_the_scale(tmp_path):
    app = limited_app(tmp_path, max_megapixels=0.001)
    content = image_files.png(image_files.photo(60, 60))
    assert app.send(("boat.png", content), mode="evaluate").status_code == 202
    assert app.send(("boat.png", content), mode="upscale").status_code == 422


@pytest.mark.parametrize(
    "header",
    [None, "", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer tökén"],
)
def test_uploads_need_the_token(app, header):
    headers = {} if header is None else {"Authorization": header}
    answer = app.send(("boat.png", GOOD), headers=headers)
    assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert (app.published, app.stored) == ([], [])


def test_wrong_tokens_are_limited_by_address(tmp_path):
    app = UploadApp(tmp_path, ingestion={"upload_proxies": 1})
    wrong = [
        {"Authorization": f"Bearer wrong-{n}", "X-Forwarded-For": "1.1.1.1, 8.8.8.8"}
        for n in range(11)
    ]
    answers = [app.send(("boat.png", GOOD), headers=headers) for headers in wrong]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    # The same client, whatever it adds in front of its address; and another one.
    same = BEARER | {"X-Forwarded-For": "9.9.9.9, 8.8.8.8"}
    assert app.send(("boat.png", GOOD), headers=same).status_code == 429
    other = BEARER | {"X-Forwarded-For": "8.8.4.4"}
    assert app.send(("boat.png", GOOD), headers=other).status_code == 202


def test_a_request_without_a_file_is_rejected(app):
    for answer in (
        app.send(),
        app.send(("", b"")),
        app.client.post("/uploads", data=GOOD, content_type="image/png", headers=BEARER),
        app.client.post("/uploads", data={"file": (io.BytesIO(GOOD), "a")}, headers=BEARER),
    ):
        assert answer.status_code == 400
        assert "files" in answer.json["detail"]


def test_an_outage_of_kafka_or_storage_asks_to_retry_later(app, tmp_path):
    app.broken = "broker 10.1.2.3 is down"
    assert app.client.get("/readyz").status_code == 503
    unpublished = app.send(("boat.png", GOOD))
    app.broken = ""
    assert app.client.get("/readyz").status_code == 200
    (tmp_path / "results").write_text("")
    app = UploadApp(tmp_path, ingestion={"uploads_dir": str(tmp_path / "results")})
    for answer in (unpublished, app.send(("boat.png", GOOD))):
        assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
        assert int(answer.headers["Retry-After"]) > 0
        assert "10.1.2.3" not in answer.text
        assert str(tmp_path) not in answer.text


def test_an_unexpected_error_reveals_no_details(app):
    app.published = None  # so that publishing raises an AttributeError
    answer = app.send(("boat.png", GOOD))
    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert "NoneType" not in answer.text


def test_the_page_and_its_files_have_a_strict_policy(app):
    page = app.client.get("/uploads")
    assert page.status_code == 200
    paths = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert len(paths) == 2
    assert all(path.startswith("/uploads/static/") for path in paths)
    for path in ["/uploads", "/uploads/", *paths]:
        answer = app.client.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        answer.close()


@pytest.mark.parametrize(
    "token", ["", "  ", "a", "fifteen-letters", "two words of length", "größe" * 4]
)
def test_the_service_needs_a_token_to_start(token):
    result = CliRunner().invoke(uploads, ["--port", "0"], env={"SUPERRES_UPLOAD_TOKEN": token})
    assert isinstance(result.exception, ConfigError)
    assert "SUPERRES_UPLOAD_TOKEN" in str(result.exception)
    assert "openssl rand -hex 16" in str(result.exception)


@pytest.mark.slow
def test_a_missing_acknowledgement_is_reported_in_time():
    publisher = Publisher(Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    reference = Wanted("upscale", 2).reference("upload:0", "file:///boat.png", "upload:boat.png")
    began = time.monotonic()
    with pytest.raises(TransferError, match="Kafka"):
        publisher.publish([reference])
    assert time.monotonic() - began < 15
    assert "does not answer" in publisher.ready()
