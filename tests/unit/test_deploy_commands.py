"""The commands as a user meets them: what they say before they do anything."""

import re
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest
from botocore.parsers import ResponseParserError

from deploy import __main__ as commands
from deploy import destroy, steps
from deploy.__main__ import cli, execute
from deploy.environments import Deployed, read_environment
from tests.support.fake_aws import stubbed
from tests.unit.test_project import run


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
    assert execute(["status", "--env", "local"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be reached in us-east-1" in line
    assert "wordwordword" not in line


def test_an_endpoint_that_is_no_address_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "quatsch")
    assert execute(["status"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "quatsch" in line
    assert "unset AWS_ENDPOINT_URL" in line


class OtherPage(BaseHTTPRequestHandler):
    """A login page of a network, say."""

    page = b""

    def do_POST(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("page", [b"hello", b"<html><body>hello</body></html>"])
def test_an_answer_that_is_not_of_aws_is_one_line(page, capsys, monkeypatch):
    monkeypatch.setattr(OtherPage, "page", page)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with HTTPServer(("127.0.0.1", 0), OtherPage) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        try:
            assert execute(["status", "--env", "local"]) == 1
        finally:
            server.shutdown()
            thread.join()
    (line,) = capsys.readouterr().err.splitlines()
    assert "what answers for us-east-1 is not AWS; check AWS_ENDPOINT_URL" in line


def test_an_answer_that_is_not_of_aws_later_is_one_line(capsys, monkeypatch):
    def opened(_name: str) -> None:
        raise ResponseParserError("invalid XML received:\nhello")

    monkeypatch.setattr(commands, "_opened", opened)
    assert execute(["status"]) == 1
    assert capsys.readouterr().err == "AWS: invalid XML received: hello\n"


def test_wrong_usage_is_2(capsys):
    assert execute(["emr-step", "--job", "mass_split"]) == 2
    assert "RUN_ID is missing; give RUN_ID=2026-01-31-x2 (--run-id)" in told(capsys)
    assert execute(["emr-step", "--job", ""]) == 2  # as make hands it on
    assert "JOB is missing; give JOB=mass_split (--job)" in told(capsys)
    assert execute(["submit", "--scale", "5"]) == 2


def told(capsys) -> str:
    return capsys.readouterr().err


STEP = ["emr-step", "--job", "mass_split"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["emr-step", "--job", "split", "--run-id", "2026-01-31-x2"], "JOB (--job) 'split': no"),
        ([*STEP, "--run-id", "a/b"], "RUN_ID: --run-id 'a/b': use letters"),
        ([*STEP, "--run-id", "mine"], "RUN_ID: --run-id 'mine' names no date and scale"),
        ([*STEP, "--run-id", "2026-02-30-x2"], "RUN_ID: --run-id '2026-02-30-x2': 2026-02-30 is"),
        ([*STEP, "--run-id", "2026-01-31-x2", "--scale", "3"], "--scale 3 contradict"),
        (["submit", "--run-id", "mine"], "RUN_ID: --run-id 'mine' names no date and scale"),
        (["submit", "--ingest-date", "20260131"], "INGEST_DATE (--ingest-date) '20260131': write"),
        (["submit", "--ingest-date", "2026-02-30"], "INGEST_DATE (--ingest-date) '2026-02-30': "),
    ],
)
def test_a_run_that_no_job_takes_is_refused_before_aws_is_asked(arguments, complaint, capsys):
    # There are no credentials, which is what asking would tell.
    assert execute(arguments) == 1
    (line,) = told(capsys).splitlines()
    assert complaint in line


def test_a_run_of_any_name_is_taken_with_date_and_scale(capsys):
    mine = ["--run-id", "mine", "--scale", "2", "--ingest-date", "2026-01-31"]
    assert execute([*STEP, *mine]) == 1
    assert "no AWS credentials" in told(capsys)


def dev_with(monkeypatch, **outputs: object) -> None:
    """Lets the commands find this deployed."""
    emr, clusters = stubbed("emr")
    clusters.add_response("list_clusters", {"Clusters": []})
    deployed = Deployed(read_environment("dev"), outputs)
    clients = SimpleNamespace(emr=emr, states=None)
    monkeypatch.setattr(commands, "_deployed", lambda _name: (deployed, clients))


def test_the_status_of_what_is_not_deployed_says_so(capsys, monkeypatch):
    dev_with(monkeypatch)
    assert execute(["status"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == ("superres-dev is not deployed in eu-central-1; run make deploy ENV=dev\n")


def test_the_status_of_what_is_deployed_in_part_says_so(capsys, monkeypatch):
    dev_with(monkeypatch, name="superres-dev")
    assert execute(["status"]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("superres-dev in eu-central-1, deployed in part\n")
    assert "run make deploy ENV=dev" in shown.err


def test_destroy_stops_work_before_and_after_terraform(monkeypatch, capsys):
    done: list[str] = []

    def record(name: str, answer: object = None):
        def call(*arguments: object) -> object:
            # Of stop_work the second argument: afterwards there is no state machine to ask.
            done.append(f"{name} {arguments[1]}" if name == "stop_work" else name)
            return answer

        return call

    dev = read_environment("dev")
    clients = SimpleNamespace(s3=None, emr=None, states=None)
    terraform = SimpleNamespace(
        read=lambda *_: "aws_s3_bucket.raw\n", outputs=lambda: {"state_machine_arn": "arn"}
    )
    monkeypatch.setattr(commands, "_opened", lambda _name: (dev, clients, "123456789012"))
    monkeypatch.setattr(commands, "check_version", lambda: "1.12.0")
    monkeypatch.setattr(commands, "has_bucket", lambda *_: True)
    monkeypatch.setattr(commands, "initialised", lambda *_: terraform)
    monkeypatch.setattr(steps, "live_clusters", lambda *_: [])
    for name, answer in (
        ("check_protection", None),
        ("buckets_of", ["raw"]),
        ("stop_work", None),
        ("destroy_with_terraform", None),
        ("forget_state", True),
    ):
        monkeypatch.setattr(destroy, name, record(name, answer))
    assert execute(["destroy", "--yes"]) == 0
    assert done == [
        "check_protection",
        "buckets_of",
        "stop_work arn",
        "destroy_with_terraform",
        # The schedule may have started a cluster just before it went.
        "stop_work None",
        "forget_state",
    ]
    assert "superres-dev is gone" in capsys.readouterr().out


def test_every_command_has_a_target_of_its_name():
    for name in cli.commands:
        planned = run("make", "--dry-run", name, "JOB=mass_split", "RUN_ID=2026-01-31-x2")
        assert re.search(rf"^\.venv/bin/python -m deploy {name}\b", planned.stdout, re.M), name


def test_targets_pass_their_variables_on():
    planned = run("make", "--dry-run", "submit", "ENV=prod", "INGEST_DATE=2026-01-31", "REDO=1")
    assert re.search(r'--env "prod" +--ingest-date "2026-01-31" +--redo', planned.stdout)
    planned = run("make", "--dry-run", "emr-step", "JOB=evaluate", "RUN_ID=x", "CLUSTER=j-1")
    assert re.search(r'--job "evaluate" +--run-id "x" +--cluster "j-1"', planned.stdout)
    assert "--yes" not in run("make", "--dry-run", "destroy").stdout
    assert "--yes" in run("make", "--dry-run", "destroy", "YES=1").stdout
    assert "--without-gpu" in run("make", "--dry-run", "package", "GPU=no").stdout
    assert "--without-gpu" not in run("make", "--dry-run", "package").stdout
