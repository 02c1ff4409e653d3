"""The commands as a user meets them: what they say before they do anything."""

import re

import pytest

from delivery.__main__ import cli, execute
from tests.test_project import run


@pytest.fixture(autouse=True)
def no_account(tmp_path, monkeypatch):
    """No credentials, wherever AWS's clients look."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


REMOTE = [
    ["deploy"],
    ["submit"],
    ["emr-step", "--job", "mass_split", "--run-id", "2026-01-31-x2"],
    ["status"],
    ["logs"],
    ["destroy"],
]


@pytest.mark.parametrize("arguments", REMOTE, ids=lambda arguments: arguments[0])
def test_missing_credentials_are_told_first_in_one_line(arguments, capsys):
    assert execute(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert "no AWS credentials" in line
    assert "aws configure" in line


@pytest.mark.parametrize("arguments", REMOTE, ids=lambda arguments: arguments[0])
def test_a_wrong_region_and_a_wrong_environment_are_told(arguments, capsys, monkeypatch):
    assert execute([*arguments, "--env", "moon"]) == 1
    assert "ENV=moon" in capsys.readouterr().err
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert execute([*arguments, "--env", "dev"]) == 1
    assert "AWS_REGION is us-west-2" in capsys.readouterr().err


def test_a_profile_that_is_not_there_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert execute(["status"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "nobody" in line
    assert "unset AWS_PROFILE" in line


def test_a_region_that_cannot_be_reached_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wordwordword")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert execute(["status"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be reached in eu-central-1" in line
    assert "wordwordword" not in line


def test_wrong_usage_is_2(capsys):
    assert execute(["emr-step", "--job", "mass_split"]) == 2
    assert "--run-id" in capsys.readouterr().err
    assert execute(["submit", "--scale", "5"]) == 2


def test_every_command_has_a_target_of_its_name():
    for name in cli.commands:
        planned = run("make", "--dry-run", name, "JOB=mass_split", "RUN_ID=2026-01-31-x2")
        assert re.search(rf"^\.venv/bin/python -m delivery {name}\b", planned.stdout, re.M), name


def test_targets_pass_their_variables_on():
    planned = run("make", "--dry-run", "submit", "ENV=prod", "INGEST_DATE=2026-01-31", "REDO=1")
    assert re.search(r'--env "prod" +--ingest-date "2026-01-31" +--redo', planned.stdout)
    planned = run("make", "--dry-run", "emr-step", "JOB=evaluate", "RUN_ID=x", "CLUSTER=j-1")
    assert re.search(r'--job "evaluate" +--run-id "x" +--cluster "j-1"', planned.stdout)
    assert "--yes" not in run("make", "--dry-run", "destroy").stdout
    assert "--yes" in run("make", "--dry-run", "destroy", "YES=1").stdout
    assert "--without-gpu" in run("make", "--dry-run", "package", "GPU=no").stdout
    assert "--without-gpu" not in run("make", "--dry-run", "package").stdout
