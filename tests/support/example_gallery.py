"""A notifier with real results: images upscaled and measured as the jobs do it."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

from PIL import Image
from prometheus_client import CollectorRegistry
from werkzeug.serving import WSGIRequestHandler, make_server

from notifier.pictures import Pictures
from notifier.recording import record_image
from notifier.store.database import open_database
from notifier.web.app import create_app
from notifier.web.changes import Changes
from notifier.web.context import Service, Tokens
from superres.imaging.decoding import decode_file
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png
from superres.imaging.samples import sample_images
from superres.models import CLEAN, default_model_path
from superres.network.engine import Engine, make_engine
from superres.network.upscaling import upscale_image, upscaled_info
from superres.network.weights import load_weights
from superres.pipeline import storage
from superres.pipeline.arrival import store_image
from superres.pipeline.config_file import validated
from superres.pipeline.layout import layout_on
from superres.pipeline.recipe import DEFAULT_RECIPE, Recipe
from superres.pipeline.records import (
    Attribution,
    Evaluation,
    ImageReference,
    Mode,
    Scale,
    image_id_of,
)
from tests.support import image_files

DAY = date(2026, 1, 31)
TOKEN = "a-token-of-these-tests"
PHOTO = image_files.png(image_files.photo(61, 83))
_LIMITS = Limits(1 << 30, 1 << 30)


class Gallery:
    """A service with its own folders and database."""

    def __init__(self, folder: Path, *, private: bool = False, **notifier: Any) -> None:
        dataset = {
            "high_resolution_dir": str(folder / "high"),
            "low_resolution_dir": str(folder / "low"),
            "patches_dir": str(folder / "work"),
            "inference_result_dir": str(folder / "work"),
            "reconstructed_images_dir": str(folder / "results"),
        }
        chosen = {
            "database_url": f"sqlite:///{folder}/notifier.db",
            "cache_dir": str(folder / "cache"),
        }
        content = {"dataset": dataset, "notifier": chosen | notifier}
        self.folder = folder
        self.settings = validated(content, "test")
        self.database = open_database(self.settings.notifier.database_url)
        self.alive = True
        self.changes = Changes(self.database, lambda: self.alive)
        chosen_settings = self.settings.notifier
        self.pictures = Pictures(
            Path(chosen_settings.cache_dir), chosen_settings.cache_megabytes << 20
        )
        self.service = Service(
            self.settings,
            self.database,
            self.pictures,
            self.changes,
            Tokens(TOKEN),
            private=private,
            registry=CollectorRegistry(),
            ready=lambda: "",
        )
        self.app = create_app(self.service)
        self.client = self.app.test_client()

    def finish(
        self, content: bytes | Path, name: str = "boat.png", *, recorded: bool = True, **known: Any
    ) -> Evaluation:
        """Upscales and measures an image, and records it unless ``recorded`` is False.

        ``known`` are ``mode``, ``scale``, ``recipe``, and fields of the record to replace.
        """
        mode: Mode = known.pop("mode", "evaluate")
        scale: Scale = known.pop("scale", 2)
        recipe: Recipe = known.pop("recipe", DEFAULT_RECIPE)
        reference = ImageReference(
            image_id=image_id_of(mode, scale, name),
            url="https://example.org/",
            source=f"upload:{name}",
            mode=mode,
            scale=scale,
            requested_at=datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC),
        )
        layout = layout_on(self.settings.dataset, DAY, scale, recipe)
        store_image(content, reference, layout, self.settings.processing)
        stored = Path(layout.low_resolution).glob(f"{reference.image_id}.*")
        (low,) = (path for path in stored if path.suffix != ".json")
        image = decode_file(low, _LIMITS, grayscale=recipe.grayscale)
        uri = layout.result(reference.image_id)
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        encode_png(
            upscale_image(image, 512, engine(scale)), upscaled_info(image.info, scale), Path(uri)
        )
        record = evaluated(uri, layout, self.settings.processing).model_copy(update=known)
        storage.write_bytes(layout.evaluation(record.image_id), record.to_json().encode())
        if recorded:
            self.record(record)
        return record

    def record(self, record: Evaluation) -> None:
        """Records an image in the database."""
        assert record_image(self.database, record, f"{record.result_id}.json", "tag")
        self.changes.poll()

    def get(self, path: str, **headers: str) -> Any:
        """The response of the service to a browser."""
        return self.client.get(path, headers={"Accept": "text/html", **headers}, buffered=True)

    @contextmanager
    def served(self, port: int = 0) -> Iterator[str]:
        """Serves the application until the block ends; yields its address."""
        self.alive = True
        self.changes.closed = False
        app = _closing_responses(self.app)
        server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_Quiet)
        server.daemon_threads = True  # type: ignore[attr-defined]  # a stream would block the shutdown
        server.block_on_close = False  # type: ignore[attr-defined]
        self.changes.start()
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            self.alive = False
            server.shutdown()
            server.server_close()
            thread.join()

    def close(self) -> None:
        """Closes the database."""
        self.alive = False
        self.database.close()


def _closing_responses(app: Any) -> Any:
    """Closes each response, also where werkzeug does not because the browser has gone."""

    def respond(environ: Any, start_response: Any) -> Iterator[bytes]:
        response = app(environ, start_response)
        try:
            yield from response
        finally:
            response.close()

    return respond


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.0"

    def log(self, *_: Any) -> None:
        """Logs nothing."""


@cache
def engine(scale: Scale) -> Engine:
    """The network that is part of the package."""
    return make_engine(load_weights(default_model_path(scale), scale))


def evaluated(uri: str, layout: Any, processing: Any) -> Evaluation:
    """The record that the last job writes for a stored result."""
    from jobs.evaluate_image import evaluate_image, image_locations
    from jobs.selection import stored_images
    from jobs.tables import ReconstructedImage

    info = decode_file(Path(uri), _LIMITS).info
    image_id = Path(uri).stem
    image = ReconstructedImage(
        image_id, uri, info.width, info.height, 1, 0.5, CLEAN, engine(layout.scale).digest
    )
    locations = image_locations(stored_images(layout).images, layout)
    assert evaluate_image(image, locations, processing, layout)
    return Evaluation.from_json(storage.read_bytes(layout.evaluation(image_id)))


def sample(index: int, width: int | None = None) -> tuple[bytes, str]:
    """A sample photograph, reduced to a width if asked for, and its name."""
    path = sample_images()[index]
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    if width:
        height = round(picture.height * width / picture.width)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue(), path.name


def hours_ago(hours: float) -> datetime:
    """A moment in the past."""
    return datetime.now(UTC) - timedelta(hours=hours)


def credited(author: str, url: str | None = None) -> dict[str, Any]:
    """A photographer, for ``Gallery.finish``."""
    return {"attribution": Attribution(author=author, url=url)}


@contextmanager
def gallery_of_one(folder: Path) -> Iterator[tuple[Gallery, Evaluation]]:
    """A service with one image, for tests that change nothing."""
    made = Gallery(folder)
    image = made.finish(
        PHOTO, "a boat.png", **credited("Ada <Lovelace>", "https://example.org/ada")
    )
    yield made, image
    made.close()
