"""The figures that a consumer shows to Prometheus."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


@dataclass(frozen=True)
class Metrics:
    """One set of metrics with a registry of its own."""

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


def new_metrics() -> Metrics:
    """Metrics at zero."""
    registry = CollectorRegistry()

    def counter(name: str, meaning: str) -> Counter:
        return Counter(f"superres_ingestion_{name}", meaning, registry=registry)

    def gauge(name: str, meaning: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"superres_ingestion_{name}", meaning, labels, registry=registry)

    return Metrics(
        registry,
        messages=counter("messages", "Messages taken from the topic"),
        stored=counter("stored", "Images stored"),
        repeated=counter("repeated", "Messages for an image stored a moment ago"),
        rejected=counter("rejected", "Images rejected"),
        retries=counter("retries", "Fetches put off to be tried again"),
        bytes=counter("bytes", "Bytes fetched of images that were stored"),
        seconds=Histogram(
            "superres_ingestion_seconds",
            "From the begin of the fetch to the image stored",
            registry=registry,
        ),
        in_flight=gauge("in_flight", "Messages begun and not finished"),
        paused=gauge("paused", "1 while partitions are paused"),
        lag=gauge("lag", "Messages of a partition that are not finished", ("partition",)),
    )
