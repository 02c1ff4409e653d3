"""Photographs sent by hand or by a program: a page, and ``POST /uploads`` behind a token.

A file is written to disk and hashed as it comes in, checked by its header, stored under its digest,
and its reference published; the answer waits until Kafka has acknowledged that. Sending the same
file again, after an error for one, is the same upload. ``ingestion.cli.uploads`` serves this.
"""

import hashlib
import io
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, get_args

import structlog
from flask import Flask, Request, Response, current_app, g, render_template, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized
from werkzeug.utils import secure_filename

from ingestion.references import Wanted
from ingestion.uploads.answers import MAX_FILES, json_answer, problem, register
from superres.errors import ImageRejectedError, StorageError
from superres.imaging.decoding import ACCEPTED, decode_file
from superres.imaging.limits import Limits
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.layout import layout_on
from superres.pipeline.records import ImageReference, Mode, Scale
from superres.service.health import Check
from superres.service.tokens import bearer_of, same_token

_FORM_BYTES = 2**20  # what a request may weigh beside its files
_NAME_LENGTH = 100
_log = structlog.get_logger()

Publish = Callable[[Sequence[ImageReference]], None]
"""Returns when every reference is acknowledged; raises ``TransferError`` when one is not."""


def create_app(
    settings: Settings, token: str, publish: Publish, ready: Check = lambda: ""
) -> Flask:
    """The application.

    Args:
        settings: where uploads are stored and what they may weigh and measure.
        token: what an upload must bear in its ``Authorization`` header.
        publish: puts references on Kafka.
        ready: what ``/readyz`` asks; empty when uploads can be taken.
    """
    app = Flask(__name__, static_url_path="/uploads/static")
    app.request_class = _UploadRequest
    app.config["MAX_FILE_BYTES"] = settings.processing.limits.max_bytes
    app.config["MAX_CONTENT_LENGTH"] = MAX_FILES * app.config["MAX_FILE_BYTES"] + _FORM_BYTES
    app.config["MAX_FORM_PARTS"] = MAX_FILES + 2  # and the fields mode and scale
    desk = _Desk(settings, publish)

    @app.get("/uploads", strict_slashes=False)
    def page() -> str:
        return render_template(
            "uploads.html",
            accepted=ACCEPTED,
            ingestion=settings.ingestion,
            processing=settings.processing,
            max_bytes=app.config["MAX_FILE_BYTES"],
        )

    @app.post("/uploads", strict_slashes=False)
    def upload() -> Response:
        _authorize(token)
        return desk.take()

    @app.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/readyz")
    def readyz() -> Response:
        complaint = ready()
        status = 503 if complaint else 200
        return Response(f"{complaint or 'ok'}\n", status, mimetype="text/plain")

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(desk.registry), content_type=CONTENT_TYPE_LATEST)

    register(app)
    return app


class _Desk:
    """Takes what a request brings; one for all threads."""

    def __init__(self, settings: Settings, publish: Publish) -> None:
        self._settings = settings
        self._publish = publish
        self._folder = storage.absolute(settings.ingestion.uploads_dir)
        self.registry = CollectorRegistry()
        names = {
            "images": "Images stored and published",
            "bytes": "Bytes of images stored and published",
            "rejected": "Files rejected",
        }
        self._images, self._bytes, self._rejected = (
            Counter(f"superres_uploads_{name}", meaning, registry=self.registry)
            for name, meaning in names.items()
        )

    def take(self) -> Response:
        """Stores and publishes what is good in the current request and tells what is not."""
        accepted: list[tuple[_Arrival, str, ImageReference]] = []
        rejected: list[dict[str, str]] = []
        with ExitStack() as opened:
            g.opened = opened
            g.folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="superres-")))
            # A form without a chosen file still sends one, without name or content.
            files = [file for file in request.files.getlist("files") if file.filename]
            if not files:
                return problem(400, "no file came; send one or more in the multipart field files")
            wanted = self._wanted()
            if isinstance(wanted, str):
                return problem(400, wanted)
            for file in files:
                arrival, name = file.stream, file.filename or ""
                assert isinstance(arrival, _Arrival)
                try:
                    accepted.append((arrival, name, self._store(arrival, name, wanted)))
                except ImageRejectedError as error:
                    _log.info("upload_rejected", name=name, reason=str(error))
                    rejected.append({"name": name, "reason": str(error)})
        self._rejected.inc(len(rejected))
        if not accepted:
            detail = "none of the files is an image that can be taken"
            return problem(422, detail, images=[], rejected=rejected)
        self._publish([reference for _, _, reference in accepted])
        for arrival, name, reference in accepted:
            _log.info("uploaded", image_id=reference.image_id, name=name, bytes=arrival.size)
            self._images.inc()
            self._bytes.inc(arrival.size)
        images = [self._described(name, reference) for _, name, reference in accepted]
        return json_answer(202, {"images": images, "rejected": rejected})

    def _wanted(self) -> Wanted | str:
        """What the form asks for, or what is wrong with it."""
        modes: dict[str, Mode] = {mode: mode for mode in get_args(Mode)}
        scales: dict[str, Scale] = {str(scale): scale for scale in get_args(Scale)}
        mode = request.form.get("mode") or self._settings.ingestion.mode
        scale = request.form.get("scale") or str(self._settings.processing.upscale_factor)
        if mode not in modes:
            return f"mode is {mode!r}; allowed are {', '.join(modes)}"
        if scale not in scales:
            return f"scale is {scale!r}; allowed are {', '.join(scales)}"
        return Wanted(modes[mode], scales[scale])

    def _store(self, arrival: "_Arrival", name: str, wanted: Wanted) -> ImageReference:
        arrival.close()
        limits = self._settings.processing.limits
        if arrival.size > limits.max_bytes:
            raise ImageRejectedError(
                f"the file has {arrival.size:,} bytes, over the limit of {limits.max_bytes:,};"
                " send a smaller one or raise the limit"
            )
        # What is to be reduced by the scale first may be larger by it.
        larger = wanted.scale**2 if wanted.mode == "evaluate" else 1
        image = decode_file(arrival.path, Limits(limits.max_bytes, limits.max_pixels * larger))
        uri = storage.join(self._folder, f"{arrival.digest}.{image.suffix}")
        storage.write_file(uri, arrival.path)
        told = secure_filename(name)[-_NAME_LENGTH:] or "unnamed"
        return wanted.reference(f"upload:{arrival.digest}", _as_uri(uri), f"upload:{told}")

    def _described(self, name: str, reference: ImageReference) -> dict[str, str]:
        layout = layout_on(self._settings.dataset, reference.ingest_date, reference.scale)
        return {
            "name": name,
            "image_id": reference.image_id,
            "result": _as_uri(layout.result(reference.image_id)),
            "evaluation": _as_uri(layout.evaluation(reference.image_id)),
        }


class _Arrival(io.FileIO):
    """A file of a request: hashed on its way to disk, and not kept beyond the limit."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(path, "xb")
        self.path = path
        self.size = 0
        self._limit = limit
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hex; of no use beyond the limit."""
        return self._hash.hexdigest()

    def write(self, data: Any, /) -> int:
        self.size += len(data)
        if self.size > self._limit:
            self.truncate(0)  # the rest is read and forgotten, so that other files are not lost
            return len(data)
        self._hash.update(data)
        left = memoryview(data)
        try:
            while left:
                left = left[super().write(left) :]
        except OSError as error:
            raise StorageError(f"{self.path.parent}: cannot write: {error.strerror}") from None
        return len(data)


class _UploadRequest(Request):
    def _get_file_stream(self, *_: Any, **__: Any) -> IO[bytes]:
        folder: Path = g.folder
        path = folder / str(len(list(folder.iterdir())))
        limit: int = current_app.config["MAX_FILE_BYTES"]
        arrival: _Arrival = g.opened.enter_context(_Arrival(path, limit))
        return arrival


def _as_uri(location: str) -> str:
    return location if storage.is_s3(location) else Path(location).as_uri()


def _authorize(token: str) -> None:
    if not same_token(bearer_of(request.headers.get("Authorization", "")), token):
        raise Unauthorized(
            "send the header Authorization: Bearer TOKEN with the service's token",
            www_authenticate=WWWAuthenticate("bearer", {"realm": "superres uploads"}),
        )
