"""What may be written of a URL: scheme, host and path, and a digest that tells queries apart."""

import pickle
import re
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
        (f"https://example.org/a%3Fsig%3D{SECRET}", "https://example.org/a%3Fsig%3D…"),
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


def test_a_query_has_one_digest_however_it_is_quoted():
    quoted = "https://example.org/a?b=%20%C3%A9%22%3c"
    assert redacted_url(quoted) == redacted_url('https://example.org/a?b= é"<')


def test_a_signed_query_of_s3_is_cut():
    shown = redacted_url(f"s3://bucket/what?.jpg?versionId=1&X-Amz-Signature={SECRET}")
    assert re.fullmatch(r"s3://bucket/what\?\.jpg#[0-9a-f]{8}", shown)
    assert redacted(f"of {shown}: gone") == f"of {shown}: gone"
    line = f"list.txt, line 1: 's3://b/k.jpg?X-Amz-Signature={SECRET}': gone"
    assert re.fullmatch(r"list\.txt, line 1: 's3://b/k\.jpg#[0-9a-f]{8}': gone", redacted(line))


PIECES = [
    *"abé:@?&#/.,'\"<>` =%…)",
    "https:/",
    "://",
    "s3://b/",
    "?sig=",
    "&amp;key=",
    "%3Ftoken%3D",
]
PIECES += ["password=", "X-Amz-Date", "#1a2b3c4d", r"\/", "%22"]


@given(
    st.text()
    | st.from_regex(r"https?://[a-z:@?#/.]{1,30}", fullmatch=True)
    | st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
)
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "with url: /b/k.jpg?X-Amz-Signature={}: gone",
            "with url: /b/k.jpg?X-Amz-Signature=…: gone",
        ),
        ("'/b/k.jpg?token={}': no", "'/b/k.jpg?token=…': no"),
        ('{"path":"/k?sig={}","size":1}', '{"path":"/k?sig=…","size":1}'),
        ("/k?a=1&amp;Signature={}", "/k?a=1&amp;Signature=…"),
        ("/k%3Fsig%3D{}", "/k%3Fsig%3D…"),
        ("/k%253Fa%253D1%2526key%253D{}", "/k%253Fa%253D1%2526key%253D…"),
        ("'https:/h/a.jpg?sig={}': no", "'https:/h/a.jpg': no"),
        ("https:/me:{}@h/a.jpg", "…@h/a.jpg"),
        (r'"https:\/\/h\/a?sig={}"', r'"https:\/\/h\/a"'),
        ('https://me:a"{}@h/a', "https://h/a"),
        ("https://me:a<{}@h/a", "https://h/a"),
        ("host=db password={} user=me", "host=db password=… user=me"),
        ("host=db password='a {}' user=me", "host=db password='…' user=me"),
        ("(sslpassword={})", "(sslpassword=…)"),
    ],
)
def test_secrets_of_other_spellings_are_cut(text, expected):
    shown = redacted(text.replace("{}", SECRET))
    assert shown == expected
    assert redacted(shown) == shown


@pytest.mark.parametrize("query", ['?x=a"{}', "?x=a<{}", "?x=a b&sig={}", "?x=a>{}&y"])
def test_what_follows_an_odd_character_of_a_query_is_cut(query):
    shown = redacted(f"of https://h/a{query.replace('{}', SECRET)} there")
    assert SECRET not in shown
    assert shown.startswith("of https://h/a#")
    assert shown.endswith(" there")


@pytest.mark.parametrize(
    "word",
    [
        *(
            "a",
            "a:",
            "http://",
            "https:/",
            "s3://",
            "/",
            "@",
            "?",
            "://",
            " ",
            "a@",
            '"',
            '"a',
            "\\/",
        ),
        *("?sig=", "password='", "%3F", "&amp;", "?X-Amz-"),
    ],
)
def test_a_long_text_takes_little_time(word):
    text = f"x://y?{word * 200_000}://z"
    start = time.process_time()
    redacted(text)
    redacted(text.replace("x://y", "word"))
    redacted_url(text)
    redacted_url(text.replace("x:", "s3:"))
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "text",
    [
        "data/a.jpg: no such file?",
        "s3://bucket/why?key=1.jpg: gone",
        "SUPERRES_KAFKA_PASSWORD=<password> is missing; monkey=1 & key = 2",
        '<a href="https://example.org/a">b</a>, 100%, a=b',
        "C:/photos/a@b.jpg, list.txt:/data/a@b.jpg",
    ],
)
def test_other_texts_stay(text):
    assert redacted(text) == text


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
