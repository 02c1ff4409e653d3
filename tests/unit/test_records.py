"""Records: old ones stay readable, and one that cannot be read gives a one-line error."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from superres.errors import RecordError
from superres.pipeline import records
from superres.pipeline.recipe import Recipe
from superres.pipeline.records import (
    Attribution,
    Evaluation,
    ImageReference,
    Metrics,
    RejectedImage,
    RunManifest,
    StoredImage,
    applied_recipe,
    image_id_of,
    ingest_date_of,
)
from tests.support.paths import ROOT

STABLE = settings(derandomize=True, deadline=None, max_examples=40)
KEPT = sorted((ROOT / "tests" / "records").glob("v*/*.json"))
# What is written today. A folder is a version, and what fields have been added to it.
TODAY = "v1-path"
KINDS = [ImageReference, RejectedImage, Evaluation, RunManifest]


def kind_of(path: Path) -> Any:
    return getattr(records, path.stem)


def text_of(kind: Any) -> str:
    return (ROOT / "tests" / "records" / "v1" / f"{kind.__name__}.json").read_text()


def refusal(kind: Any, text: str | bytes, origin: str = "") -> str:
    """The one-line error for a record."""
    with pytest.raises(RecordError) as caught:
        kind.from_json(text, origin)
    message = str(caught.value)
    assert "\n" not in message
    assert kind.__name__ in message
    return message


# ---- every version stays readable


def test_every_kind_has_a_file_of_version_1():
    assert {path.stem for path in KEPT if path.parent.name == "v1"} == {
        kind.__name__ for kind in KINDS
    }


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_kept_record_is_read_and_nothing_of_it_is_lost(path):
    text = path.read_text()
    record = kind_of(path).from_json(text)
    assert kind_of(path).from_json(record.to_json()) == record
    written, kept = json.loads(record.to_json()), json.loads(text)
    assert {name: written[name] for name in kept} == kept
    if path.parent.name == TODAY:
        assert written == kept


def test_the_kept_evaluation_still_has_its_values():
    record = Evaluation.from_json(text_of(Evaluation))
    assert record.ingest_date == date(2026, 11, 22)
    assert record.finished_at == datetime(2026, 11, 23, 0, 5, 0, 1, UTC)
    assert record.ours == Metrics(psnr=34.125, ssim=0.9375)
    assert record.bicubic is not None
    assert record.bicubic.psnr is None
    assert (record.result.width, record.low_resolution.height) == (1920, 540)
    assert record.attribution == Attribution(author="André Spieker")


def test_the_kept_reference_belongs_to_the_day_of_its_request():
    assert ImageReference.from_json(text_of(ImageReference)).ingest_date == date(2026, 11, 22)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_read_as_text_is(kind):
    assert kind.from_json(text_of(kind).encode()) == kind.from_json(text_of(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_is_one_line(kind):
    assert "\n" not in kind.from_json(text_of(kind)).to_json()


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_a_newer_writer_are_ignored(kind):
    content = json.loads(text_of(kind))
    newer = {**content, "added_later": {"deep": [1]}}
    for name, value in content.items():
        if isinstance(value, dict) and "version" in value:
            newer[name] = {**value, "added_later": True}
    assert kind.from_json(json.dumps(newer)) == kind.from_json(text_of(kind))


def test_optional_fields_may_be_absent():
    content = json.loads(text_of(Evaluation))
    for name in ("attribution", "original", "protocol", "ours", "bicubic", "version"):
        del content[name]
    content["mode"] = "upscale"
    record = Evaluation.from_json(json.dumps(content))
    assert (record.version, record.ours, record.original) == (1, None, None)


# ---- round trips

ids = st.text("0123456789abcdef", min_size=32, max_size=32)
moments = st.datetimes(
    datetime(1970, 1, 2), datetime(2199, 12, 30),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-8))]),
)  # fmt: skip
days = st.dates(date(1970, 1, 1), date(2199, 12, 31))
texts = st.text(max_size=30)
durations = st.floats(0, 1e9)
sizes = st.integers(1, (1 << 31) - 1)
attributions = st.none() | st.builds(Attribution, author=texts, url=st.none() | texts)
stored = st.builds(StoredImage, uri=texts, width=sizes, height=sizes)
metrics = st.none() | st.builds(
    Metrics, psnr=st.none() | st.floats(-1000, 1000), ssim=st.floats(-1, 1)
)
modes = st.sampled_from(["evaluate", "upscale"])
scales = st.sampled_from([2, 3, 4])
recipes = st.builds(
    Recipe, model_path=st.none() | texts, grayscale=st.booleans(),
    precision=st.sampled_from(["single", "float16", "bfloat16"]),
)  # fmt: skip
applied = recipes.map(applied_recipe)
every_record = st.one_of(
    st.builds(
        ImageReference, image_id=ids, url=texts, source=texts, mode=modes, scale=scales,
        requested_at=moments, attribution=attributions, content_type=st.none() | texts,
        recipe=st.none() | recipes,
    ),
    st.builds(
        RejectedImage, image_id=ids, source=texts, reason=texts, rejected_at=moments,
        stage=st.sampled_from(["ingest", "split", "infer", "reconstruct", "evaluate"]),
        recipe=applied,
    ),
    st.builds(
        Evaluation, image_id=ids, run_id=texts, mode=modes, scale=scales, ingest_date=days,
        source=texts, attribution=attributions, low_resolution=stored, result=stored,
        original=st.none() | stored, protocol=st.none() | texts, ours=metrics, bicubic=metrics,
        seconds=durations, model_digest=texts, finished_at=moments, model_name=st.none() | texts,
        recipe=applied,
    ),
    st.builds(
        RunManifest, run_id=texts, scale=scales, ingest_date=days,
        counts=st.dictionaries(texts, st.integers(0, 1 << 52)), rejected=st.lists(texts),
        seconds=st.dictionaries(texts, durations), finished_at=moments,
        models=st.dictionaries(texts, texts), recipe=applied,
    ),
)  # fmt: skip


@STABLE
@given(record=every_record)
def test_every_record_comes_back(record):
    text = record.to_message() if isinstance(record, ImageReference) else record.to_json()
    assert type(record).from_json(text) == record


def test_only_the_message_of_a_reference_has_the_full_url():
    full = "https://me:s3cr3t@example.org/a.jpg?sig=s3cr3t"
    content = {**json.loads(text_of(ImageReference)), "url": full, "source": full}
    reference = ImageReference.from_json(json.dumps(content))
    assert json.loads(reference.to_message())["url"] == full
    assert "s3cr3t" not in reference.to_json() + repr(reference) + reference.source
    assert reference.source.startswith("https://example.org/a.jpg#")


@pytest.mark.parametrize(
    ("kind", "field"),
    [(RejectedImage, "source"), (RejectedImage, "reason"), (Evaluation, "source")],
)
def test_a_url_in_a_record_is_redacted_whoever_wrote_it(kind, field):
    url = "https://me:s3cr3t@example.org/a.jpg?sig=s3cr3t"
    record = kind.from_json(json.dumps({**json.loads(text_of(kind)), field: f"{url}: timed out"}))
    assert getattr(record, field).startswith("https://example.org/a.jpg#")
    assert "s3cr3t" not in record.to_json()


def test_the_link_of_a_photographer_keeps_its_query_but_no_password():
    link = "https://example.org/photo?id=7"
    assert Attribution(author="Ada", url=link).url == link
    assert Attribution(author="Ada", url=f"https://me:s3cr3t@{link[8:]}").url.startswith(
        "https://example.org/photo#"
    )


@STABLE
@given(moment=moments)
def test_the_ingest_date_is_that_of_utc(moment):
    assert ingest_date_of(moment) == ingest_date_of(moment.astimezone(UTC))
    assert ingest_date_of(moment) == moment.astimezone(UTC).date()


# ---- what must be refused


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", [2, 0, -1, 10**30])
def test_an_unknown_version_is_refused(kind, version):
    content = json.loads(text_of(kind))
    content["version"] = version
    message = refusal(kind, json.dumps(content), "s3://bucket/key.json")
    assert message.startswith("s3://bucket/key.json: ")
    assert f"version {version!r} is unknown here (1 is known); upgrade superres" in message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", ["1.0", "h?sig=s3cr3t", None, 1.5, ["s3cr3t"]])
def test_a_version_that_is_no_number_is_not_quoted(kind, version):
    message = refusal(kind, json.dumps(json.loads(text_of(kind)) | {"version": version}))
    assert message.endswith("version is no number; expected 1")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", "{", "[]", "null", "words", b"\xff\xfe", "{}" * 2], ids=repr)
def test_text_that_is_no_record_is_refused(kind, text):
    refusal(kind, text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_id", "3F2A9C1E5B7D40868C2E1F0A9B3D5C7E"),
        ("image_id", "../../../../etc/passwd"),
        ("image_id", "3f2a9c1e5b7d40868c2e1f0a9b3d5c7e\n"),
        ("scale", 5),
        ("mode", "download"),
        ("requested_at", "2026-11-22T12:00:00"),
        ("requested_at", "yesterday"),
        ("attribution", {}),
        ("url", None),
    ],
)
def test_a_wrong_field_is_named(field, value):
    content = json.loads(text_of(ImageReference))
    assert f": {field}" in refusal(ImageReference, json.dumps({**content, field: value}))


def test_a_recipe_that_cannot_be_followed_is_refused_and_one_to_show_is_not():
    wanted = {**json.loads(text_of(ImageReference)), "recipe": {"glow": 3, "grayscale": True}}
    message = refusal(ImageReference, json.dumps(wanted))
    assert message.endswith(": recipe.glow: unknown here; upgrade superres")
    applied = {"key": "0123abcd", "members": wanted["recipe"]}
    text = json.dumps({**json.loads(text_of(Evaluation)), "recipe": applied})
    record = Evaluation.from_json(text)
    assert record.recipe is not None
    assert record.recipe.members == wanted["recipe"]
    assert record.result_id == f"{record.image_id}-0123abcd"
    bad = text.replace("0123abcd", "../0123a")
    assert ": recipe.key: " in refusal(Evaluation, bad)


@pytest.mark.parametrize("field", ["image_id", "run_id", "low_resolution", "finished_at"])
def test_a_missing_field_is_named(field):
    content = json.loads(text_of(Evaluation))
    del content[field]
    assert f"{field}: Field required" in refusal(Evaluation, json.dumps(content))


HUGE = 10**400


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        *((Evaluation, "ours.psnr", value) for value in (1e308, -1e308, HUGE)),
        *((Evaluation, "ours.ssim", value) for value in (-2.0, 1e308)),
        *((Evaluation, "result.width", value) for value in (-1, 0, 2**31, HUGE)),
        *((Evaluation, "seconds", value) for value in (-1, 1e308)),
        *((Evaluation, "ingest_date", value) for value in ("9999-12-31", "0001-01-01")),
        (Evaluation, "finished_at", "9999-12-31T23:59:59-23:59"),
        (Evaluation, "finished_at", "0001-01-01T00:00:00+23:59"),
        (Evaluation, "finished_at", 1e300),
        (Evaluation, "run_id", "x" * 10_000),
        (Evaluation, "result.uri", "x" * 10_000),
        (Evaluation, "recipe", {"key": "0123abcd", "members": {"x": "y" * 100_000}}),
        (RunManifest, "counts", {"images": -1}),
        (RunManifest, "counts", {"images": HUGE}),
        (RunManifest, "counts", {str(number): 1 for number in range(2000)}),
        (RunManifest, "seconds", {"split": 1e308}),
        (RejectedImage, "rejected_at", "9999-12-31T23:59:59Z"),
        (ImageReference, "requested_at", "9999-12-31T23:59:59-01:00"),
        (ImageReference, "url", f"https://example.org/{'x' * 100_000}"),
        (ImageReference, "recipe", {"evaluate_jpeg_quality": HUGE}),
    ],
    ids=lambda value: getattr(value, "__name__", None) or repr(value)[:30],
)
def test_what_no_real_record_holds_is_refused_by_name(kind, field, value):
    content = json.loads(text_of(kind))
    first, _, second = field.partition(".")
    content[first] = {**content[first], second: value} if second else value
    message = refusal(kind, json.dumps(content), "s3://bucket/key.json")
    assert message.startswith("s3://bucket/key.json: ")
    assert f": {field}" in message
    assert len(message) < 2000


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(number):
    content = json.loads(text_of(Evaluation))
    content["ours"]["psnr"] = "PSNR"
    refusal(Evaluation, json.dumps(content).replace('"PSNR"', number))


def test_a_record_of_megabytes_is_refused_and_a_long_text_is_shortened():
    content = json.loads(text_of(RejectedImage))
    message = refusal(RejectedImage, json.dumps({**content, "reason": "x" * (2 << 20)}))
    assert "over the limit of 1,048,576" in message
    long = {**content, "reason": "x" * 100_000, "source": "https://u:p@example.org/" + "y" * 9000}
    record = RejectedImage.from_json(json.dumps(long))
    assert len(record.reason) == len(record.source) == 2000
    assert record.reason.endswith("x…")
    assert record.source.startswith("https://example.org/y")


def test_of_many_faults_some_are_named_and_the_others_counted():
    content = {**json.loads(text_of(RunManifest)), "rejected": [7] * 100_000}
    message = refusal(RunManifest, json.dumps(content))
    assert message.endswith("; and 99,990 more")
    assert len(message) < 2000


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_figures_that_json_cannot_hold_are_refused_when_written(value):
    """JSON would make null of them, which means something else: no difference at all."""
    with pytest.raises(ValidationError, match="finite"):
        Metrics(psnr=value, ssim=1)


# ---- identifiers


def test_an_image_id_never_changes():
    """Stored objects are named by it: another value would make every image anew."""
    assert image_id_of("evaluate", 2, "picsum:237:1920x1080") == "9c75d4eb5df5b28290147585f21675b4"
    assert image_id_of("upscale", 4, "file:ä.png:00ff") == "11d065351c435b8d4de28d95c3a85835"


@STABLE
@given(
    references=st.lists(
        st.tuples(modes, scales, st.text(max_size=5)), min_size=2, max_size=9, unique=True
    )
)
def test_different_requests_have_different_ids(references):
    identifiers = {image_id_of(*reference) for reference in references}
    assert len(identifiers) == len(references)
    assert all(len(identifier) == 32 for identifier in identifiers)
