"""Brings the images in: by the upload service, or as a source in S3 that is ingested from here."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

from deploy.smoke.images import SmokeImage
from deploy.smoke.services import Site
from deploy.smoke.waiting import wait_until
from superres.errors import PrerequisiteError
from superres.imaging.files import STORED_SUFFIXES
from superres.pipeline import storage
from superres.pipeline.arrival import reference_of
from superres.pipeline.config import Settings
from superres.pipeline.layout import Layout, layout_on
from superres.pipeline.recipe import recipe_of
from superres.pipeline.records import Mode, result_id_of

_MODES: tuple[Mode, ...] = ("evaluate", "upscale")
_STORED_SECONDS = 180.0
_INGEST_SECONDS = 300.0


@dataclass(frozen=True)
class Sent:
    """An image that was sent, and where it and its results lie."""

    image: SmokeImage
    image_id: str
    layout: Layout

    @property
    def low_resolution(self) -> str | None:
        """The URI of the image that the jobs upscale; None until it is stored."""
        stem = storage.join(self.layout.low_resolution, self.image_id)
        found = (uri for suffix in STORED_SUFFIXES if storage.exists(uri := f"{stem}.{suffix}"))
        return next(found, None)

    @property
    def files(self) -> list[str]:
        """The URIs of everything that may have been stored for it, but the uploaded file."""
        layout, ours = self.layout, self.image_id
        stems = [
            storage.join(folder, ours) for folder in (layout.low_resolution, layout.high_resolution)
        ]
        names = [f"{stem}.{suffix}" for stem in stems for suffix in (*STORED_SUFFIXES, "json")]
        results = [layout.result(ours), layout.evaluation(ours)]
        return [*names, *results, layout.rejection(ours), layout.arrival_rejection(ours)]

    @property
    def result_id(self) -> str:
        """What the page and the REST API call its result."""
        return result_id_of(self.image_id, self.layout.recipe.key)


def send_by_uploads(
    images: Sequence[SmokeImage], uploads: Site, settings: Settings, scale: int, sent: list[Sent]
) -> None:
    """Uploads the images as the page does, and waits until ingestion has stored them.

    Adds to ``sent`` as it goes, for the sake of whoever deletes them after an error.
    """
    for mode in _MODES:
        group = {image.name: image for image in images if image.mode == mode}
        content, content_type = multipart_form(
            {"mode": mode, "scale": str(scale)},
            [(image.name, image.content) for image in group.values()],
        )
        status, body = uploads.ask("POST", "/uploads", content, content_type)
        if status != 202:
            answer = body[:200].decode(errors="replace")
            raise PrerequisiteError(f"{uploads.address}/uploads: answered {status}: {answer}")
        answer = json.loads(body)
        for each in answer["images"]:
            layout = _layout(settings, date.fromisoformat(each["ingest_date"]), scale)
            sent.append(Sent(group[each["name"]], each["image_id"], layout))
        if answer["rejected"]:
            raise PrerequisiteError(f"the upload service rejected {answer['rejected']}")
    _wait_until_stored(sent)


def _layout(settings: Settings, day: date, scale: int) -> Layout:
    return layout_on(settings.dataset, day, scale, recipe_of(settings, scale))


def multipart_form(fields: dict[str, str], files: Sequence[tuple[str, bytes]]) -> tuple[bytes, str]:
    """Returns the body of a form with files, and its content type."""
    boundary = uuid4().hex
    head = f"--{boundary}\r\nContent-Disposition: form-data; name="
    parts = [f'{head}"{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
    for name, content in files:
        parts += [f'{head}"files"; filename="{name}"\r\n\r\n'.encode(), content, b"\r\n"]
    return b"".join(
        [*parts, f"--{boundary}--\r\n".encode()]
    ), f"multipart/form-data; boundary={boundary}"


def _wait_until_stored(sent: Sequence[Sent]) -> None:
    left = list(sent)

    def all_stored() -> bool:
        left[:] = [each for each in left if each.low_resolution is None]
        return not left

    if not wait_until(all_stored, _STORED_SECONDS):
        names = ", ".join(each.image.name for each in left)
        raise PrerequisiteError(
            f"not stored {_STORED_SECONDS:.0f} s after their upload: {names}; see the log of the "
            "ingestion instance"
        )


def send_by_s3(
    images: Sequence[SmokeImage],
    prefix: str,
    settings: Settings,
    config: str,
    scale: int,
    sent: list[Sent],
) -> None:
    """Puts the images below a prefix and ingests them from this machine, without a broker.

    Adds to ``sent`` whatever was stored, after an error too.
    """
    by_url, days = {}, {datetime.now(UTC).date()}
    for image in images:
        uri = storage.join(prefix, image.mode, image.name)
        storage.write_bytes(uri, image.content)
        by_url[uri if storage.is_s3(uri) else Path(uri).as_uri()] = image
    try:
        for mode in _MODES:
            _ingest(storage.join(prefix, mode), mode, config, scale)
    finally:
        sent += _stored_from(by_url, settings, days | {datetime.now(UTC).date()}, scale)
    if len(sent) < len(by_url):
        raise PrerequisiteError(f"only {len(sent)} of {len(by_url)} images were stored")


def _ingest(prefix: str, mode: Mode, config: str, scale: int) -> None:
    program = Path(sys.executable).with_name("superres")
    options = ["--mode", mode, "--scale", str(scale), "--config", config]
    with tempfile.TemporaryDirectory(prefix="superres-") as folder:
        try:
            done = subprocess.run(
                [program, "ingest", prefix, *options],
                env={**os.environ, "SUPERRES_KAFKA__ENABLED": "false"},
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_INGEST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PrerequisiteError(
                f"superres ingest {prefix}: not done after {_INGEST_SECONDS:g} s"
            ) from None
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise PrerequisiteError(f"superres ingest {prefix}: {reason[-1]}")


def _stored_from(
    by_url: dict[str, SmokeImage], settings: Settings, days: set[date], scale: int
) -> list[Sent]:
    """Returns the images stored from these URLs, by the references kept with them."""
    sent = []
    for layout in (_layout(settings, day, scale) for day in days):
        for file in storage.list_files(layout.low_resolution):
            reference = None if file.uri.endswith(".json") else reference_of(file.uri)
            source = None if reference is None else by_url.get(reference.url.full)
            if reference is not None and source is not None:
                sent.append(Sent(source, reference.image_id, layout))
    return sent
