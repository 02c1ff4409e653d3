"""Photographs from a web server to gallery and webhook, through everything that is deployed.

The tests are in the order of the pipeline; the fixtures bring about what is looked at.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from superres.imaging.decoding import DecodedImage, decode, decode_file
from superres.imaging.limits import Limits
from superres.imaging.resample import reduce_planes
from superres.pipeline import storage
from superres.pipeline.arrival import reference_of
from superres.pipeline.config import Settings
from superres.pipeline.config_file import load_settings
from superres.pipeline.layout import Layout, layout_on
from superres.pipeline.records import (
    Evaluation,
    ImageReference,
    Metrics,
    RejectedImage,
    RunManifest,
    start_id_of,
)
from superres.quality.evaluation import measure_result
from superres.quality.metrics import Quality
from tests.local_cloud.executions import (
    Day,
    Execution,
    clients_on,
    eventually,
    open_steps,
    running_step,
)
from tests.local_cloud.instances import Instance, ingestion_instance, notifier_instance
from tests.local_cloud.stack import ENVIRONMENT, Stack
from tests.support import image_files
from tests.support.chromium import Page, chromium
from tests.support.http_server import HttpServer
from tests.support.webhook_receiver import Receiver, Request

SCALE = 2
CORRUPT = "torn.jpg"
UPLOADED = "sent.png"
DRAWN = "[...document.images].every(image => !image.src || (image.complete && image.naturalWidth))"
_LIMITS = Limits(1 << 30, 1 << 30)
_SUPERRES = Path(sys.executable).parent / "superres"

FETCHED = {
    "boat.png": image_files.png(image_files.photo(96, 128, seed=1)),
    "hill.jpg": image_files.pillow(image_files.photo(90, 121, seed=2), "JPEG", quality=92),
    "fog.png": image_files.png(image_files.photo(64, 80, channels=1, seed=3)),
    # Wider than two tiles, to include the seam between them.
    "shore.png": image_files.png(image_files.photo(64, 1100, seed=4)),
}
SENT = image_files.png(image_files.photo(70, 84, depth=16, seed=5))
GOOD = {*FETCHED, UPLOADED}


# ---- fixtures, in order


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    """The deployed configuration; from now on this process can use the cloud too."""
    with clients_on(stack):
        yield load_settings(stack.outputs["config_uri"], {})


@pytest.fixture(scope="module")
def source() -> Iterator[HttpServer]:
    """The web server with the photographs."""
    with HttpServer() as serving:
        for name, content in FETCHED.items():
            serving.serve(f"/{name}", content)
        serving.serve(f"/{CORRUPT}", image_files.truncated()["half.jpg"])
        yield serving


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Another service, which receives webhooks."""
    with Receiver() as listening:
        yield listening


@dataclass(frozen=True)
class Services:
    """The instances, installed and started, and the units that each printed."""

    ingestion: Instance
    notifier: Instance
    ingestion_units: list[str]
    notifier_units: list[str]


@pytest.fixture(scope="module")
def services(stack: Stack, source: HttpServer, receiver: Receiver) -> Iterator[Services]:
    """Both instances, installed by their user data, and a Kafka with IAM."""
    instances = ingestion_instance(stack, source.host), notifier_instance(stack, receiver.host)
    with stack.timed("services"), ThreadPoolExecutor() as pool:
        kafka = pool.submit(stack.start_kafka)
        units = list(pool.map(Instance.install, instances))
        kafka.result()
        for instance, names in zip(instances, units, strict=True):
            for unit in names:
                if unit != "start-runs":  # the other tests start executions themselves
                    instance.start(unit)
        for instance in instances:
            instance.wait_ready()
    yield Services(*instances, *units)
    for instance in instances:
        instance.stop()


@pytest.fixture(scope="module")
def secret(stack: Stack, services: Services, receiver: Receiver) -> str:
    """The secret with which the subscribed receiver checks webhooks."""
    status, answer = services.notifier.ask(
        "notify",
        "POST",
        "/api/v1/subscriptions",
        json.dumps({"url": receiver.url()}).encode(),
        {"Content-Type": "application/json", **bearer_of(stack)},
    )
    assert status == 201, answer
    created: str = json.loads(answer)["secret"]
    return created


def token(stack: Stack, page: str) -> str:
    """Returns the token that an instance has stored in Secrets Manager."""
    answer = stack.client("secretsmanager").get_secret_value(SecretId=stack.outputs["tokens"][page])
    found: str = answer["SecretString"]
    return found


def bearer_of(stack: Stack) -> dict[str, str]:
    """Returns the header that authorises all requests to the notifier."""
    return {"Authorization": f"Bearer {token(stack, 'notifier')}"}


@dataclass(frozen=True)
class Stored:
    """The results of ingestion, by file name."""

    layout: Layout
    low: dict[str, str]
    references: dict[str, ImageReference]
    rejected: list[RejectedImage]


@pytest.fixture(scope="module")
def stored(
    stack: Stack, services: Services, source: HttpServer, settings: Settings, secret: str
) -> Stored:
    """Images from producer and uploads, consumed and stored in S3."""
    with stack.timed("ingestion"):
        publish(services.ingestion, source)
        send(services.ingestion, token(stack, "uploads"), UPLOADED, SENT)
        folder = settings.dataset.low_resolution_dir
        eventually(lambda: len(storage.list_files(folder)) == len(GOOD), "images are stored", 120)
        rejections = f"{settings.dataset.reconstructed_images_dir}/rejected"
        eventually(lambda: bool(storage.list_files(rejections)), "one is rejected", 60)
    low = [file.uri for file in storage.list_files(folder)]
    references = {uri: reference_of(uri) for uri in low}
    known = {uri: each for uri, each in references.items() if each is not None}
    names = {uri: each.source.rpartition("/")[2].rpartition(":")[2] for uri, each in known.items()}
    days = {each.ingest_date for each in known.values()}
    assert len(days) == 1, "the tests began before midnight and go on after it"
    return Stored(
        layout_on(settings.dataset, days.pop(), SCALE),
        {name: uri for uri, name in names.items()},
        {name: known[uri] for uri, name in names.items()},
        [
            RejectedImage.from_json(storage.read_bytes(file.uri))
            for file in storage.list_files(rejections)
        ],
    )


def publish(ingestion: Instance, source: HttpServer) -> None:
    """Runs the producer as a person does on an ingestion instance."""
    urls = ingestion.root / "urls.txt"
    urls.write_text("".join(f"{source.url(f'/{name}')}\n" for name in [*FETCHED, CORRUPT]))
    done = subprocess.run(
        ingestion.command("produce", str(urls)),
        env=ingestion.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def send(ingestion: Instance, bearer: str, name: str, content: bytes) -> None:
    """Uploads a photograph as the upload page does."""
    edge = "edge-of-a-part"
    part = f'Content-Disposition: form-data; name="files"; filename="{name}"'
    status, answer = ingestion.ask(
        "uploads",
        "POST",
        "/uploads",
        f"--{edge}\r\n{part}\r\n\r\n".encode() + content + f"\r\n--{edge}--\r\n".encode(),
        {
            "Content-Type": f"multipart/form-data; boundary={edge}",
            "Authorization": f"Bearer {bearer}",
        },
    )
    assert status == 202, answer


@dataclass(frozen=True)
class Finished:
    """A finished run."""

    printed: str
    records: dict[str, Evaluation]


@pytest.fixture(scope="module")
def finished(stack: Stack, stored: Stored) -> Finished:
    """After `make submit`, which follows the state machine to its end."""
    day = stored.layout.ingest_date.isoformat()
    with stack.timed("pipeline"):
        done = stack.deploy_command("submit", "--env", ENVIRONMENT, "--ingest-date", day)
    assert done.returncode == 0, done.stdout + done.stderr
    records = {
        name: Evaluation.from_json(storage.read_bytes(stored.layout.evaluation(each.image_id)))
        for name, each in stored.references.items()
    }
    return Finished(done.stdout, records)


# ---- ingestion


def test_the_user_data_installs_the_units_of_each_instance(services):
    assert services.ingestion_units == ["consume", "uploads", "start-runs"]
    assert services.notifier_units == ["notify"]


def test_services_found_the_brokers_through_msk_and_used_iam(stack, services, stored):
    user_data = services.ingestion.user_data
    assert f"SUPERRES_KAFKA__CLUSTER_ARN='{stack.outputs['cluster_arn']}'" in user_data
    assert "SUPERRES_KAFKA__SECURITY='iam'" in user_data
    assert "BOOTSTRAP_SERVERS" not in user_data


def test_good_photographs_are_stored_unchanged_and_reduced(stored, settings):
    assert stored.low.keys() == GOOD
    for name, content in {**FETCHED, UPLOADED: SENT}.items():
        image_id = stored.references[name].image_id
        (kept,) = (
            file.uri
            for file in storage.list_files(stored.layout.high_resolution)
            if file.stem == image_id
        )
        assert storage.read_bytes(kept) == content, name
        reduced = decode(storage.read_bytes(stored.low[name]), _LIMITS).planes()
        assert np.array_equal(reduced, reduce_planes(decode(content, _LIMITS).planes(), SCALE)), (
            name
        )


def test_a_corrupt_photograph_is_rejected_with_its_reason(stack, stored):
    (record,) = stored.rejected
    assert record.source.endswith(CORRUPT)
    assert record.stage == "ingest"
    assert record.image_id not in {each.image_id for each in stored.references.values()}
    (letter,) = stack.broker.received("images-topic-dead-letter", 1)
    assert ImageReference.from_json(letter).image_id == record.image_id


# ---- the run


def test_submit_follows_the_four_steps(finished, stored):
    run = stored.layout.run_id
    for job in ("mass_split", "batch_inference", "mass_reconstruct", "evaluate"):
        assert re.search(rf"{run} {job}: completed after ", finished.printed), finished.printed
    assert re.search(r"execution \S+ succeeded", finished.printed)
    (manifest,) = manifests(stored.layout)
    assert manifest.run_id == run
    assert {record.start_id for record in finished.records.values()} == {manifest.start_id}
    assert manifest.rejected == []
    assert manifest.counts == {"evaluate_images": len(GOOD), "evaluate_rejected": 0}


def manifests(layout: Layout) -> list[RunManifest]:
    """Returns the manifest of each start, the first first."""
    folder = storage.join(layout.dataset.reconstructed_images_dir, "runs")
    files = sorted(storage.list_files(folder), key=lambda file: file.name)
    found = [RunManifest.from_json(storage.read_bytes(file.uri)) for file in files]
    assert [file.stem for file in files] == [manifest.start_id for manifest in found]
    return found


def test_results_are_pixel_for_pixel_those_of_superres_upscale(finished, stored, tmp_path):
    for name, uri in stored.low.items():
        (tmp_path / Path(name).with_suffix(Path(uri).suffix)).write_bytes(storage.read_bytes(uri))
    large = tmp_path / "large"
    subprocess.run(
        [_SUPERRES, "upscale", tmp_path, "--scale", str(SCALE), "--output", large],
        capture_output=True,
        timeout=300,
        check=True,
    )
    for name, record in finished.records.items():
        ours = image_at(record.result.uri)
        wanted = decode_file(large / f"{Path(name).stem}_x{SCALE}.png", _LIMITS)
        assert ours.info == wanted.info, name
        assert np.array_equal(ours.planes(), wanted.planes()), name


def test_records_contain_reproducible_metrics(finished):
    for name, record in finished.records.items():
        assert record.original is not None
        ours, bicubic = measure_result(
            image_at(record.original.uri),
            image_at(record.result.uri),
            image_at(record.low_resolution.uri).planes(),
            SCALE,
        )
        assert (record.ours, record.bicubic) == (metrics_of(ours), metrics_of(bicubic)), name


def image_at(uri: str) -> DecodedImage:
    return decode(storage.read_bytes(uri), _LIMITS)


def metrics_of(quality: Quality | None) -> Metrics | None:
    return None if quality is None else Metrics(psnr=quality.psnr, ssim=quality.ssim)


# ---- notifications


def test_the_notifier_learns_of_images_from_the_queue(stack, services, finished):
    ask = partial(services.notifier.ask, "notify", "GET", headers=bearer_of(stack))

    def shown() -> bool:
        status, answer = ask("/api/v1/images?limit=100")
        assert status == 200, answer
        return len(json.loads(answer)["images"]) == len(GOOD)

    eventually(shown, "the notifier knows of all images", 60)
    status, text = ask("/metrics")
    events = re.search(rb"^superres_notifier_events_total (\S+)$", text, re.MULTILINE)
    assert status == 200
    assert events, text
    assert float(events[1]) >= len(GOOD)
    assert services.notifier.ask("notify", "GET", "/api/v1/images")[0] == 401


def test_the_notifier_learns_of_the_execution(stack, services, finished):
    machine = stack.outputs["state_machine_arn"]
    listed = stack.client("stepfunctions").list_executions(stateMachineArn=machine)
    (execution,) = listed["executions"]
    name = execution["name"]
    eventually(
        lambda: runs_shown(services, stack).get(name) == "succeeded", "the notifier knows", 60
    )
    _, text = services.notifier.ask("notify", "GET", "/metrics", headers=bearer_of(stack))
    assert b"\nsuperres_notifier_unreadable_total 0.0\n" in text


def runs_shown(services: Services, stack: Stack) -> dict[str, str]:
    """Returns the state of each run in the notifier, by name."""
    _, answer = services.notifier.ask("notify", "GET", "/api/v1/runs", headers=bearer_of(stack))
    return {run["name"]: run["state"] for run in json.loads(answer)["runs"]}


def test_a_receiver_gets_a_signed_event_for_each_image(receiver, secret, finished):
    def received() -> dict[str, Request]:
        events = [(got, got.verified(secret)) for got in receiver.requests()]
        return {
            event["data"]["image_id"]: got
            for got, event in events
            if event["type"] == "image.finished"
        }

    wanted = {record.image_id for record in finished.records.values()}
    eventually(lambda: received().keys() == wanted, "the receiver got all images", 60)
    assert len({got.message_id for got in received().values()}) == len(wanted)


def test_the_gallery_shows_images_and_metrics(stack, services, finished):
    with chromium() as page, stack.timed("page"):
        page.set_screen(1280, 860)
        log_in(
            page, f"http://127.0.0.1:{services.notifier.ports['notify']}/", token(stack, "notifier")
        )
        page.wait(f"document.querySelectorAll('.cards > li').length === {len(GOOD)}")
        assert set(page.run(_NAMES)) == GOOD
        for lazy in range(len(GOOD)):
            page.run(f"document.querySelectorAll('.cards > li')[{lazy}].scrollIntoView()")
            page.wait(DRAWN)
        for record in finished.records.values():
            shown = page.run(
                f"document.querySelector('[data-key=\"{record.image_id}\"]').innerText"
            )
            assert record.ours
            assert record.bicubic
            for metrics in (record.ours, record.bicubic):
                assert f"{metrics.psnr:.2f}" in shown
                assert f"{metrics.ssim:.4f}" in shown
        boat = finished.records["boat.png"]
        path = show_in_full(page, boat)
        assert page.complaints == []
    # The browser was redirected to S3, with a signed address.
    status, answer = services.notifier.ask("notify", "GET", path, headers=bearer_of(stack))
    assert status == 302
    assert boat.result.uri.removeprefix(storage.S3) in unquote(answer.decode())
    assert b"X-Amz-Signature=" in answer


_NAMES = "[...document.querySelectorAll('.cards > li h3')].map(title => title.textContent)"


def card_of(record: Evaluation) -> str:
    return f"document.querySelector('li[data-key=\"{record.image_id}\"]')"


def log_in(page: Page, address: str, bearer: str) -> None:
    page.open(address)
    page.wait("document.querySelector('form.login')")
    page.run(f"document.querySelector('#token').value = {bearer!r}")
    page.run("document.querySelector('form.login button').click()")


def show_in_full(page: Page, record: Evaluation) -> str:
    """Opens a result in full size; returns the address that the gallery requested."""
    page.run(f"{card_of(record)}.querySelector('button.zoom').click()")
    shown = "[...document.querySelectorAll('#viewer .layer img')]"
    page.wait(f"{shown}.every(image => image.naturalWidth === {record.result.width})")
    addresses: list[str] = page.run(f"{shown}.map(image => image.src)")
    return next(urlsplit(each).path for each in addresses if "/result" in each)


# ---- status and logs


def test_status_shows_cluster_and_run(stack, finished):
    done = stack.deploy_command("status", "--env", ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert f"superres-local in {stack.outputs['region']}, persistent" in done.stdout
    assert re.search(rf"cluster  {stack.outputs['cluster_id']}  (waiting|running) ", done.stdout)
    assert re.search(r"run +\S+ \S+  succeeded ", done.stdout), done.stdout
    # Another package may have been built meanwhile; the same one must differ in nothing.
    same_or_other = r"plan     (as deployed: |\d+ differ from this checkout \(release )"
    assert re.search(same_or_other, done.stdout), done.stdout


def test_logs_show_the_steps_and_the_end_of_the_last(stack, finished):
    done = stack.deploy_command("logs", "--env", ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("completed after ") == 4, done.stdout
    assert "stderr.gz" in done.stdout
    last = json.loads(done.stdout.splitlines()[-1])  # the job's own, after Spark's
    assert last["job"] == "evaluate", last


# ---- running again


def versions(uri: str, stack: Stack) -> list[str]:
    """Returns every version of an object."""
    bucket, key = urlsplit(uri).netloc, urlsplit(uri).path.lstrip("/")
    answer = stack.client("s3").list_object_versions(Bucket=bucket, Prefix=key)
    return [each["VersionId"] for each in answer.get("Versions", [])]


def test_the_next_execution_finishes_a_stopped_one_without_repeating_work(
    stack, services, stored, finished, tmp_path
):
    day = Day(stack, stored.layout.ingest_date)
    first = day.finished()
    assert len(first) == len(GOOD)
    later, bad = day.take_in(tmp_path, "later", "bad")
    # What was stored whole, and is not now.
    low = storage.join(day.layout.low_resolution, f"{bad}.png")
    storage.write_bytes(low, storage.read_bytes(low)[:200])
    cluster = stack.outputs["cluster_id"]
    stopped = day.start()
    running_step(stack, cluster, "batch_inference")
    stack.client("stepfunctions").stop_execution(executionArn=stopped.arn)
    assert stopped.ended()["status"] == "ABORTED"
    eventually(
        lambda: runs_shown(services, stack).get(stopped.name) == "stopped", "the notifier knows", 60
    )
    eventually(lambda: not open_steps(stack, cluster), "the step is cancelled")
    eventually(lambda: not day.processes(), "its processes end")
    assert day.finished() == first

    ended = day.start().ended()
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert day.finished() == {*first, later}
    # It has a manifest of its own; the first start keeps its.
    before, after = manifests(day.layout)
    assert after.start_id == start_id_of(day.layout.run_id, ended["startDate"])
    assert (before.counts["evaluate_images"], before.rejected) == (len(first), [])
    assert (after.counts["evaluate_images"], after.rejected) == (1, [bad])
    assert storage.exists(day.layout.rejection(bad))
    for image_id in day.finished():
        assert len(versions(day.layout.evaluation(image_id), stack)) == 1
        assert len(versions(day.layout.result(image_id), stack)) == 1


# ---- new images start runs

SOON, MEANWHILE = "soon.png", "meanwhile.png"
_SHOWN_SECONDS = 900.0  # half a minute on a machine with nothing else to do


@pytest.fixture(scope="module")
def starting(stack: Stack, services: Services) -> Instance:
    """The instance with the unit that starts runs; of the images so far it hears nothing."""
    stack.client("sqs").purge_queue(QueueUrl=stack.outputs["queues"]["new_images"])
    services.ingestion.start("start-runs")
    services.ingestion.wait_ready()
    return services.ingestion


def started_runs(stack: Stack) -> list[dict[str, Any]]:
    """Returns the executions that new images started, the first first."""
    client = stack.client("stepfunctions")
    machine = stack.outputs["state_machine_arn"]
    listed = client.list_executions(stateMachineArn=machine)["executions"]
    return [each for each in listed[::-1] if each["name"].startswith("new-images-")]


def test_uploads_come_to_the_gallery_by_themselves(stack, services, starting):
    bearer = token(stack, "uploads")
    with chromium() as page:
        address = f"http://127.0.0.1:{services.notifier.ports['notify']}/"
        log_in(page, address, token(stack, "notifier"))
        page.wait(_NAMES)
        with stack.timed("upload to page"):
            send(starting, bearer, SOON, image_files.png(image_files.photo(88, 104, seed=6)))
            eventually(lambda: bool(started_runs(stack)), "an execution starts", 240)
            # This one may come too late for the execution, and then starts the next one.
            late = image_files.png(image_files.photo(72, 96, seed=7))
            send(starting, bearer, MEANWHILE, late)
            page.wait(f"{_NAMES}.includes('{SOON}')", _SHOWN_SECONDS)
        with stack.timed("next run"):
            page.wait(f"{_NAMES}.includes('{MEANWHILE}')", _SHOWN_SECONDS)


def test_every_start_is_one_of_its_own_at_least_a_minute_apart(stack, starting):
    eventually(lambda: len(started_runs(stack)) == 2, "the second image starts one", _SHOWN_SECONDS)
    second = started_runs(stack)[1]
    Execution(stack, second["executionArn"]).ended()
    first, second = started_runs(stack)
    assert [first["name"], second["name"]] == ["new-images-1", "new-images-2"]
    assert [first["status"], second["status"]] == ["SUCCEEDED", "SUCCEEDED"]
    assert second["startDate"] >= first["stopDate"]
    assert second["startDate"] - first["startDate"] >= timedelta(minutes=1)


def test_every_message_about_a_new_image_led_to_a_start(stack, starting):
    client, queues = stack.client("sqs"), stack.outputs["queues"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def empty(queue: str) -> bool:
        found = client.get_queue_attributes(QueueUrl=queues[queue], AttributeNames=names)
        return set(found["Attributes"].values()) == {"0"}

    # They are deleted soon after their execution has succeeded.
    eventually(lambda: empty("new_images"), "the messages are deleted", 240)
    assert empty("new_images_dead_letters")
    # One for each low-resolution image: the originals in the same bucket start nothing.
    _, text = starting.ask("start-runs", "GET", "/metrics")
    assert b"\nsuperres_starts_messages_total 2.0\n" in text
    assert b"\nsuperres_starts_unreadable_total 0.0\n" in text


def test_stopped_units_exit_cleanly(services, finished, starting):
    codes = services.ingestion.stop() | services.notifier.stop()
    assert codes == dict.fromkeys(("consume", "uploads", "start-runs", "notify"), 0)
