"""What is logged has no secret, whoever raised or quoted it."""

import json

import click
import pytest
import structlog

from superres.cli import execution
from superres.errors import StorageError
from superres.redaction import SecretUrl
from superres.service.logs import log_as_json, log_for_people

SECRET = "s3cr3t-7f3a"
URL = f"https://me:{SECRET}@example.org/a.jpg?sig={SECRET}"


@pytest.fixture(autouse=True)
def _token_and_logs(monkeypatch):
    monkeypatch.setenv("SUPERRES_UPLOAD_TOKEN", f"token-{SECRET}")
    yield
    structlog.reset_defaults()


def log_everything() -> None:
    log = structlog.get_logger()
    try:
        raise ValueError(f"{URL} with token-{SECRET}")
    except ValueError:
        log.exception("unexpected_error", url=SecretUrl(URL), urls=[URL, {"a": URL}], count=7)


def test_a_json_log_has_no_secret(capsys):
    log_as_json()
    log_everything()
    line = capsys.readouterr().err
    assert SECRET not in line
    event = json.loads(line)
    assert event["count"] == 7
    assert event["urls"][0].startswith("https://example.org/a.jpg#")
    assert "ValueError: https://example.org/a.jpg#" in event["exception"]


def test_a_log_for_people_has_no_secret(capsys):
    log_for_people()
    log_everything()
    text = capsys.readouterr().err
    assert SECRET not in text
    assert "ValueError" in text


def test_an_error_line_has_no_secret(capsys):
    @click.command()
    def command() -> None:
        raise StorageError(f"{URL}: token-{SECRET} is wrong")

    assert execution.execute(command, [], "superres", prefix="superres: ") == 1
    line = capsys.readouterr().err
    assert SECRET not in line
    assert line.startswith("superres: https://example.org/a.jpg#")
