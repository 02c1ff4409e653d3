"""`make smoke` without AWS: its images, how they are sent, what counts as wrong, its verdicts."""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from deploy import executions
from deploy.environments import Deployed, read_environment
from deploy.executions import Execution
from deploy.smoke import evidence, running, sending
from deploy.smoke.evidence import Smoke
from deploy.smoke.images import expected_results, largest_difference, make_images
from deploy.smoke.running import Result
from deploy.smoke.sending import (
    Sent,
    multipart_form,
    send_by_s3,
    send_by_uploads,
)
from deploy.smoke.services import Reached, Site, reached_services, tunnel_command
from deploy.smoke.verdicts import CHECKS, PROVEN, Observed, Verdict, verdicts
from deploy.smoke.waiting import wait_until
from ingestion.direct.pending import PendingUploads
from ingestion.uploads.app import create_app
from superres.cli.upscale import upscale
from superres.errors import PrerequisiteError, StorageError
from superres.imaging.decoding import decode
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png_bytes
from superres.pipeline import storage
from superres.pipeline.arrival import reject_arrival
from superres.pipeline.config import Processing, Settings
from superres.pipeline.config_file import validated
from superres.pipeline.layout import dataset_in, layout_on
from superres.pipeline.recipe import Recipe
from superres.pipeline.records import RejectedImage
from superres.service.supervisor import free_port
from tests.support.http_server import HttpServer
from tests.support.paths import ROOT
from tests.support.source_reading import NOON
from tests.support.upload_app import TOKEN

_LIMITS = Limits(1 << 24, 1 << 24)
DAY = date(2026, 1, 31)


# ---- images


def test_the_same_seed_makes_the_same_ten_images_and_another_makes_others():
    images = make_images(7)
    assert images == make_images(7)
    assert len({image.content for image in [*images, *make_images(17)]}) == 20
    assert [image.mode for image in images].count("upscale") == 5


def test_expected_results_are_those_of_superres_upscale(tmp_path):
    images = [image for image in make_images(7) if image.mode == "upscale"]
    for image in images:
        (tmp_path / image.name).write_bytes(image.content)
    large = tmp_path / "large"
    done = CliRunner().invoke(upscale, [str(tmp_path), "--scale", "2", "--output", str(large)])
    assert done.exit_code == 0, done.output
    expected = expected_results(images, Processing(), 2)
    for image in images:
        content = (large / f"{Path(image.name).stem}_x2.png").read_bytes()
        assert largest_difference(content, expected[image.name]) == 0, image.name


def test_a_difference_is_measured_in_levels():
    planes = np.full((1, 4, 6), 100, np.uint8)
    other = planes.copy()
    other[0, 1, 2] = 97
    assert largest_difference(encode_png_bytes(other), planes) == 3
    assert largest_difference(encode_png_bytes(planes[:, :3]), planes) is None
    assert largest_difference(encode_png_bytes(planes.astype(np.uint16)), planes) is None


# ---- sending


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    dataset = dataset_in(str(tmp_path)).model_dump()
    ingestion = {"uploads_dir": str(tmp_path / "uploads")}
    return validated(
        {"dataset": dataset, "ingestion": ingestion, "kafka": {"enabled": False}}, "test"
    )


class AppSite(Site):
    """The upload service without a server."""

    app: Any = None

    def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        content_type: str | None = None,
        seconds: float = 60,
    ) -> tuple[int, bytes]:
        content = content or b""
        answer = self.app.open(
            path,
            method=method,
            input_stream=io.BytesIO(content),
            content_type=content_type,
            headers={"Authorization": f"Bearer {self.token}", "Content-Length": str(len(content))},
        )
        return answer.status_code, answer.data


@pytest.fixture
def uploads(settings: Settings) -> Iterator[AppSite]:
    """The upload application, which stores the images itself."""
    running_now = Event()
    running_now.set()
    pending = PendingUploads(settings, running_now.is_set)
    site = AppSite("http://uploads.invalid", TOKEN)
    AppSite.app = create_app(settings, TOKEN, pending.publish).test_client()
    yield site
    running_now.clear()


def test_images_are_uploaded_in_their_mode_and_waited_for(uploads, settings):
    images = make_images(3)
    sent: list[Sent] = []
    send_by_uploads(images, uploads, settings, 3, sent)
    assert [each.image for each in sent] == sorted(images, key=lambda image: image.mode)
    for each in sent:
        low = each.low_resolution
        assert low is not None
        if each.image.mode == "upscale":
            assert storage.read_bytes(low) == each.image.content
        else:
            (info,) = [decode(storage.read_bytes(low), _LIMITS).info]
            assert info.width == decode(each.image.content, _LIMITS).info.width // 3


def test_a_refused_upload_is_one_line(uploads, settings):
    with pytest.raises(PrerequisiteError, match=r"uploads\.invalid/uploads: answered 401"):
        send_by_uploads(make_images(3), AppSite(uploads.address, "wrong"), settings, 2, [])


class FailingSecond(AppSite):
    """The upload service, which accepts one request."""

    asked = 0

    def ask(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        FailingSecond.asked += 1
        return super().ask(*args, **kwargs) if FailingSecond.asked == 1 else (503, b"busy")


def test_what_was_uploaded_before_an_error_is_known(uploads, settings):
    sent: list[Sent] = []
    with pytest.raises(PrerequisiteError, match="answered 503: busy"):
        send_by_uploads(make_images(3), FailingSecond(uploads.address, TOKEN), settings, 2, sent)
    assert [each.image.mode for each in sent] == ["evaluate"] * 5


@pytest.mark.slow
def test_without_uploads_the_images_are_a_source(settings, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    images = make_images(4)
    prefix = str(tmp_path / "uploads" / "smoke-4")
    sent: list[Sent] = []
    send_by_s3(images, prefix, settings, str(config), 2, sent)
    assert {each.image.name for each in sent} == {image.name for image in images}
    assert all(each.low_resolution for each in sent)


@pytest.mark.slow
def test_a_source_that_is_not_ingested_is_one_line(settings, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("processing: [")
    prefix = str(tmp_path / "uploads" / "smoke-4")
    with pytest.raises(PrerequisiteError, match=r"superres ingest .*: .*config\.yaml: "):
        send_by_s3(make_images(4), prefix, settings, str(config), 2, [])


def test_a_source_that_takes_too_long_is_one_line(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(sending, "_INGEST_SECONDS", 0.01)
    prefix = str(tmp_path / "uploads" / "smoke-4")
    with pytest.raises(PrerequisiteError, match=r"superres ingest .*: not done after 0\.01 s"):
        send_by_s3(make_images(4), prefix, settings, str(tmp_path / "config.yaml"), 2, [])


def test_what_was_ingested_before_an_error_is_known(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(sending, "_stored_from", lambda *_: ["stored"])
    monkeypatch.setattr(sending, "_INGEST_SECONDS", 0.01)
    sent: list[Any] = []
    with pytest.raises(PrerequisiteError, match="not done"):
        send_by_s3(make_images(4), str(tmp_path / "s"), settings, str(tmp_path / "c"), 2, sent)
    assert sent == ["stored"]


def test_a_form_holds_fields_and_files():
    content, content_type = multipart_form({"mode": "upscale"}, [("a.png", b"\x00\r\n--")])
    boundary = content_type.partition("boundary=")[2].encode()
    assert content.count(b"--" + boundary) == 3
    assert b'name="mode"\r\n\r\nupscale\r\n' in content
    assert b'name="files"; filename="a.png"\r\n\r\n\x00\r\n--\r\n' in content


# ---- services


def deployed_with(name: str, **outputs: Any) -> Deployed:
    return Deployed(read_environment(name), outputs)


class Secrets:
    """A session of boto3 with one secret, and groups without instances."""

    def client(self, service: str) -> Any:
        missing = type("ResourceNotFoundException", (Exception,), {})
        return SimpleNamespace(
            exceptions=SimpleNamespace(ResourceNotFoundException=missing),
            get_secret_value=lambda **_: {"SecretString": TOKEN},
            describe_auto_scaling_groups=lambda **_: {"AutoScalingGroups": []},
        )


OUTPUTS = {
    "tokens": {"notifier": "n", "uploads": "u"},
    "service_groups": {
        "notifier": "superres-smoke-notifier",
        "ingestion": "superres-smoke-ingestion",
    },
    "page_url": "http://localhost:8080",
    "uploads_url": "http://localhost:8081/uploads",
}


def test_a_service_at_a_given_address_is_asked_with_its_token():
    with HttpServer() as server:
        server.serve("/healthz")
        server.serve("/api", b'{"images": []}')
        address = server.url("").rstrip("/")
        deployed = deployed_with("local", tokens=OUTPUTS["tokens"])
        with reached_services(deployed, Secrets(), address, None) as reached:
            assert reached.page == Site(address, TOKEN)
            assert reached.page.get_json("/api") == {"images": []}
            assert reached.uploads is None
            assert reached.reasons == ("uploads_url: local has no instances",)


def test_an_address_where_nothing_answers_is_said():
    address = f"http://127.0.0.1:{free_port()}"
    with reached_services(
        deployed_with("smoke", **OUTPUTS), Secrets(), address, address
    ) as reached:
        assert (reached.page, reached.uploads) == (None, None)
        assert reached.reasons == (f"{address}: nothing answers there",) * 2


def test_without_the_plugin_there_is_no_tunnel(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "aws" if name == "aws" else None)
    with reached_services(deployed_with("smoke", **OUTPUTS), Secrets(), None, None) as reached:
        assert reached.page is None
        assert "there is no session-manager-plugin for a tunnel" in reached.reasons[0]


def test_without_an_instance_there_is_no_tunnel_either(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: name)
    with reached_services(deployed_with("smoke", **OUTPUTS), Secrets(), None, None) as reached:
        assert reached.reasons[1].endswith("there is no instance of superres-smoke-ingestion")


def test_the_tunnel_leads_to_a_port_of_the_instance():
    command = tunnel_command("i-1", "eu-central-1", 8080, 4711)
    assert command[:3] == ["aws", "ssm", "start-session"]
    assert command[-3:] == [
        "AWS-StartPortForwardingSession",
        "--parameters",
        "portNumber=8080,localPortNumber=4711",
    ]


# ---- results


def test_what_is_wrong_with_a_result_is_said(settings):
    image = make_images(1)[1]
    sent = Sent(image, "0" * 32, layout_on(settings.dataset, DAY, 2))
    expected = np.zeros((1, 8, 8), np.uint8)
    uri = sent.layout.result(sent.image_id)
    assert running._wrong(sent, expected, 0) == f"{image.name}: {uri} is not there"
    record = RejectedImage(
        image_id=sent.image_id,
        source="upload:a",
        stage="split",
        reason="too large",
        rejected_at=NOON,
    )
    rejection = sent.layout.rejection(sent.image_id)
    storage.write_bytes(rejection, record.to_json().encode())
    assert running._wrong(sent, expected, 0) == f"{image.name}: rejected in split: too large"
    storage.write_bytes(uri, encode_png_bytes(expected + 1))
    assert running._wrong(sent, expected, 0).endswith("differs by up to 1 levels")
    assert running._wrong(sent, expected, 1) == ""
    storage.write_bytes(uri, encode_png_bytes(expected[:, :4]))
    assert "another size or depth" in running._wrong(sent, expected, 1)


def test_a_result_of_another_recipe_is_looked_for_where_it_is(settings):
    recipe = Recipe(precision="float16")
    layout = layout_on(settings.dataset, DAY, 2, recipe)
    sent = Sent(make_images(1)[1], "0" * 32, layout)
    assert sent.result_id == f"{'0' * 32}-{recipe.key}"
    reject_arrival(sent.image_id, "upload:a", "too large", layout)
    wrong = running._wrong(sent, np.zeros((1, 8, 8), np.uint8), 0)
    assert wrong == f"{sent.image.name}: rejected in ingest: too large"
    for uri in (layout.result(sent.image_id), layout.evaluation(sent.image_id)):
        storage.write_bytes(uri, b"content")
    running._clean_up(running._Batch(1, settings, 2, NOON, [sent], []))
    left = storage.list_files(settings.dataset.reconstructed_images_dir)
    assert [file.uri for file in left] == []


def test_nothing_is_left_of_what_was_sent(settings, tmp_path):
    images = make_images(1)[:2]
    layout = layout_on(settings.dataset, DAY, 2)
    sent = [Sent(image, f"{number:032x}", layout) for number, image in enumerate(images)]
    run_id, prefix = "2026-01-31-x2-smoke-1", str(tmp_path / "uploads" / "smoke-1")
    ours = [uri for each in sent for uri in each.files]
    runs = storage.join(settings.dataset.reconstructed_images_dir, "runs")
    ours += [
        f"{prefix}/evaluate/a.png",
        f"{settings.dataset.patches_dir}/run_id={run_id}/a.parquet",
    ]
    ours += [f"{runs}/{run_id}-20260131T120000Z.json"]
    others = [f"{runs}/2026-01-31-x2.json", layout.result("f" * 32)]
    for uri in [*ours, *others]:
        storage.write_bytes(uri, b"content")
    running._clean_up(running._Batch(1, settings, 2, NOON, sent, [run_id]))
    assert [uri for uri in ours if storage.exists(uri)] == []
    assert [uri for uri in others if storage.exists(uri)] == others


# ---- after an error


class StateMachine:
    """Step Functions with executions by name: their input, state and start."""

    def __init__(self, **known: tuple[dict[str, Any], str, datetime]) -> None:
        self._executions = {name.replace("_", "-"): each for name, each in known.items()}

    def get_paginator(self, _: str) -> Any:
        return SimpleNamespace(paginate=self._list)

    def _list(self, statusFilter: str | None = None, **_: str) -> list[dict[str, Any]]:
        listed = [
            {"executionArn": name, "name": name, "startDate": started, "status": state}
            for name, (_, state, started) in self._executions.items()
            if statusFilter in (None, state)
        ]
        return [{"executions": listed}]

    def describe_execution(self, executionArn: str) -> dict[str, Any]:
        content, state, _ = self._executions[executionArn]
        return {"input": json.dumps(content), "status": state}


DEPLOYED = deployed_with("smoke", state_machine_arn="m", default_scale=2, new_images_rule="rule")


def target_on(machine: StateMachine) -> running.Target:
    clients: Any = SimpleNamespace(stepfunctions=machine, emr=None)
    return running.Target(DEPLOYED, clients, None)


def batch_on(settings: Settings) -> running._Batch:
    """A batch of one image that is stored."""
    sent = Sent(make_images(1)[1], "0" * 32, layout_on(settings.dataset, DAY, 2))
    storage.write_bytes(sent.files[0], b"content")
    return running._Batch(1, settings, 2, NOON, [sent], ["2026-01-31-x2-smoke-1"])


@pytest.mark.parametrize(
    ("content", "state", "kept"),
    [
        ({"run_id": "2026-01-31-x2-smoke-1"}, "RUNNING", True),
        ({"run_ids": ["2026-01-30-x2", "2026-01-31-x2"]}, "RUNNING", True),
        ({}, "RUNNING", True),  # yesterday's and today's images
        ({"run_ids": ["2026-01-31-x3"]}, "RUNNING", False),
        ({"run_id": "2026-01-31-x2-smoke-1"}, "ABORTED", False),
    ],
)
def test_images_stay_while_an_execution_processes_them(settings, content, state, kept):
    batch = batch_on(settings)
    lines = running._leave_nothing(target_on(StateMachine(a_1=(content, state, NOON))), batch)
    assert storage.exists(batch.sent[0].files[0]) == kept
    expected = "images are kept, since an execution still processes them: a-1"
    assert lines == ((expected,) if kept else ())


def test_images_stay_though_the_list_lacks_the_execution(settings, monkeypatch):
    machine = StateMachine(a_1=({}, "RUNNING", NOON))
    monkeypatch.setattr(machine, "_list", lambda **_: [{"executions": []}])
    batch = batch_on(settings)
    batch.started.append(Execution("a-1", "a-1"))
    assert "a-1" in running._leave_nothing(target_on(machine), batch)[0]
    assert storage.exists(batch.sent[0].files[0])


@pytest.fixture
def failing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends nothing: the first thing raises, and so does deleting."""

    def fail(*_: Any) -> None:
        raise PrerequisiteError("the first error")

    def fail_to_delete(_: Any) -> None:
        raise StorageError("cannot be deleted")

    monkeypatch.setattr(running, "load_settings", lambda *_: settings)
    monkeypatch.setattr(running, "_send_and_process", fail)
    monkeypatch.setattr(running, "_clean_up", fail_to_delete)


@pytest.mark.usefixtures("failing")
def test_an_error_in_cleaning_up_does_not_hide_the_first():
    deployed = deployed_with("smoke", default_scale=2, config_uri="c", state_machine_arn="m")
    target = replace(target_on(StateMachine()), deployed=deployed)
    lines: list[str] = []
    with pytest.raises(PrerequisiteError, match="the first error"):
        running.run_smoke(target, 1, lines.append, keep=False)
    assert lines == ["images and results may be left: cannot be deleted"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StorageError("no network")])
def test_verdicts_outlive_the_wait_for_another_execution(settings, monkeypatch, error):
    def fail(*_: Any) -> None:
        raise error

    def send(_: Any, batch: running._Batch, __: Any) -> Result:
        batch.sent += batch_on(settings).sent
        return Result((), 1, (), {"a": PROVEN})

    machine = StateMachine(new_images_7=({"run_ids": ["2026-01-31-x2"]}, "RUNNING", NOON))
    outputs = {"config_uri": "c", "log_uri": "l", **DEPLOYED.outputs}
    target = replace(target_on(machine), deployed=deployed_with("smoke", **outputs))
    monkeypatch.setattr(running, "load_settings", lambda *_: settings)
    monkeypatch.setattr(running, "_send_and_process", send)
    monkeypatch.setattr(executions, "follow", fail)
    lines: list[str] = []
    result = running.run_smoke(target, 1, lines.append, keep=False)
    assert result.verdicts == {"a": PROVEN}
    assert "images are kept" in result.problems[0]
    assert lines[0].startswith("waiting for execution new-images-7")


@pytest.mark.usefixtures("failing")
def test_an_error_in_cleaning_up_alone_is_a_problem(monkeypatch):
    deployed = deployed_with("smoke", default_scale=2, config_uri="c", state_machine_arn="m")
    target = replace(target_on(StateMachine()), deployed=deployed)
    monkeypatch.setattr(running, "_send_and_process", lambda *_: Result((), 10, (), {}))
    assert running.run_smoke(target, 1, print, keep=True).passed
    result = running.run_smoke(target, 1, print, keep=False)
    assert result.problems == ("images and results may be left: cannot be deleted",)


# ---- what new images start


def smoke_on(settings: Settings, machine: StateMachine, state: str = "ENABLED") -> Smoke:
    events = SimpleNamespace(describe_rule=lambda Name: {"State": {"rule": state}[Name]})
    session = SimpleNamespace(client=lambda _: events)
    clients: Any = SimpleNamespace(stepfunctions=machine)
    sent, reached = batch_on(settings).sent, Reached(None, None, ())
    execution = Execution("a-1", "a-1")
    return Smoke(DEPLOYED, clients, session, settings, execution, "run", sent, reached, NOON)


@pytest.mark.parametrize(
    ("name", "run", "seconds", "started"),
    [
        ("new_images_7", "2026-01-31-x2", 1, True),
        ("new_images_7", "2026-01-31-x2", -1, False),  # of the same day, before ours came
        ("new_images_7", "2026-01-30-x2", 1, False),
        ("by_hand_1", "2026-01-31-x2", 1, False),
    ],
)
def test_only_an_execution_that_our_images_started_counts(settings, name, run, seconds, started):
    at = NOON + timedelta(seconds=seconds)
    machine = StateMachine(**{name: ({"run_ids": [run]}, "SUCCEEDED", at)})
    assert evidence._started_by_images(smoke_on(settings, machine), enabled=False) == started


def test_the_rule_says_whether_new_images_start_anything(settings):
    machine = StateMachine()
    assert evidence._starts_enabled(smoke_on(settings, machine))
    assert not evidence._starts_enabled(smoke_on(settings, machine, "DISABLED"))


@pytest.mark.parametrize(
    ("change", "passed"),
    [
        ({}, True),
        ({"wrong": ("a.png: is not there",)}, False),
        ({"problems": ("execution failed",)}, False),
        ({"verdicts": {"a": Verdict("failed", "b")}}, False),
        ({"verdicts": {"a": Verdict("not in this environment", "b")}}, True),
    ],
)
def test_a_failure_of_any_kind_fails(change, passed):
    assert replace(Result((), 10, (), {"a": PROVEN}), **change).passed == passed


# ---- verdicts

_JOBS = ("mass_split", "batch_inference", "mass_reconstruct", "evaluate")
ON_AWS = Observed(
    ready=True,
    bootstrap_actions=2,
    endpoints=1,
    steps=dict.fromkeys(_JOBS, "COMPLETED"),
    logs=dict.fromkeys(_JOBS, "application_1_2"),
    encryption="aws:kms",
    encryption_key="arn:aws:kms:eu-central-1:1:key/ours",
    own_key="arn:aws:kms:eu-central-1:1:key/ours",
    log_groups={"steps": True},
    cluster_metrics=frozenset({"ContainerPending", "TaskUnitsRunning"}),
    images_on_page=10,
    run_on_page="succeeded",
    images=10,
)
WITH_GPU = replace(
    ON_AWS, device="cuda", task_fleet=True, rapids=True, executors_on_task=(), gpu_measured=True
)
ENDPOINT = "A cluster in private subnets starts with the endpoint of ours"
PUBLIC = "A cluster in public subnets starts without an endpoint"
LABELS = "Executors of CPU jobs keep to core instances"
TAGS = "EMR counts the tags of a request when it checks permissions"
BOOTSTRAP = "Bootstrap actions install on EMR's image"
GPU = "A GPU instance joins YARN, and inference gets its GPU"
RAPIDS = "enableSparkRapids beside core instances without a GPU"
MISSING = "Spark's S3 connector gets 404 for missing keys"
COMMITTER = "No step's log names PathOutputCommitProtocol"
STARTS = "New images start a run"
STEP_LOGS = "EMR copies the logs of steps to S3"
ENCRYPTED = "Tables that Spark writes are encrypted with our key"
LOG_GROUPS = "Logs of services and steps come to CloudWatch"
METRICS = "EMR reports what waits for room, and the instances of fleets"
GPU_METRICS = "The CloudWatch agent measures GPUs, whose driver comes after bootstrap"
IMAGES = "S3's events reach the page through the encrypted queue"
RUN = "EventBridge's events reach the page through the encrypted queue"
SCALING = "Managed scaling removes idle task instances"

ELSEWHERE = "not in this environment"


def state_of(seen: Observed, title: str) -> str:
    return verdicts(seen)[title].state


def test_nothing_fails_when_all_went_well():
    for seen in (ON_AWS, WITH_GPU, replace(ON_AWS, private=False, endpoints=0)):
        assert {each.state for each in verdicts(seen).values()} <= {
            "proven",
            "not in this environment",
        }


@pytest.mark.parametrize(
    ("seen", "title", "state"),
    [
        (replace(ON_AWS, endpoints=2), ENDPOINT, "failed"),
        (replace(ON_AWS, ready=False), ENDPOINT, "failed"),
        (replace(ON_AWS, private=False, endpoints=0), ENDPOINT, ELSEWHERE),
        (replace(ON_AWS, private=False, endpoints=0), PUBLIC, "proven"),
        (ON_AWS, PUBLIC, ELSEWHERE),
        (replace(ON_AWS, persistent=True), TAGS, ELSEWHERE),
        (replace(ON_AWS, bootstrap_actions=0), BOOTSTRAP, "failed"),
        (ON_AWS, GPU, ELSEWHERE),
        (WITH_GPU, GPU, "proven"),
        (replace(WITH_GPU, steps={"mass_split": "COMPLETED"}), GPU, "failed"),
        (replace(WITH_GPU, rapids=False), RAPIDS, "failed"),
        (WITH_GPU, LABELS, "proven"),
        (replace(WITH_GPU, executors_on_task=("evaluate",)), LABELS, "failed"),
        (replace(WITH_GPU, executors_on_task=None), LABELS, "failed"),
        (replace(WITH_GPU, local=True), LABELS, ELSEWHERE),
        (replace(WITH_GPU, task_instances=1), SCALING, "failed"),
        (replace(WITH_GPU, task_instances=0), SCALING, "proven"),
        (WITH_GPU, SCALING, ELSEWHERE),
        (replace(ON_AWS, steps={"mass_split": "FAILED"}), MISSING, "failed"),
        (replace(ON_AWS, logs={"mass_split": "PathOutputCommitProtocol"}), COMMITTER, "failed"),
        (replace(ON_AWS, logs={"evaluate": "PathOutputCommitProtocol"}), COMMITTER, "failed"),
        (replace(ON_AWS, logs={"evaluate": None}), COMMITTER, "failed"),
        (replace(ON_AWS, logs={"mass_split": None}), STEP_LOGS, "failed"),
        (replace(ON_AWS, encryption="AES256"), ENCRYPTED, "failed"),
        (replace(ON_AWS, encryption=None), ENCRYPTED, "failed"),
        (replace(ON_AWS, encryption_key="another"), ENCRYPTED, "failed"),
        (replace(ON_AWS, encryption_key="ours"), ENCRYPTED, "proven"),
        (replace(ON_AWS, encryption_key="", own_key=""), ENCRYPTED, "failed"),
        (replace(ON_AWS, log_groups={"steps": False}), LOG_GROUPS, "failed"),
        (replace(ON_AWS, cluster_metrics=frozenset()), METRICS, "failed"),
        (replace(WITH_GPU, cluster_metrics=frozenset({"ContainerPending"})), METRICS, "failed"),
        (replace(ON_AWS, local=True, cluster_metrics=frozenset()), METRICS, ELSEWHERE),
        (ON_AWS, GPU_METRICS, ELSEWHERE),
        (replace(WITH_GPU, gpu_measured=False), GPU_METRICS, "failed"),
        (replace(ON_AWS, images_on_page=9), IMAGES, "failed"),
        (replace(ON_AWS, images_on_page=None), IMAGES, ELSEWHERE),
        (replace(ON_AWS, run_on_page=""), RUN, "failed"),
        (replace(ON_AWS, started_by_images=True), STARTS, "proven"),
        (ON_AWS, STARTS, ELSEWHERE),
        (replace(ON_AWS, starts_enabled=True), STARTS, "failed"),
        (replace(ON_AWS, starts_enabled=True, local=True), STARTS, ELSEWHERE),
    ],
)  # fmt: skip
def test_each_check_can_fail(seen, title, state):
    assert state_of(seen, title) == state


def test_whatever_is_not_proven_has_a_reason():
    for seen in (Observed(), ON_AWS, WITH_GPU):
        for title, verdict in verdicts(seen).items():
            assert bool(verdict.reason) == (verdict.state != "proven"), title


def test_the_documentation_lists_each_check():
    text = (ROOT / "docs" / "operations.md").read_text()
    assert [title for title in CHECKS if f"\n| {title}" not in text] == []


def test_waiting_ends_with_what_is_waited_for_or_with_the_time():
    pauses: list[float] = []
    happened = iter([False, False, True])
    assert wait_until(lambda: next(happened), 600, pauses.append)
    assert len(pauses) == 2
    assert not wait_until(lambda: False, -1, pauses.append)
