"""The metrics of listening."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge


@dataclass(frozen=True)
class Metrics:
    """Events, and the records they led to; ``scanned`` is a Unix time in seconds."""

    events: Counter
    recorded: Counter
    unreadable: Counter
    failures: Counter
    scanned: Gauge


def new_metrics(registry: CollectorRegistry) -> Metrics:
    """Makes metrics at zero, in a registry."""

    def counter(name: str, description: str) -> Counter:
        return Counter(f"superres_notifier_{name}", description, registry=registry)

    return Metrics(
        events=counter("events", "Messages received from queues and changes seen in the folder"),
        recorded=counter("recorded", "Images and runs that were new"),
        unreadable=counter("unreadable", "Records and messages that could not be understood"),
        failures=counter("failures", "Times that storage, database or queue did not answer"),
        scanned=Gauge(
            "superres_notifier_scanned_timestamp_seconds",
            "When storage was last scanned completely",
            registry=registry,
        ),
    )
