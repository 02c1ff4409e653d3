"""The Prometheus metrics of a consumer."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


@dataclass(frozen=True)
class Metrics:
    """The metrics of one consumer, in their own registry."""

    registry: CollectorRegistry
    messages: Counter
    stored: Counter
    repeated: Counter
    rejected: Counter
    retries: Counter
    bytes: Counter
    seconds: Histogram
    in_flight: Gauge
    paused: Gauge
    lag: Gauge


def new_metrics(registry: CollectorRegistry | None = None) -> Metrics:
    """Metrics at zero, in a registry of their own or in the one given."""
    registry = registry or CollectorRegistry()

    def counter(name: str, meaning: str) -> Counter:
        return Counter(f"superres_ingestion_{name}", meaning, registry=registry)

    def gauge(name: str, meaning: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"superres_ingestion_{name}", meaning, labels, registry=registry)

    return Metrics(
        registry,
        messages=counter("messages", "Messages consumed from the topic"),
        stored=counter("stored", "Images stored"),
        repeated=counter("repeated", "Messages for an image that was stored just before"),
        rejected=counter("rejected", "Images rejected"),
        retries=counter("retries", "Fetches to be retried later"),
        bytes=counter("bytes", "Bytes fetched for stored images"),
        seconds=Histogram(
            "superres_ingestion_seconds",
            "Time from the start of the fetch until the image is stored",
            registry=registry,
        ),
        in_flight=gauge("in_flight", "Messages in progress"),
        paused=gauge("paused", "1 while partitions are paused"),
        lag=gauge("lag", "Unfinished messages of a partition", ("partition",)),
    )
