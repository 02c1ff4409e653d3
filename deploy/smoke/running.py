"""The whole of ``make smoke``: send, run, compare, observe, and clean up."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from superres.pipeline import storage
from superres.pipeline.config import Settings, load_settings
from superres.pipeline.layout import layout_of
from superres.pipeline.records import RejectedImage

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
        problems: why the execution failed; empty when it succeeded.
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


def run_smoke(target: Target, seed: int, report: Report, *, keep: bool) -> Result:
    """Sends ten images, processes them, and returns what that proves."""
    deployed = target.deployed
    settings = load_settings(deployed["config_uri"], {})
    scale = int(deployed["default_scale"])
    images = make_images(seed)
    prefix = storage.join(settings.ingestion.uploads_dir, f"smoke-{seed}")
    with reached_services(deployed, target.session, target.page, target.uploads) as reached:
        for reason in reached.reasons:
            report(reason)
        sent: list[Sent] = []
        run_ids: list[str] = []
        try:
            sent += _send(images, reached, prefix, settings, deployed["config_uri"], scale, report)
            days = sorted({each.layout.ingest_date for each in sent})
            run_ids += [f"{day.isoformat()}-x{scale}-smoke-{seed}" for day in days]
            problems: list[str] = []
            for run_id in run_ids:
                execution = _run(target, run_id, report, problems)
            wrong = _wrong_results(
                sent, expected_results(images, settings.processing, scale), settings
            )
            report(f"{len(sent) - len(wrong)} of {len(sent)} results are those of superres upscale")
            report("looking at logs and page, which takes some minutes on AWS")
            smoke = Smoke(
                deployed,
                target.clients,
                target.session,
                settings,
                execution,
                run_ids[-1],
                sent,
                reached,
            )
            found = verdicts(observe(smoke))
        finally:
            if not keep:
                _clean_up(images, sent, run_ids, prefix, settings)
    return Result(tuple(wrong), len(sent), tuple(problems), found)


def _send(
    images: Sequence[SmokeImage],
    reached: Reached,
    prefix: str,
    settings: Settings,
    config: str,
    scale: int,
    report: Report,
) -> list[Sent]:
    if reached.uploads is not None:
        report(f"uploading {len(images)} images to {reached.uploads.address}/uploads")
        return send_by_uploads(images, reached.uploads, settings, scale)
    report(f"ingesting {len(images)} images from {prefix}, since the uploads are not reached")
    return send_by_s3(images, prefix, settings, config, scale)


def _run(target: Target, run_id: str, report: Report, problems: list[str]) -> Execution:
    """Runs one execution to its end; adds to the problems if it fails."""
    deployed, clients = target.deployed, target.clients
    execution = executions.submit(
        clients.stepfunctions,
        deployed["state_machine_arn"],
        Request(run_id=run_id),
        deployed["default_scale"],
    )
    report(f"execution {execution.name}")
    outcome = executions.follow(
        clients.stepfunctions, clients.emr, execution.arn, deployed["log_uri"], report
    )
    if not outcome.succeeded:
        reason = ": ".join(part for part in (outcome.error, outcome.cause) if part)
        problems.append(f"execution {execution.name} {outcome.status.lower()}: {reason}")
    return execution


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
        rejection = sent.layout.rejection(sent.image_id)
        if not storage.exists(rejection):
            return f"{name}: {uri} is not there"
        record = RejectedImage.from_json(storage.read_bytes(rejection))
        return f"{name}: rejected in {record.stage}: {record.reason}"
    apart = largest_difference(storage.read_bytes(uri), expected)
    if apart is None:
        return f"{name}: {uri} has another size or depth than superres upscale gives"
    return f"{name}: {uri} differs by up to {apart} levels" if apart > levels else ""


def _clean_up(
    images: Sequence[SmokeImage],
    sent: Sequence[Sent],
    run_ids: Sequence[str],
    prefix: str,
    settings: Settings,
) -> None:
    """Deletes the images and everything made of them."""
    storage.delete_tree(prefix)
    for image in images:
        digest = hashlib.sha256(image.content).hexdigest()
        storage.delete(storage.join(settings.ingestion.uploads_dir, f"{digest}.png"))
    for each in sent:
        for uri in each.files:
            storage.delete(uri)
    for run_id in run_ids:
        layout = layout_of(settings.dataset, run_id, None, None)
        storage.delete_tree(storage.join(settings.dataset.patches_dir, f"run_id={run_id}"))
        folder = layout.manifest.rpartition("/")[0]
        for file in storage.list_files(folder):
            if file.name.startswith(run_id):
                storage.delete(file.uri)
