"""No path, bucket or password leaves the notifier: in the REST API, on pages, in webhooks."""

import json
import time
from dataclasses import replace

import pytest
from sqlalchemy import select

from notifier.disclosure import public_record, public_source, without_locations
from notifier.recording import record_image, record_status
from notifier.store.runs import RunStatus
from notifier.store.subscriptions import create_subscription
from notifier.store.tables import Delivery
from notifier.web.api import FinishedImage
from superres.pipeline.recipe import Recipe
from superres.pipeline.records import Evaluation, StoredImage
from tests.support.evaluation_records import MOMENT, evaluation
from tests.support.example_gallery import Gallery

RECIPE = Recipe(model_path="/srv/planted/models/mine.pth")
STATUS = RunStatus(
    "run-1", "execution", "failed", 2, None, None, MOMENT,
    {
        "error": "States.TaskFailed",
        "cause": "exit 1; see s3://planted/logs/j-1/stderr.gz or /srv/planted/log",
        "recipe": {"key": RECIPE.key, "members": RECIPE.members},
    },
)  # fmt: skip


def located(number: int, source: str = "s3://planted/inbox/boat.jpg") -> Evaluation:
    """A record as the jobs write it on this machine or in S3."""
    record = evaluation(number, recipe=RECIPE)
    places = [
        StoredImage(uri=f"{base}/planted/{record.image_id}.png", width=4, height=2)
        for base in ("/srv", "s3:/", "/home/me")
    ]
    fields = ("low_resolution", "result", "original")
    return record.model_copy(update=dict(zip(fields, places, strict=True)) | {"source": source})


@pytest.fixture
def gallery(tmp_path):
    made = Gallery(tmp_path)
    made.record(located(1))
    assert record_status(made.database, STATUS)
    made.changes.poll()
    yield made
    made.close()


@pytest.mark.parametrize(
    "path",
    [
        "/", "/runs", "/images/{}", "/api/v1/images", "/api/v1/images/{}", "/api/v1/runs",
        "/api/v1/totals", "/api/v1/openapi.json", "/metrics",
    ],
)  # fmt: skip
def test_no_answer_has_a_location(gallery, path):
    answer = gallery.get(path.format(located(1).result_id))
    assert answer.status_code == 200
    for hidden in ("planted", "s3://", str(gallery.folder), "file:"):
        assert hidden not in answer.text


def test_names_and_reasons_stay_readable(gallery):
    page = gallery.get(f"/images/{located(1).result_id}").text
    assert "boat.jpg" in page
    assert "mine.pth" in page
    runs = gallery.get("/runs").text
    assert "States.TaskFailed" in runs
    assert "…/stderr.gz" in runs


def test_a_webhook_has_no_location(gallery):
    with gallery.database.writing() as session:
        create_subscription(
            session, "https://example.org/", ["image.finished", "run.failed"], "", MOMENT
        )
    assert record_image(gallery.database, located(2), "/srv/planted/2.json", "tag")
    assert record_status(gallery.database, replace(STATUS, name="run-2"))
    with gallery.database.reading() as session:
        payloads = list(session.scalars(select(Delivery.payload)))
    assert len(payloads) == 2
    assert not [each for each in payloads if "planted" in each or "s3://" in each]
    image = json.loads(payloads[0])["data"]
    assert image["links"]["result"] == f"/pictures/{located(2).result_id}/result"
    assert image["result"] == {"width": 4, "height": 2}


def test_it_is_decided_for_every_field_of_a_record_whether_it_is_public():
    public = public_record(located(1).model_dump(mode="json")).keys()
    assert public == FinishedImage.model_fields.keys()
    assert Evaluation.model_fields.keys() - public == {"path"}  # which has the folders of a person


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("s3://bucket/inbox/boat.jpg", "s3:boat.jpg"),
        ("/srv/data/low_resolution/boat.png", "folder:boat.png"),
        ("file:///srv/data/boat.png", "folder:boat.png"),
        ("folder:inbox/boat.jpg", "folder:boat.jpg"),
        ("upload:boat.jpg", "upload:boat.jpg"),
        ("picsum:237", "picsum:237"),
        ("https://example.org/a/boat.jpg", "https://example.org/a/boat.jpg"),
        ("https://me:pw@example.org/boat.jpg", "https://example.org/boat.jpg"),
        ("archive of Ada", "archive of Ada"),
    ],
)
def test_a_source_is_shown_by_name(source, shown):
    assert public_source(source) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("exit 1; see s3://b/logs/stderr.gz.", "exit 1; see …/stderr.gz."),
        ("/srv/data/x: no such file", "…/x: no such file"),
        ("'~/data/x', ../data/y and ./z", "'…/x', …/y and ./z"),
        ("2 of 3 images, 1/2 done, n/a", "2 of 3 images, 1/2 done, n/a"),
        ("https://example.org/a/b?c=d failed", "https://example.org/a/b#"),
        (
            "arn:aws:states:eu-central-1:1:execution:x:y",
            "arn:aws:states:eu-central-1:1:execution:x:y",
        ),
    ],
)
def test_a_reason_has_names_only(text, shown):
    assert without_locations(text).startswith(shown)


@pytest.mark.parametrize("word", ["/", "/a", "a", "s3:/", "~/", "../", " /", "://"])
def test_a_long_reason_takes_little_time(word):
    start = time.process_time()
    without_locations(word * 100_000)
    assert time.process_time() - start < 2


def test_a_record_without_original_or_recipe_is_shown(tmp_path):
    shown = public_record(evaluation(1, gain=None).model_dump(mode="json"))
    assert (shown["original"], shown["recipe"], shown["links"]["original"]) == (None, None, None)
