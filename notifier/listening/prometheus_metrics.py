"""The figures that the intake shows to Prometheus."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge


@dataclass(frozen=True)
class Metrics:
    """What was heard and what came of it; ``scanned`` is a Unix time in seconds."""

    events: Counter
    recorded: Counter
    unreadable: Counter
    failures: Counter
    scanned: Gauge


def new_metrics(registry: CollectorRegistry) -> Metrics:
    """Metrics at zero, shown by this registry."""

    def counter(name: str, meaning: str) -> Counter:
        return Counter(f"superres_notifier_{name}", meaning, registry=registry)

    return Metrics(
        events=counter("events", "Messages taken from queues and changes seen in the folder"),
        recorded=counter("recorded", "Images and runs that were new"),
        unreadable=counter("unreadable", "Records and messages that could not be understood"),
        failures=counter("failures", "Times that storage, database or queue did not answer"),
        scanned=Gauge(
            "superres_notifier_scanned_timestamp_seconds",
            "When storage was last looked through to the end",
            registry=registry,
        ),
    )
