"""Fixtures that several test modules share."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from superres.pipeline.config import Settings
from superres.pipeline.config_file import validated
from superres.pipeline.layout import Layout, layout_of
from superres.pipeline.recipe import recipe_of
from tests.support.cleanup import FOLDER_VARIABLE, folder_with_cleanup
from tests.support.required_tools import require

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from notifier.store.database import Database

pytest_plugins = [
    "tests.support.kafka_broker",
    "tests.support.localstack",
    "tests.support.postgresql",
    "tests.support.webhook_receiver",
    "tests.support.wheels",
]

INGEST_DATE = date(2026, 1, 31)
_UNIT = Path(__file__).parent / "unit"
# Not postgresql: tests of the store run on SQLite and, as a further parameter, on PostgreSQL.
_SERVICES = {"spark", "cluster", "kafka", "chromium", "localstack", "terraform", "local_cloud"}
_SERVICE_FIXTURES = {"spark", "broker", "iam_broker", "local_cloud", "aws_environment", "bucket"}


@pytest.fixture(scope="session", autouse=True)
def cleanup() -> Iterator[None]:
    """No process that a test starts outlives this one, even if this one is killed."""
    with folder_with_cleanup() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(folder))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses a unit test that needs a service: such a test belongs in tests/integration."""
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        fixtures = set(getattr(item, "fixturenames", ()))
        if item.path.is_relative_to(_UNIT) and (marks & _SERVICES or fixtures & _SERVICE_FIXTURES):
            raise pytest.UsageError(f"{item.nodeid} needs a service; move it to tests/integration")


@dataclass(frozen=True)
class RunSetup:
    """Settings and layout of a run in a folder of its own."""

    settings: Settings
    layout: Layout


def make_run_setup(base: str, scale: int = 2, **processing: object) -> RunSetup:
    """Everything under ``base``, small tiles, run ``2026-01-31-x{scale}``."""
    dataset = {
        "high_resolution_dir": f"{base}/high",
        "low_resolution_dir": f"{base}/low",
        "patches_dir": f"{base}/work",
        "inference_result_dir": f"{base}/work",
        "reconstructed_images_dir": f"{base}/results",
    }
    options = {"patch_size": 32, "upscale_factor": scale} | processing
    settings = validated({"dataset": dataset, "processing": options}, "test")
    layout = layout_of(settings.dataset, f"{INGEST_DATE.isoformat()}-x{scale}")
    return RunSetup(settings, layout.with_recipe(recipe_of(settings, scale)))


@pytest.fixture
def run_setup(tmp_path: Path) -> RunSetup:
    return make_run_setup(str(tmp_path))


@pytest.fixture
def database(tmp_path: Path) -> "Iterator[Database]":
    """The notifier's database, on SQLite."""
    from notifier.store.database import open_database

    opened = open_database(f"sqlite:///{tmp_path}/notifier.db")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SparkSession]":
    """One local session for all tests; a task that fails is not tried again, so it is seen."""
    require("java", "make system-packages")
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    from jobs.session import get_session
    from jobs.standalone import local_conf

    conf = local_conf("local[2, 1]") | {"spark.local.dir": str(tmp_path_factory.mktemp("spark"))}
    session = get_session("tests", Settings(), conf)
    yield session
    session.stop()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
