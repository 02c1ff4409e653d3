"""Stores the images of a source without a broker: what produce and consume do with one."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

from ingestion.direct.storing import handler_without_broker, store_all
from ingestion.producer import Published, published_references
from ingestion.sources.source import Source
from superres.pipeline.config import Settings


def ingest_directly(
    source: Source[Any],
    settings: Settings,
    limit: int | None,
    stop: Event,
    on_progress: Callable[[int, int], None] = lambda finished, total: None,
) -> tuple[Published, int, int]:
    """Stores every image of a source until it ends, the limit is reached or ``stop`` is set.

    Returns what the source named, and how many images were stored and rejected. ``on_progress`` is
    called now and then with the numbers finished and named.
    """
    named, listed = Published(), Event()
    finished = 0

    def references() -> Iterator[bytes | None]:
        for reference in published_references(source, settings.ingestion.threads, listed, named):
            if reference is None:
                yield None
                continue
            named.references += 1
            yield reference.to_message().encode()
            if named.references == limit:
                listed.set()
                return

    def count(_: bytes) -> None:
        nonlocal finished
        finished += 1
        on_progress(finished, named.references)

    with handler_without_broker(settings) as handler:
        store_all(handler, references(), stop.is_set, count)
        listed.set()
        value = handler.metrics.registry.get_sample_value
        stored, rejected = (
            int(value(f"superres_ingestion_{name}_total") or 0) for name in ("stored", "rejected")
        )
    return named, stored, rejected
