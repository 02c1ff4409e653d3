"""The consumer's lag: messages of its partitions that are not finished."""

from contextlib import suppress

from confluent_kafka import Consumer, KafkaException, TopicPartition
from prometheus_client import Gauge

from ingestion.consumer.partitions import AssignedPartitions

_TIMEOUT_SECONDS = 1.0


class LagMeter:
    """Measures the lag of the assigned partitions.

    Args:
        client: a member of the group.
        topic: the topic of the partitions.
        partitions: those assigned to the client.
        gauge: shows the lag, labelled with the partition.
    """

    def __init__(
        self, client: Consumer, topic: str, partitions: AssignedPartitions, gauge: Gauge
    ) -> None:
        self._client = client
        self._topic = topic
        self._partitions = partitions
        self._gauge = gauge

    def measure(self) -> None:
        """Updates the gauge. Makes a request only for newly assigned partitions."""
        self._fetch_starts()
        for number, partition in self._partitions.items():
            on_topic = TopicPartition(self._topic, number)
            low, high = self._client.get_watermark_offsets(on_topic, cached=True)
            position = self._client.position([on_topic])[0].offset
            if position < 0 and partition.start is not None:  # no message of it received yet
                position = max(low, partition.start)
            behind = high - position if position >= 0 and high >= 0 else 0
            self._gauge.labels(number).set(max(0, behind) + partition.unfinished)

    def forget(self, number: int) -> None:
        """Removes a revoked partition from the gauge: its new consumer reports it."""
        with suppress(KeyError):
            self._gauge.remove(number)

    def _fetch_starts(self) -> None:
        new = [number for number, each in self._partitions.items() if each.start is None]
        if not new:
            return
        with suppress(KafkaException):
            without_start = [TopicPartition(self._topic, number) for number in new]
            for committed in self._client.committed(without_start, _TIMEOUT_SECONDS):
                self._partitions[committed.partition].start = max(0, committed.offset)
