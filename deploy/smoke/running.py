"""The whole of ``make smoke``: send, run, compare, observe, and clean up."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy import executions
from deploy.callbacks import Report
from deploy.clients import Clients
from deploy.environments import Deployed
from deploy.executions import Execution, Request
from deploy.smoke.evidence import Smoke, observe
from deploy.smoke.images import SmokeImage, expected_results, largest_difference, make_images
from deploy.smoke.sending import Sent, send_by_s3, send_by_uploads
from deploy.smoke.services import Reached, reached_services
from deploy.smoke.verdicts import Verdict, verdicts
from superres.errors import SuperresError
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.config_file import load_settings
from superres.pipeline.records import RejectedImage

_ERRORS = (SuperresError, ClientError, BotoCoreError, OSError)
_GPU_LEVELS = 1  # a GPU sums in another order than a CPU


@dataclass(frozen=True)
class Target:
    """What is tested, and addresses of its services that are already forwarded."""

    deployed: Deployed
    clients: Clients
    session: Any
    page: str | None = None
    uploads: str | None = None


@dataclass(frozen=True)
class Result:
    """What came of it.

    Attributes:
        wrong: a line for each image whose result is missing or differs.
        images: how many were sent.
        problems: why the execution or the clean-up failed; empty when both succeeded.
        verdicts: by what was checked.
    """

    wrong: tuple[str, ...]
    images: int
    problems: tuple[str, ...]
    verdicts: Mapping[str, Verdict]

    @property
    def passed(self) -> bool:
        """Whether every image is right and nothing failed."""
        failures = [each for each in self.verdicts.values() if each.state == "failed"]
        return not (self.wrong or self.problems or failures)


@dataclass
class _Batch:
    """The images of one call, and what has become of them so far."""

    seed: int
    settings: Settings
    scale: int
    since: datetime
    sent: list[Sent] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)
    started: list[Execution] = field(default_factory=list)

    @cached_property
    def images(self) -> list[SmokeImage]:
        """The ten images."""
        return make_images(self.seed)

    @property
    def prefix(self) -> str:
        """Where they lie as a source."""
        return storage.join(self.settings.ingestion.uploads_dir, f"smoke-{self.seed}")

    def name_runs(self) -> list[str]:
        """Names a run of its own for each day that the images were ingested on."""
        days = sorted({each.layout.ingest_date for each in self.sent})
        self.run_ids += [f"{day.isoformat()}-x{self.scale}-smoke-{self.seed}" for day in days]
        return self.run_ids


def run_smoke(target: Target, seed: int, report: Report, *, keep: bool) -> Result:
    """Sends ten images, processes them, and returns what that proves."""
    settings = load_settings(target.deployed["config_uri"], {})
    scale = int(target.deployed["default_scale"])
    batch = _Batch(seed, settings, scale, datetime.now(UTC))
    try:
        result = _send_and_process(target, batch, report)
        if not keep:
            _follow_others(target, batch, report)
    except BaseException:
        for line in () if keep else _leave_nothing(target, batch):
            report(line)
        raise
    left = () if keep else _leave_nothing(target, batch)
    return replace(result, problems=(*result.problems, *left))


def _send_and_process(target: Target, batch: _Batch, report: Report) -> Result:
    with reached_services(target.deployed, target.session, target.page, target.uploads) as reached:
        for reason in reached.reasons:
            report(reason)
        _send(batch, reached, target.deployed["config_uri"], report)
        return _process(target, batch, reached, report)


def _send(batch: _Batch, reached: Reached, config: str, report: Report) -> None:
    count = len(batch.images)
    if reached.uploads is not None:
        report(f"uploading {count} images to {reached.uploads.address}/uploads")
        send_by_uploads(batch.images, reached.uploads, batch.settings, batch.scale, batch.sent)
        return
    report(f"ingesting {count} images from {batch.prefix}, since the uploads are not reached")
    send_by_s3(batch.images, batch.prefix, batch.settings, config, batch.scale, batch.sent)


def _process(target: Target, batch: _Batch, reached: Reached, report: Report) -> Result:
    """Runs an execution for each day of the images, and judges the last one."""
    problems: list[str] = []
    for run_id in batch.name_runs():
        _run(target, batch, run_id, report, problems)
    expected = expected_results(batch.images, batch.settings.processing, batch.scale)
    wrong = _wrong_results(batch.sent, expected, batch.settings)
    report(f"{len(batch.sent) - len(wrong)} of {len(batch.sent)} results are as they should be")
    report("looking at logs and page, which takes some minutes on AWS")
    smoke = Smoke(
        target.deployed,
        target.clients,
        target.session,
        batch.settings,
        batch.started[-1],
        batch.run_ids[-1],
        batch.sent,
        reached,
        batch.since,
    )
    found = verdicts(observe(smoke))
    return Result(tuple(wrong), len(batch.sent), tuple(problems), found)


def _run(target: Target, batch: _Batch, run_id: str, report: Report, problems: list[str]) -> None:
    """Runs one execution to its end; adds to the problems if it fails."""
    deployed, clients = target.deployed, target.clients
    execution = executions.submit(
        clients.stepfunctions,
        deployed["state_machine_arn"],
        Request(run_id=run_id),
        deployed["default_scale"],
    )
    batch.started.append(execution)
    report(f"execution {execution.name}")
    outcome = executions.follow(
        clients.stepfunctions, clients.emr, execution.arn, deployed["log_uri"], report
    )
    if not outcome.succeeded:
        reason = ": ".join(part for part in (outcome.error, outcome.cause) if part)
        problems.append(f"execution {execution.name} {outcome.status.lower()}: {reason}")


def _wrong_results(
    sent: Sequence[Sent], expected: Mapping[str, Any], settings: Settings
) -> list[str]:
    """Returns a line for each image that is not as it should be."""
    levels = _GPU_LEVELS if settings.processing.device == "cuda" else 0
    lines = (_wrong(each, expected[each.image.name], levels) for each in sent)
    return [line for line in lines if line]


def _wrong(sent: Sent, expected: Any, levels: int) -> str:
    name, uri = sent.image.name, sent.layout.result(sent.image_id)
    if not storage.exists(uri):
        layout, image_id = sent.layout, sent.image_id
        for rejection in (layout.rejection(image_id), layout.arrival_rejection(image_id)):
            if storage.exists(rejection):
                record = RejectedImage.from_json(storage.read_bytes(rejection))
                return f"{name}: rejected in {record.stage}: {record.reason}"
        return f"{name}: {uri} is not there"
    apart = largest_difference(storage.read_bytes(uri), expected)
    if apart is None:
        return f"{name}: {uri} has another size or depth than superres upscale gives"
    return f"{name}: {uri} differs by up to {apart} levels" if apart > levels else ""


# ---- cleaning up


def _follow_others(target: Target, batch: _Batch, report: Report) -> None:
    """Waits for executions that new images started, which process ours too.

    What is known by then is not lost to an error or Ctrl-C here: the images stay, and that is all.
    """
    clients = target.clients
    try:
        for arn, name in _processing(target, batch).items():
            report(f"waiting for execution {name}, which processes the images too")
            log_uri = target.deployed["log_uri"]
            executions.follow(clients.stepfunctions, clients.emr, arn, log_uri, report)
    except KeyboardInterrupt:
        report("interrupted; the images are not waited for")
    except _ERRORS as error:
        report(f"cannot wait for it: {executions.one_line(str(error))}")


def _leave_nothing(target: Target, batch: _Batch) -> tuple[str, ...]:
    """Deletes what was sent and made; returns a line if something of it is left, and why.

    Nothing is taken from under an execution, which would go on and be billed for failing.
    """
    try:
        running = ", ".join(_processing(target, batch).values())
        if running:
            return (f"images are kept, since an execution still processes them: {running}",)
        _clean_up(batch)
    except _ERRORS as error:
        return (f"images and results may be left: {executions.one_line(str(error))}",)
    return ()


def _processing(target: Target, batch: _Batch) -> dict[str, str]:
    """Returns the names of the executions that process our images now, by ARN."""
    if not batch.sent:
        return {}
    client = target.clients.stepfunctions
    # Those that we started may be missing in the list for a while.
    found = {
        each.arn: each.name
        for each in batch.started
        if client.describe_execution(executionArn=each.arn)["status"] == "RUNNING"
    }
    runs = {*batch.run_ids, *(each.layout.run_id for each in batch.sent), f"recent-x{batch.scale}"}
    machine = target.deployed["state_machine_arn"]
    listed = executions.running_executions(client, machine)
    return found | {
        each.arn: each.name
        for each in listed
        if runs & executions.named_runs(client, each.arn, batch.scale)
    }


def _clean_up(batch: _Batch) -> None:
    """Deletes the images and everything made of them."""
    dataset, uploads = batch.settings.dataset, batch.settings.ingestion.uploads_dir
    storage.delete_tree(batch.prefix)
    for image in batch.images:
        digest = hashlib.sha256(image.content).hexdigest()
        storage.delete(storage.join(uploads, f"{digest}.png"))
    for uri in (uri for each in batch.sent for uri in each.files):
        storage.delete(uri)
    for run_id in batch.run_ids:
        storage.delete_tree(storage.join(dataset.patches_dir, f"run_id={run_id}"))
        for file in storage.list_files(storage.join(dataset.reconstructed_images_dir, "runs")):
            if file.name.startswith(run_id):
                storage.delete(file.uri)
