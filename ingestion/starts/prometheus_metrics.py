"""The Prometheus metrics of what starts runs for new images."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge


@dataclass(frozen=True)
class Metrics:
    """The metrics of one process, in their own registry."""

    registry: CollectorRegistry
    messages: Counter
    unreadable: Counter
    started: Counter
    failures: Counter
    held: Gauge


def new_metrics() -> Metrics:
    """Metrics at zero."""
    registry = CollectorRegistry()

    def counter(name: str, meaning: str) -> Counter:
        return Counter(f"superres_starts_{name}", meaning, registry=registry)

    return Metrics(
        registry,
        messages=counter("messages", "Messages about new images received"),
        unreadable=counter("unreadable", "Messages that could not be understood"),
        started=counter("started", "Executions started"),
        failures=counter("failures", "Times that SQS or Step Functions did not answer"),
        held=Gauge(
            "superres_starts_held", "Messages waiting for an execution to end", registry=registry
        ),
    )
