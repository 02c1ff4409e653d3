"""A warm Spark session for the benchmarks, on the cluster that `make run` starts or another."""

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.session import get_session
from jobs.standalone import EXECUTOR_MEMORY_MIB, Resources, local_conf, standalone_cluster
from superres.pipeline.config import Processing, Settings
from superres.pipeline.layout import Layout, dataset_in, layout_of

RUN_DATE = "2026-01-01"


def settings_in(folder: Path, processing: Processing) -> Settings:
    """Settings with every directory below ``folder``."""
    return Settings(dataset=dataset_in(str(folder)), processing=processing)


def layout_in(settings: Settings, scale: int) -> Layout:
    """The layout of the benchmark's only run."""
    return layout_of(settings.dataset, f"{RUN_DATE}-x{scale}")


def end_in_order() -> None:
    """Makes SIGTERM, which `timeout` sends, end this process with its clean-up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@contextmanager
def spark_session(
    settings: Settings,
    folder: Path,
    *,
    cores: int,
    master: str | None = None,
    executor_memory_mib: int = EXECUTOR_MEMORY_MIB,
    extra: Mapping[str, str] | None = None,
) -> Iterator[SparkSession]:
    """A session on ``master``, or on a standalone master and worker started for it.

    ``extra`` configuration is set over that of `make run`.
    """
    if master is not None:
        yield from _session(settings, local_conf(master, executor_memory_mib) | dict(extra or {}))
        return
    resources = Resources(cores, executor_memory_mib + 512)
    with standalone_cluster(resources, folder / "spark") as url:
        yield from _session(settings, local_conf(url, executor_memory_mib) | dict(extra or {}))


def _session(settings: Settings, conf: dict[str, str]) -> Iterator[SparkSession]:
    session = get_session("superres benchmark", settings, conf)
    try:
        yield session
    finally:
        session.stop()
