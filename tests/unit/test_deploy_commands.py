"""The deploy commands as a user meets them: options, errors and exit codes."""

import importlib
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from botocore.parsers import ResponseParserError

from deploy import destroy, environments, steps, terraform
from deploy.__main__ import cli, execute
from deploy.cli import shared
from deploy.environments import Deployed, read_environment
from tests.support.fake_aws import stubbed
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def no_account(tmp_path, monkeypatch):
    """Removes credentials from everywhere that AWS clients look."""
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
def test_missing_credentials_are_reported_first_and_in_one_line(arguments, capsys):
    assert execute(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert "no AWS credentials" in line
    assert "aws configure" in line


@pytest.mark.parametrize("arguments", REMOTE, ids=lambda arguments: arguments[0])
def test_a_wrong_region_and_a_wrong_environment_are_reported(arguments, capsys, monkeypatch):
    assert execute([*arguments, "--env", "moon"]) == 1
    assert "ENV=moon" in capsys.readouterr().err
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert execute([*arguments, "--env", "dev"]) == 1
    assert "AWS_REGION is us-west-2" in capsys.readouterr().err


def test_a_missing_profile_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "missing-profile")
    assert execute(["status"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "missing-profile" in line
    assert "unset AWS_PROFILE" in line


def test_an_unreachable_region_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wordwordword")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert execute(["status", "--env", "local"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be reached in us-east-1" in line
    assert "wordwordword" not in line


def test_an_invalid_endpoint_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "not-a-url")
    assert execute(["status"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "not-a-url" in line
    assert "unset AWS_ENDPOINT_URL" in line


class WebPage(BaseHTTPRequestHandler):
    """Answers every request with a page, as the login page of a network does."""

    page = b""

    def do_POST(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("page", [b"hello", b"<html><body>hello</body></html>"])
def test_a_web_page_instead_of_aws_is_one_line(page, capsys, monkeypatch):
    monkeypatch.setattr(WebPage, "page", page)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with HTTPServer(("127.0.0.1", 0), WebPage) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        try:
            assert execute(["status", "--env", "local"]) == 1
        finally:
            server.shutdown()
            thread.join()
    (line,) = capsys.readouterr().err.splitlines()
    assert "the response for us-east-1 is not from AWS; check AWS_ENDPOINT_URL" in line


def test_a_connection_to_aws_that_times_out_is_reported_as_such(capsys, monkeypatch):
    def fail(_name: str) -> None:
        raise ConnectTimeoutError(endpoint_url="https://s3.amazonaws.com")  # an OSError, too

    monkeypatch.setattr(shared, "open_environment", fail)
    assert execute(["status"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == 'AWS: Connect timeout on endpoint URL: "https://s3.amazonaws.com"'


def test_an_invalid_response_later_is_one_line(capsys, monkeypatch):
    def fail(_name: str) -> None:
        raise ResponseParserError("invalid XML received:\nhello")

    monkeypatch.setattr(shared, "open_environment", fail)
    assert execute(["status"]) == 1
    assert capsys.readouterr().err == "AWS: invalid XML received: hello\n"


def test_wrong_usage_is_2(capsys):
    assert execute(["emr-step", "--job", "mass_split"]) == 2
    assert "RUN_ID is missing; give RUN_ID=2026-01-31-x2 (--run-id)" in stderr_of(capsys)
    assert execute(["emr-step", "--job", ""]) == 2  # as make passes it
    assert "JOB is missing; give JOB=mass_split (--job)" in stderr_of(capsys)
    assert execute(["submit", "--scale", "5"]) == 2


def stderr_of(capsys) -> str:
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
        ([*STEP, "--run-id", "2026-01-31-x2", "--start-id", "now"], "--start-id 'now': write"),
        (["submit", "--run-id", "mine"], "RUN_ID: --run-id 'mine' names no date and scale"),
        (["submit", "--ingest-date", "20260131"], "INGEST_DATE (--ingest-date) '20260131': write"),
        (["submit", "--ingest-date", "2026-02-30"], "INGEST_DATE (--ingest-date) '2026-02-30': "),
    ],
)
def test_a_run_that_no_job_accepts_is_rejected_before_any_call_to_aws(arguments, complaint, capsys):
    # A call would fail for lack of credentials.
    assert execute(arguments) == 1
    (line,) = stderr_of(capsys).splitlines()
    assert complaint in line


def test_a_run_may_have_any_name_if_date_and_scale_are_given(capsys):
    mine = ["--run-id", "mine", "--scale", "2", "--ingest-date", "2026-01-31"]
    assert execute([*STEP, *mine]) == 1
    assert "no AWS credentials" in stderr_of(capsys)


def deploy_dev_with(monkeypatch, **outputs: object) -> None:
    """Makes the commands see a deployment with these outputs."""
    emr, clusters = stubbed("emr")
    clusters.add_response("list_clusters", {"Clusters": []})
    deployed = Deployed(read_environment("dev"), outputs)
    clients = SimpleNamespace(emr=emr, stepfunctions=None, s3=None)
    monkeypatch.setattr(shared, "open_deployed", lambda _name: (deployed, clients))


def test_status_reports_an_environment_that_is_not_deployed(capsys, monkeypatch):
    deploy_dev_with(monkeypatch)
    assert execute(["status"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == ("superres-dev is not deployed in eu-central-1; run make deploy ENV=dev\n")


def test_status_reports_a_partial_deployment(capsys, monkeypatch):
    deploy_dev_with(monkeypatch, name="superres-dev")
    assert execute(["status"]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("superres-dev in eu-central-1, partly deployed\n")
    assert "run make deploy ENV=dev" in shown.err


def test_status_reports_a_state_machine_that_does_not_exist_yet(capsys, monkeypatch):
    deploy_dev_with(monkeypatch, name="superres-dev", state_machine_arn="arn")

    def refuse(*_: object) -> None:
        missing = "StateMachineDoesNotExist"
        raise ClientError({"Error": {"Code": missing, "Message": ""}}, "ListExecutions")

    monkeypatch.setattr("deploy.executions.latest_executions", refuse)
    assert execute(["status"]) == 1
    assert stderr_of(capsys) == (
        "superres-dev is deployed in part, without its state machine: make deploy ENV=dev goes on, "
        "make destroy ENV=dev removes it\n"
    )


def test_logs_begins_with_the_commands_that_follow_them_in_cloudwatch(capsys, monkeypatch):
    deploy_dev_with(
        monkeypatch,
        state_machine_arn="arn",
        region="eu-central-1",
        log_uri="s3://logs/emr/",
        log_groups={"steps": "/superres-dev/steps", "notifier": "/superres-dev/services/notifier"},
    )
    for name in ("find_execution", "show_execution"):
        monkeypatch.setattr(importlib.import_module("deploy.cli.logs"), name, lambda *_: None)
    assert execute(["logs"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "steps: aws logs tail /superres-dev/steps --follow --region eu-central-1",
        "notifier: aws logs tail /superres-dev/services/notifier --follow --region eu-central-1",
    ]
    local = Deployed(read_environment("local"), {"log_groups": {"steps": "/superres-local/steps"}})
    assert local.log_groups == {}, "there, no agent sends anything"


def test_destroy_stops_work_before_and_after_terraform(monkeypatch, capsys):
    done: list[str] = []

    def record(name: str, answer: object = None):
        def call(*arguments: object) -> object:
            # The second argument of stop_work: afterwards there is no state machine.
            done.append(f"{name} {arguments[1]}" if name == "stop_work" else name)
            return answer

        return call

    dev = read_environment("dev")
    clients = SimpleNamespace(s3=None, emr=None, stepfunctions=None)
    root = SimpleNamespace(
        read=lambda *_: "aws_s3_bucket.raw\n", outputs=lambda: {"state_machine_arn": "arn"}
    )
    monkeypatch.setattr(shared, "open_environment", lambda _name: (dev, clients, "123456789012"))
    monkeypatch.setattr(terraform, "check_version", lambda: "1.12.0")
    monkeypatch.setattr(environments, "has_bucket", lambda *_: True)
    monkeypatch.setattr(environments, "initialised", lambda *_: root)
    monkeypatch.setattr(steps, "live_clusters", lambda *_: [])
    for name, answer in (
        ("check_protection", None),
        ("buckets_of", ["raw"]),
        ("stop_work", None),
        ("destroy_with_terraform", None),
        ("delete_state", True),
    ):
        monkeypatch.setattr(destroy, name, record(name, answer))
    assert execute(["destroy", "--yes"]) == 0
    assert done == [
        "check_protection",
        "buckets_of",
        "stop_work arn",
        "destroy_with_terraform",
        # The schedule may have started a cluster just before Terraform removed it.
        "stop_work None",
        "delete_state",
    ]
    assert "superres-dev is destroyed" in capsys.readouterr().out


def planned_by_make(*arguments: str) -> str:
    """Returns the commands that make would run."""
    return subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_the_commands_load_neither_numpy_nor_libvips_nor_onnxruntime():
    program = "import sys, deploy.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert "deploy.cli.status" in loaded
    assert not {"numpy", "pyvips", "onnxruntime"} & set(loaded)


def test_every_command_has_a_make_target_of_its_name():
    for name in cli.commands:
        planned = planned_by_make(name, "JOB=mass_split", "RUN_ID=2026-01-31-x2")
        assert re.search(rf"^\.venv/bin/python -m deploy {name}\b", planned, re.M), name


def test_make_targets_pass_their_variables_on():
    planned = planned_by_make("submit", "ENV=prod", "INGEST_DATE=2026-01-31", "REDO=1")
    assert re.search(r'--env "prod" +--ingest-date "2026-01-31" +--redo', planned)
    planned = planned_by_make("emr-step", "JOB=evaluate", "RUN_ID=x", "START_ID=y", "CLUSTER=j-1")
    assert re.search(r'--job "evaluate" +--run-id "x" +--start-id "y" --cluster "j-1"', planned)
    assert "--yes" not in planned_by_make("destroy")
    assert "--yes" in planned_by_make("destroy", "YES=1")
    assert "--without-gpu" in planned_by_make("package", "GPU=no")
    assert "--without-gpu" not in planned_by_make("package")
