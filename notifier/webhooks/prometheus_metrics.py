"""The figures of webhooks that the notifier shows to Prometheus."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


@dataclass(frozen=True)
class Metrics:
    """What a sender counts.

    ``attempts`` are by outcome: delivered, retried, failed (given up) or released (cut off by the
    end of the service).
    """

    attempts: Counter
    disabled: Counter
    seconds: Histogram
    pending: Gauge


def new_metrics(registry: CollectorRegistry) -> Metrics:
    """Metrics at zero, in a registry."""
    return Metrics(
        attempts=Counter(
            "superres_notifier_webhook_attempts",
            "Attempts to deliver, by outcome",
            ("outcome",),
            registry=registry,
        ),
        disabled=Counter(
            "superres_notifier_webhook_subscriptions_disabled",
            "Subscriptions disabled after failures",
            registry=registry,
        ),
        seconds=Histogram(
            "superres_notifier_webhook_seconds",
            "Seconds of an attempt to deliver",
            registry=registry,
        ),
        pending=Gauge(
            "superres_notifier_webhook_pending", "Deliveries on their way", registry=registry
        ),
    )
