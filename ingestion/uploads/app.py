"""The upload application: a page for people, and ``POST /uploads``, which needs a token.

A file is written to disk and hashed while it is received, its header is checked, it is stored under
its digest and its reference is produced to Kafka; the response is sent once Kafka has acknowledged
it. Sending the same file again, for example after an error, is the same upload.
``ingestion.cli.uploads`` serves this.
"""

import hashlib
import io
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import BoundedSemaphore
from typing import IO, Any, get_args

import structlog
from flask import Flask, Request, Response, current_app, g, render_template, request
from prometheus_client import CollectorRegistry, Counter
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.utils import secure_filename

from ingestion.references import Wanted
from ingestion.uploads.responses import MAX_FILES, json_response, register_responses
from superres.errors import ImageRejectedError, StorageError
from superres.imaging.decoding import ACCEPTED, decode_file
from superres.imaging.limits import Limits
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.layout import layout_on
from superres.pipeline.recipe import recipe_of
from superres.pipeline.records import ImageReference, Mode, Scale, result_id_of
from superres.pipeline.source_path import source_path
from superres.service.forwarded import warn_of_proxies
from superres.service.guesses import Guesses
from superres.service.health import Check, Health, always_well, unexplained
from superres.service.health_blueprint import health_blueprint
from superres.service.problems import Problem
from superres.service.tokens import bearer_of

_FORM_BYTES = 2**20  # of a request, beside its files
_NAME_LENGTH = 100
_MAX_RECEIVING = 448  # each occupies a thread, of which some stay for other requests
_MAX_STORING = 32
_log = structlog.get_logger()

Publish = Callable[[Sequence[ImageReference]], None]
"""Returns once every reference is kept: acknowledged by Kafka or, without a broker, in storage.

Raises ``TransferError`` or ``StorageError`` otherwise.
"""


def create_app(
    settings: Settings,
    token: str,
    publish: Publish,
    ready: Check = always_well,
    registry: CollectorRegistry | None = None,
    alive: Check = always_well,
) -> Flask:
    """Returns the application.

    Args:
        settings: where uploads are stored, and the limits of a file and an image.
        token: required in the ``Authorization`` header of an upload.
        publish: produces references to Kafka, or keeps them in storage.
        ready: the check of ``/readyz``.
        registry: what ``/metrics`` shows beside the application's own metrics.
        alive: the check of ``/healthz``.
    """
    app = Flask(__name__, static_url_path="/uploads/static")
    app.request_class = _UploadRequest
    app.config["MAX_FILE_BYTES"] = settings.processing.limits.max_bytes
    app.config["MAX_CONTENT_LENGTH"] = MAX_FILES * app.config["MAX_FILE_BYTES"] + _FORM_BYTES
    app.config["MAX_FORM_PARTS"] = MAX_FILES + 2  # and the fields mode and scale
    receiver = _Receiver(settings, publish, registry or CollectorRegistry())
    guesses = Guesses()

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
        _authorize(token, guesses)
        return receiver.receive()

    health = Health(receiver.registry, alive=alive, ready=unexplained(ready))
    app.register_blueprint(health_blueprint(health))
    register_responses(app)
    if settings.ingestion.upload_proxies:
        hops = settings.ingestion.upload_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops)  # type: ignore[method-assign]  # as Flask documents it
    else:
        warn_of_proxies(app, "ingestion.upload_proxies")
    return app


class _Receiver:
    """Stores and publishes the files of requests; one for all threads."""

    def __init__(self, settings: Settings, publish: Publish, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._publish = publish
        self._folder = storage.absolute(settings.ingestion.uploads_dir)
        self.registry = registry
        self._receiving = BoundedSemaphore(_MAX_RECEIVING)
        self._storing = BoundedSemaphore(_MAX_STORING)
        names = {
            "images": "Images stored and published",
            "bytes": "Bytes of images stored and published",
            "rejected": "Files rejected",
        }
        self._images, self._bytes, self._rejected = (
            Counter(f"superres_uploads_{name}", meaning, registry=self.registry)
            for name, meaning in names.items()
        )

    def receive(self) -> Response:
        """Stores and publishes the images of the current request, and lists the rejected files.

        Many may send at once, however slowly; few are decoded at once.
        """
        if not self._receiving.acquire(blocking=False):
            raise Problem(503, "too many uploads at once; try again later", {"Retry-After": "30"})
        try:
            return self._receive()
        finally:
            self._receiving.release()

    def _receive(self) -> Response:
        accepted: list[tuple[_ReceivedFile, str, ImageReference]] = []
        rejected: list[dict[str, str]] = []
        with ExitStack() as opened:
            g.opened = opened
            g.folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="superres-")))
            # A form without a chosen file still sends one, without name or content.
            files = [file for file in request.files.getlist("files") if file.filename]
            if not files:
                raise Problem(400, "no files; send one or more in the multipart field files")
            wanted = self._wanted()
            for file in files:
                received, name = file.stream, file.filename or ""
                assert isinstance(received, _ReceivedFile)
                try:
                    with self._storing:
                        accepted.append((received, name, self._store(received, name, wanted)))
                except ImageRejectedError as error:
                    _log.info("upload_rejected", name=name, reason=str(error))
                    rejected.append({"name": name, "reason": str(error)})
        self._rejected.inc(len(rejected))
        if not accepted:
            raise Problem(422, "no file was accepted", images=[], rejected=rejected)
        self._publish([reference for _, _, reference in accepted])
        for received, name, reference in accepted:
            _log.info("uploaded", image_id=reference.image_id, name=name, bytes=received.size)
            self._images.inc()
            self._bytes.inc(received.size)
        images = [self._described(name, reference) for _, name, reference in accepted]
        return json_response(202, {"images": images, "rejected": rejected})

    def _wanted(self) -> Wanted:
        """Returns the mode and scale of the form, or the configured ones."""
        modes: dict[str, Mode] = {mode: mode for mode in get_args(Mode)}
        scales: dict[str, Scale] = {str(scale): scale for scale in get_args(Scale)}
        mode = request.form.get("mode") or self._settings.ingestion.mode
        scale = request.form.get("scale") or str(self._settings.processing.upscale_factor)
        if mode not in modes:
            raise Problem(400, f"mode: {mode!r} is not one of {', '.join(modes)}")
        if scale not in scales:
            raise Problem(400, f"scale: {scale!r} is not one of {', '.join(scales)}")
        return Wanted(modes[mode], scales[scale])

    def _store(self, received: "_ReceivedFile", name: str, wanted: Wanted) -> ImageReference:
        received.close()
        limits = self._settings.processing.limits
        if received.size > limits.max_bytes:
            raise ImageRejectedError(
                f"the file has {received.size:,} bytes, over the limit of {limits.max_bytes:,};"
                " send a smaller one or raise the limit"
            )
        # In mode evaluate the image is reduced first, so it may be larger by the scale.
        larger = wanted.scale**2 if wanted.mode == "evaluate" else 1
        image = decode_file(received.path, Limits(limits.max_bytes, limits.max_pixels * larger))
        uri = storage.join(self._folder, f"{received.digest}.{image.suffix}")
        storage.write_file(uri, received.path)
        safe_name = secure_filename(name)[-_NAME_LENGTH:] or "unnamed"
        path = source_path(name.replace("\\", "/").rpartition("/")[2])
        return wanted.reference(
            f"upload:{received.digest}", _as_uri(uri), f"upload:{safe_name}", path=path
        )

    def _described(self, name: str, reference: ImageReference) -> dict[str, str]:
        described = {
            "name": name,
            "image_id": reference.image_id,
            "ingest_date": reference.ingest_date.isoformat(),
        }
        if self._settings.processing.cpu_decides_on_precision:
            return described  # the precision, and with it where results lie
        recipe = reference.recipe or recipe_of(self._settings, reference.scale)
        result_id = result_id_of(reference.image_id, recipe.key)
        gallery = (self._settings.notifier.public_url or "").rstrip("/")
        described |= {"result_id": result_id, "page": f"{gallery}/images/{result_id}"}
        if not storage.is_s3(self._settings.dataset.reconstructed_images_dir):
            return described  # a path of this machine is of no use to others
        layout = layout_on(self._settings.dataset, reference.ingest_date, reference.scale, recipe)
        return described | {
            "result": layout.result(reference.image_id),
            "evaluation": layout.evaluation(reference.image_id),
        }


class _ReceivedFile(io.FileIO):
    """A file of a request, hashed while it is written to disk; emptied when it is too large."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(path, "xb")
        self.path = path
        self.size = 0
        self._limit = limit
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hex; meaningless for a file over the limit."""
        return self._hash.hexdigest()

    def write(self, data: Any, /) -> int:
        self.size += len(data)
        if self.size > self._limit:
            self.truncate(0)  # the rest is discarded, and the files after it are still read
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
        received: _ReceivedFile = g.opened.enter_context(_ReceivedFile(path, limit))
        return received


def _as_uri(location: str) -> str:
    return location if storage.is_s3(location) else Path(location).as_uri()


def _authorize(token: str, guesses: Guesses) -> None:
    given = bearer_of(request.headers.get("Authorization", ""))
    if not guesses.is_right(request.remote_addr, given, token):
        raise Unauthorized(
            "send the header Authorization: Bearer TOKEN with the service's token",
            www_authenticate=WWWAuthenticate("bearer", {"realm": "superres uploads"}),
        )
