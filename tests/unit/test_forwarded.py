"""A service behind a reverse proxy that it does not know of says so once."""

import pytest
from structlog.testing import capture_logs

from tests.support.example_gallery import Gallery
from tests.support.upload_app import UploadApp

FORWARDED = {"X-Forwarded-For": "8.8.8.8"}


def warnings_of(client, path, peer, headers):
    with capture_logs() as logs:
        for _ in range(3):
            client.get(path, headers=headers, environ_base={"REMOTE_ADDR": peer})
    return [log for log in logs if log["event"] == "proxy_unknown"]


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3"])
def test_uploads_name_the_setting_once(tmp_path, peer):
    [warning] = warnings_of(UploadApp(tmp_path).client, "/uploads", peer, FORWARDED)
    assert (warning["log_level"], warning["peer"]) == ("warning", peer)
    assert "ingestion.upload_proxies" in warning["reason"]


def test_the_notifier_names_its_own_setting(tmp_path):
    gallery = Gallery(tmp_path, private=True)
    [warning] = warnings_of(gallery.client, "/api/v1/images", "127.0.0.1", FORWARDED)
    assert "notifier.proxies" in warning["reason"]
    gallery.close()


@pytest.mark.parametrize(
    ("peer", "headers", "proxies"),
    [("8.8.4.4", FORWARDED, 0), ("127.0.0.1", {}, 0), ("", FORWARDED, 0), ("::1", FORWARDED, 1)],
)
def test_nothing_is_said_of_others(tmp_path, peer, headers, proxies):
    app = UploadApp(tmp_path, ingestion={"upload_proxies": proxies})
    assert warnings_of(app.client, "/uploads", peer, headers) == []
