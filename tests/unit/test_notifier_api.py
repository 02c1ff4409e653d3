"""The REST API of the notifier, and access control."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifier.recording import record_status
from notifier.store.runs import status_of_manifest
from notifier.web.context import Tokens
from notifier.web.security import READ_TOKEN, WRITE_TOKEN, check_exposure, tokens_from
from superres.errors import ConfigError
from superres.pipeline.config import Notifier
from superres.pipeline.recipe import Recipe
from tests.support.evaluation_records import evaluation, image_id, manifest
from tests.support.example_gallery import TOKEN, Gallery

BEARER = {"Authorization": f"Bearer {TOKEN}"}
ELSEWHERE = {"REMOTE_ADDR": "8.8.8.8"}
PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def gallery(tmp_path) -> Iterator[Gallery]:
    made = Gallery(tmp_path)
    yield made
    made.close()


@pytest.fixture
def private_gallery(tmp_path) -> Iterator[Gallery]:
    """As on a public host: reading needs a token or a login."""
    made = Gallery(tmp_path, private=True)
    yield made
    made.close()


def fill(gallery: Gallery, count: int) -> None:
    for number in range(count):
        gallery.record(evaluation(number, minutes=number, gain=1 + number / 10))


def names(gallery: Gallery, path: str) -> list[str]:
    return [image["image_id"] for image in gallery.client.get(path).json["images"]]


# ---- images and runs


def test_images_are_listed_by_page_in_each_order(gallery):
    fill(gallery, 7)
    for order, numbers in {
        "newest": range(6, -1, -1),
        "best": range(6, -1, -1),
        "worst": range(7),
    }.items():
        path, seen = f"/api/v1/images?order={order}&limit=3", []
        while path:
            answer = gallery.client.get(path).json
            seen += [image["image_id"] for image in answer["images"]]
            cursor = answer["next"]
            path = cursor and f"/api/v1/images?order={order}&limit=3&cursor={cursor}"
        assert seen == [image_id(number) for number in numbers]


def test_new_images_do_not_shift_the_next_page(gallery):
    fill(gallery, 4)
    first = gallery.client.get("/api/v1/images?limit=2").json
    gallery.record(evaluation(9, minutes=9))
    rest = names(gallery, f"/api/v1/images?limit=9&cursor={first['next']}")
    assert rest == [image_id(1), image_id(0)]


def without_uris(image):
    stored = {kind: {"uri"} for kind in ("low_resolution", "result", "original")}
    return image.model_dump(mode="json", exclude={**stored, "path": True})


def test_an_image_is_its_record_with_links(gallery):
    image = evaluation(1)
    gallery.record(image)
    answer = gallery.client.get(f"/api/v1/images/{image.image_id}").json
    links = answer.pop("links")
    assert answer == without_uris(image)
    assert gallery.client.get(links["self"]).json["image_id"] == image.image_id
    assert gallery.client.get(links["page"]).status_code == 200


def test_a_recipe_has_an_address_of_its_own(gallery):
    default, grey = evaluation(1), evaluation(1, minutes=1, recipe=Recipe(grayscale=True))
    for image in (default, grey):
        gallery.record(image)
    listed = gallery.client.get("/api/v1/images").json["images"]
    assert [image.pop("links") for image in listed] == [
        {
            "self": f"/api/v1/images/{name}",
            "page": f"/images/{name}",
            "result": f"/pictures/{name}/result",
            "original": f"/pictures/{name}/original",
        }
        for name in (grey.result_id, image_id(1))
    ]
    assert listed == [without_uris(grey), without_uris(default)]
    assert listed[0]["recipe"]["members"] == {"grayscale": True}
    for image in (default, grey):
        answer = gallery.client.get(f"/api/v1/images/{image.result_id}").json
        assert answer["finished_at"] == image.model_dump(mode="json")["finished_at"]
    assert gallery.client.get(f"/api/v1/images/{image_id(1)}-0000000a").status_code == 404
    assert gallery.client.get(f"/api/v1/images/{image_id(1)}-a").status_code == 422


def test_unknown_resources_and_invalid_queries_are_problems(gallery):
    for path, status, part in [
        (f"/api/v1/images/{'0' * 32}", 404, "no finished image"),
        ("/api/v1/images/nothing", 422, "image_id"),
        ("/api/v1/images?limit=0", 422, "limit"),
        ("/api/v1/images?order=oldest", 422, "order"),
        ("/api/v1/images?cursor=x", 404, "cursor"),
        ("/api/v1/nothing", 404, "not found"),
    ]:
        answer = gallery.client.get(path)
        assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), path
        assert part in answer.json["detail"], path


def test_a_response_is_sent_again_only_after_a_change(gallery):
    fill(gallery, 1)
    for path in (
        "/api/v1/images",
        f"/api/v1/images/{image_id(0)}",
        "/api/v1/runs",
        "/api/v1/totals",
    ):
        first = gallery.client.get(path)
        known = {"If-None-Match": first.headers["ETag"]}
        again = gallery.client.get(path, headers=known)
        assert (again.status_code, again.data) == (304, b"")
    gallery.record(evaluation(2, minutes=2))
    assert gallery.client.get("/api/v1/images", headers=known).status_code == 200


def test_a_new_database_has_other_tags(tmp_path):
    answers = []
    for name in ("one", "two"):
        gallery = Gallery(tmp_path / name)
        fill(gallery, 1)
        answers.append(gallery.client.get("/api/v1/images").headers["ETag"])
        gallery.close()
    assert answers[0] != answers[1]


def test_an_unknown_image_is_never_unchanged(gallery):
    fill(gallery, 1)
    tag = gallery.client.get("/api/v1/images").headers["ETag"]
    for known in (tag, "*"):
        answer = gallery.client.get(f"/api/v1/images/{'0' * 32}", headers={"If-None-Match": known})
        assert answer.status_code == 404


@pytest.mark.parametrize("key", [[1, "\ud800"], [10**400, "a"], [float("nan"), "a"]])
def test_forged_cursors_are_rejected(gallery, key):
    cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode()
    deep = base64.urlsafe_b64encode(b"[" * 100_000).decode()
    for path in (f"/api/v1/images?cursor={cursor}", f"/?after={cursor}", f"/?after={deep}"):
        assert gallery.client.get(path).status_code in (404, 422)


def test_a_login_form_through_a_proxy_is_accepted(tmp_path):
    gallery = Gallery(tmp_path, private=True, public_url="https://gallery.example/")
    there = {"Host": "127.0.0.1:8080", "Origin": "https://gallery.example"}
    answer = gallery.client.post("/login", data={"token": TOKEN}, headers=there)
    assert answer.status_code == 303
    assert "Secure" in answer.headers["Set-Cookie"]
    gallery.close()


def test_totals_and_runs_are_returned(gallery):
    fill(gallery, 3)
    gallery.record(evaluation(8, gain=None))
    assert record_status(gallery.database, status_of_manifest(manifest()))
    gallery.changes.poll()
    totals = gallery.client.get("/api/v1/totals").json
    assert (totals["images"], totals["measured"]) == (4, 3)
    assert totals["gain"] == pytest.approx(1.1)
    (run,) = gallery.client.get("/api/v1/runs").json["runs"]
    assert (run["name"], run["state"]) == ("2026-01-31-x2", "succeeded")
    assert run["detail"]["counts"]["images"] == 3


def test_a_database_outage_is_503(gallery):
    fill(gallery, 1)
    gallery.database.close()
    database = Path(gallery.settings.notifier.database_url.removeprefix("sqlite:///"))
    for file in database.parent.glob("notifier.db*"):
        file.unlink()
    database.mkdir()
    answer = gallery.client.get("/api/v1/images")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert str(database) not in answer.text


@pytest.mark.slow
def test_schemathesis_finds_no_fault(gallery, tmp_path):
    fill(gallery, 5)
    record_status(gallery.database, status_of_manifest(manifest()))
    gallery.changes.poll()
    for limiter in gallery.app.extensions["limiter"]:
        limiter.enabled = False  # otherwise most responses would be 429
    command = [str(Path(sys.executable).with_name("schemathesis")), "run"]
    options = ["--header", f"Authorization: Bearer {TOKEN}", "--max-examples", "25"]
    with gallery.served() as address:
        done = subprocess.run(
            [*command, f"{address}/api/v1/openapi.json", *options, "--seed", "1"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout


# ---- access control


def test_reading_a_private_gallery_needs_a_token(private_gallery):
    fill(private_gallery, 1)
    for path in (
        "/api/v1/images",
        "/api/v1/openapi.json",
        "/metrics",
        "/events",
        "/pictures/x/low",
    ):
        answer = private_gallery.client.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    for path in ("/", "/runs", f"/images/{image_id(0)}"):
        answer = private_gallery.client.get(path, headers=PAGE)
        assert (answer.status_code, answer.location) == (
            302,
            f"/login?next={path.replace('/', '%2F')}",
        )
    for path in ("/healthz", "/readyz", "/login", "/static/style.css"):
        assert private_gallery.client.get(path, buffered=True).status_code == 200, path
    assert private_gallery.client.get("/api/v1/images", headers=BEARER).status_code == 200
    wrong = {"Authorization": f"Bearer {TOKEN}x"}
    assert private_gallery.client.get("/api/v1/images", headers=wrong).status_code == 401


def test_a_login_allows_reading_but_not_writing(private_gallery):
    answer = private_gallery.client.post("/login", data={"token": TOKEN, "next": "/runs"})
    assert (answer.status_code, answer.location) == (303, "/runs")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    assert private_gallery.client.get("/api/v1/images").status_code == 200
    wanted = {"url": "https://example.org/", "types": ["image.finished"]}
    assert private_gallery.client.post("/api/v1/subscriptions", json=wanted).status_code == 401
    assert private_gallery.client.post("/logout").status_code == 303
    assert private_gallery.client.get("/api/v1/images").status_code == 401


def test_logins_with_a_wrong_token_fail_and_are_limited(private_gallery):
    tried = [
        private_gallery.client.post("/login", data={"token": f"guess {n}"}, environ_base=ELSEWHERE)
        for n in range(12)
    ]
    assert {answer.status_code for answer in tried[:10]} == {403}
    assert "Set-Cookie" not in tried[0].headers
    assert tried[-1].status_code == 429
    assert private_gallery.client.get("/api/v1/images").status_code == 401


@pytest.mark.parametrize("path", ["/api/v1/images", "/api/v1/subscriptions"])
def test_wrong_tokens_are_limited_by_address(private_gallery, path):
    client = private_gallery.client
    wrong = [{"Authorization": f"Bearer guess-{n}"} for n in range(11)]
    answers = [client.get(path, headers=each, environ_base=ELSEWHERE) for each in wrong]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    refused = client.get(path, headers=BEARER, environ_base=ELSEWHERE)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert client.get(path, headers=BEARER).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example/",
        "https://evil.example/",
        "/\\evil.example",
        "/\n//evil.example",
        "evil",
        "",
    ],
)
def test_a_login_redirects_to_this_site_only(private_gallery, target):
    answer = private_gallery.client.post("/login", data={"token": TOKEN, "next": target})
    assert answer.location == "/"


def test_a_form_of_another_site_is_refused(private_gallery):
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "http://["},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        answer = private_gallery.client.post("/login", data={"token": TOKEN}, headers=headers)
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)


def test_a_foreign_host_name_is_refused(gallery):
    for headers in ({}, PAGE):
        answer = gallery.client.get("/", headers=headers | {"Host": "rebound.example"})
        assert answer.status_code == 400
        assert "Content-Security-Policy" in answer.headers
    assert gallery.client.get("/", headers={"Host": "localhost:8080"}).status_code == 200


def test_every_response_has_security_headers(gallery):
    for path in ("/", "/nothing", "/api/v1/images", "/static/style.css", "/healthz"):
        headers = gallery.client.get(path, buffered=True).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"


def test_a_notifier_that_other_machines_can_reach_needs_a_token():
    for host in ("0.0.0.0", "10.0.0.1", "::", "gallery.example"):
        with pytest.raises(ConfigError, match=WRITE_TOKEN):
            check_exposure(host, Notifier(), Tokens())
        check_exposure(host, Notifier(), Tokens(write=TOKEN))
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        check_exposure(host, Notifier(), Tokens())
    for behind in (Notifier(proxies=1), Notifier(public_url="https://gallery.example/")):
        with pytest.raises(ConfigError, match=WRITE_TOKEN):
            check_exposure("127.0.0.1", behind, Tokens())


@pytest.mark.parametrize("token", ["short", "with a space in it", "ümlaut-in-this-token"])
def test_a_token_that_is_short_or_fits_no_header_is_rejected(token):
    with pytest.raises(ConfigError, match=WRITE_TOKEN):
        tokens_from({WRITE_TOKEN: token})


def test_the_read_token_comes_from_its_own_variable(tmp_path):
    tokens = tokens_from({WRITE_TOKEN: TOKEN, READ_TOKEN: "only-for-looking-at"})
    assert tokens == Tokens(TOKEN, "only-for-looking-at")


def test_errors_are_pages_for_people_and_problems_for_programs(gallery):
    page = gallery.client.get("/nothing", headers=PAGE)
    assert (page.status_code, page.mimetype) == (404, "text/html")
    problem = gallery.client.get("/nothing")
    assert json.loads(problem.text)["status"] == 404
