"""One spelling for equivalent URLs."""

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.sources.urls import normalised_url
from superres.errors import ForbiddenUrlError

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_SEGMENT = st.one_of(
    st.sampled_from(["", ".", "..", "%2e", "%2E%2e", "a", "%7e", "%2f", "%", "%zz", "é", "a b"]),
    st.text("abc%2eE7~./;:@!$&'()*+,=é?#[]", max_size=6),
)
_URLS = st.builds(
    "{}://{}{}/{}{}{}".format,
    st.sampled_from(["http", "HTTPS", "Http"]),
    st.sampled_from(["example.org", "EXAMPLE.org", "bücher.example", "[2001:DB8::1]", "1.2.3.4"]),
    st.sampled_from(["", ":", ":80", ":443", ":8080"]),
    st.lists(_SEGMENT, max_size=6).map("/".join),
    _TEXT.map(lambda text: f"?{text}" if text else ""),
    st.sampled_from(["", "#", "#part"]),
)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTP://Example.ORG/A", "http://example.org/A"),
        ("http://example.org", "http://example.org/"),
        ("http://example.org:80/", "http://example.org/"),
        ("http://example.org:/", "http://example.org/"),
        ("https://example.org:443/", "https://example.org/"),
        ("https://example.org:80/", "https://example.org:80/"),
        ("http://example.org/a#b", "http://example.org/a"),
        ("http://example.org/?", "http://example.org/"),
        ("http://example.org?a", "http://example.org/?a"),
        ("http://example.org/a/./b/../c", "http://example.org/a/c"),
        ("http://example.org/a/b/..", "http://example.org/a/"),
        ("http://example.org/..", "http://example.org/"),
        ("http://example.org/../../a", "http://example.org/a"),
        ("http://example.org/a//../b", "http://example.org/a/b"),
        ("http://example.org/a//b", "http://example.org/a//b"),
        ("http://example.org/.a/..b", "http://example.org/.a/..b"),
        ("http://example.org/%2e%2E/a", "http://example.org/a"),
        ("http://example.org/%7ejoe/%c3%a9", "http://example.org/~joe/%C3%A9"),
        ("http://example.org/é", "http://example.org/%C3%A9"),
        ("http://example.org/a b", "http://example.org/a%20b"),
        ("http://example.org/a%2fb", "http://example.org/a%2Fb"),
        ("http://example.org/100%", "http://example.org/100%25"),
        ("http://example.org/?b=2&a=1&b=%2f", "http://example.org/?b=2&a=1&b=%2F"),
        ("http://example.org/?a=../b", "http://example.org/?a=../b"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]/"),
        ("  http://example.org/a\n", "http://example.org/a"),
        # RFC 3986, 6.2.2 and 5.2.4
        ("HTTP://a/b/c/%7Bfoo%7D", "http://a/b/c/%7Bfoo%7D"),
        ("http://a/a/b/c/./../../g", "http://a/a/g"),
    ],
)
def test_a_url_has_this_normal_form(url, normal):
    assert normalised_url(url) == normal


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org/a",
        "/a",
        "ftp://example.org/",
        "http://",
        "http:///a",
        "http://user@example.org/",
        "http://user:secret@example.org/",
        "ftp://user:secret@example.org/?sig=secret",
        "http://example.org:secret/",
        "http://exa mple.org/?sig=secret",
        "http://example.org:99999/",
        "http://exa mple.org/",
        "http://a%2eb/",
        "http://[::1/",
        "http://ü..example/",
        "http://example.org/\ud800",
    ],
)
def test_anything_but_a_plain_http_url_is_refused(url):
    with pytest.raises(ForbiddenUrlError) as refused:
        normalised_url(url)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


@given(_URLS)
@example("http://example.org/%25zz")
@example("http://example.org/%%32%65")
def test_normalising_again_changes_nothing(url):
    normal = normalised_url(url)
    assert normalised_url(normal) == normal


@given(_URLS)
def test_the_normal_form_has_no_dot_segments_fragment_or_forbidden_characters(url):
    parts = urlsplit(normalised_url(url))
    segments = parts.path.split("/")
    assert segments[0] == ""
    assert not {".", ".."} & set(segments)
    assert not parts.fragment
    assert parts.geturl().isascii()
    assert not set(' "<>\\^`{}|#\n\t') & set(parts.geturl())


@given(st.text("abc/.~-_", max_size=20), st.data())
def test_escaping_unreserved_characters_changes_nothing(path, data):
    escaped = "".join(
        f"%{ord(char):02x}" if char != "/" and data.draw(st.booleans()) else char for char in path
    )
    base = "http://example.org/"
    assert normalised_url(base + escaped) == normalised_url(base + path)


@given(_TEXT)
def test_any_text_is_normalised_or_refused(text):
    for url in (text, f"http://{text}", f"http://example.org/{text}"):
        try:
            normal = normalised_url(url)
        except ForbiddenUrlError:
            continue
        assert normalised_url(normal) == normal
