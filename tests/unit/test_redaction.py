"""What may be written of a URL: scheme, host and path, and a digest that tells queries apart."""

import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from superres.redaction import WITH_SECRETS, SecretUrl, masked, redacted, redacted_url

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/a/b.jpg", "https://example.org/a/b.jpg"),
        ("https://example.org:8443/a.jpg", "https://example.org:8443/a.jpg"),
        ("https://[2001:db8::1]:80/a", "https://[2001:db8::1]:80/a"),
        (f"https://me:{SECRET}@example.org/a.jpg", "https://example.org/a.jpg"),
        (f"https://me@you:{SECRET}@example.org/a.jpg", "https://example.org/a.jpg"),
        (f"https://example.org/a.jpg#{SECRET}", "https://example.org/a.jpg"),
        ("https://example.org/a.jpg?", "https://example.org/a.jpg"),
        (f"postgresql://me:{SECRET}@db/superres", "postgresql://db/superres"),
        ("file:///home/me/a@b.jpg", "file:///home/me/a@b.jpg"),
        ("s3://bucket/what? #1.jpg", "s3://bucket/what? #1.jpg"),
        (f"s3://AKIA:{SECRET}@bucket/a.jpg", "s3://bucket/a.jpg"),
        ("photo.jpg", "photo.jpg"),
        ("", ""),
        # It is not sure what is what in these.
        (f"https://me:{SECRET}/x@example.org/a", "…@example.org/a"),
        (f"https://me:{SECRET}?x@example.org/a", "…"),
        (f"me:{SECRET}@example.org/a.jpg", "…@example.org/a.jpg"),
        (f"example.org/a.jpg?mail=me@{SECRET}", "…"),
        (f"example.org/a.jpg?sig={SECRET}", "example.org/a.jpg"),
        (f"http://[{SECRET}?", f"http://[{SECRET}"),
        (f"http://me:{SECRET}/a.jpg", "http://me:…/a.jpg"),
        (f"https:/me:{SECRET}@example.org", "…@example.org"),
    ],
)
def test_a_redacted_url_has_scheme_host_and_path(url, expected):
    assert redacted_url(url) == expected


def test_queries_become_different_digests():
    urls = [redacted_url(f"https://example.org/image?id={number}&key=s3cr3t") for number in (7, 8)]
    assert urls[0] != urls[1]
    assert all(url.startswith("https://example.org/image#") and "s3cr3t" not in url for url in urls)
    assert urls[0] == redacted_url("https://example.org/image?id=7&key=s3cr3t")


@given(st.text() | st.from_regex(r"https?://[a-z:@?#/.]{1,30}", fullmatch=True))
def test_redacting_twice_changes_nothing(text):
    assert redacted_url(redacted_url(text)) == redacted_url(text)
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "quoted",
    [
        "{}",
        "'{}'",
        "({})",
        "{}: timed out",
        '"{}",',
        "see {}.",
        "<{}>",
        "a {} b {} c",
        "a={}",
        "1{}",
    ],
)
def test_every_url_in_a_text_is_redacted(quoted):
    url = f"https://me:{SECRET}@example.org/a.jpg?X-Amz-Signature={SECRET}"
    text = redacted(quoted.replace("{}", url))
    shown = redacted_url(url)
    assert text == quoted.replace("{}", shown)


@pytest.mark.parametrize("word", ["a", "a:", "http://", "/", "@", "?", "://", " ", "a@"])
def test_a_long_text_takes_little_time(word):
    text = f"x://y?{word * 200_000}://z"
    start = time.process_time()
    redacted(text)
    redacted_url(text)
    assert time.process_time() - start < 2


def test_a_text_without_urls_stays():
    assert redacted("data/a.jpg: no such file?") == "data/a.jpg: no such file?"


def test_secrets_of_the_environment_are_masked():
    environment = {
        "SUPERRES_UPLOAD_TOKEN": "upload-token-1234",
        "SUPERRES_KAFKA_PASSWORD": "kafka-password",
        "AWS_SECRET_ACCESS_KEY": "aws-secret",
        "AWS_REGION": "eu-central-1",
        "SUPERRES_NOTIFIER_TOKEN": "a",
    }
    text = "upload-token-1234 kafka-password aws-secret eu-central-1"
    assert masked(text, environment) == "… … … eu-central-1"


class Model(BaseModel):
    url: SecretUrl


def test_a_secret_url_shows_itself_redacted():
    full = f"https://example.org/a.jpg?sig={SECRET}"
    model = Model.model_validate({"url": full})
    shown = [str(model.url), repr(model.url), f"{model.url}", repr(model), model.model_dump_json()]
    assert all("https://example.org/a.jpg#" in text and SECRET not in text for text in shown)
    assert model.url.full == full
    assert model == Model(url=SecretUrl(full))
    assert pickle.loads(pickle.dumps(model.url)) == model.url
    assert Model.model_validate_json(model.model_dump_json(context={WITH_SECRETS: True})) == model
