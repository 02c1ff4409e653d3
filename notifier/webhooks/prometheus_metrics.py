"""The metrics of webhooks."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


@dataclass(frozen=True)
class Metrics:
    """Metrics of a sender.

    ``attempts`` has the label outcome: delivered, retried, failed (given up) or released (cut off
    when the service stops).
    """

    attempts: Counter
    disabled: Counter
    seconds: Histogram
    pending: Gauge


def new_metrics(registry: CollectorRegistry) -> Metrics:
    """Makes metrics at zero, in a registry."""
    return Metrics(
        attempts=Counter(
            "superres_notifier_webhook_attempts",
            "Delivery attempts, by outcome",
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
            "Seconds of a delivery attempt",
            registry=registry,
        ),
        pending=Gauge("superres_notifier_webhook_pending", "Pending deliveries", registry=registry),
    )
