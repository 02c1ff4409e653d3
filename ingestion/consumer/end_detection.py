"""Detects that every message is finished, so that a consumer can end by itself."""

import time
from threading import Event

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ingestion.consumer.partitions import AssignedPartitions

_TIMEOUT_SECONDS = 5.0
_GROUP_INTERVAL_SECONDS = 1.0  # between two checks of the whole group


class EndDetector:
    """Whether all messages sent before ``last_sent`` was set are finished.

    Args:
        client: a member of the group.
        topic: the topic that it reads.
        partitions: those assigned to it.
        last_sent: set once no more messages are sent; None: never.
    """

    def __init__(
        self,
        client: Consumer,
        topic: str,
        partitions: AssignedPartitions,
        last_sent: Event | None,
    ) -> None:
        self._client = client
        self._topic = topic
        self._partitions = partitions
        self._last_sent = last_sent
        self._group_checked_at = 0.0

    def reached(self) -> bool:
        """Whether the assigned partitions are read to their end and nothing is in flight.

        Without an assigned partition, whether the group has finished all of them: it may never
        assign any to this consumer.
        """
        if self._last_sent is None or not self._last_sent.is_set():
            return False
        if self._partitions.messages_in_flight:
            return False
        if any(partition.end is None for partition in self._partitions.values()):
            return False
        try:
            if not self._partitions:
                return self._group_reached_end()
            # Asks the broker: the end may have moved since the last poll.
            return all(
                self._watermarks(number)[1] == partition.end
                for number, partition in self._partitions.items()
            )
        except KafkaException:
            return False

    def _group_reached_end(self) -> bool:
        if time.monotonic() - self._group_checked_at < _GROUP_INTERVAL_SECONDS:
            return False
        self._group_checked_at = time.monotonic()
        topic = self._client.list_topics(self._topic, _TIMEOUT_SECONDS).topics[self._topic]
        partitions = [TopicPartition(self._topic, number) for number in topic.partitions]
        for committed in self._client.committed(partitions, _TIMEOUT_SECONDS):
            low, high = self._watermarks(committed.partition)
            if max(low, committed.offset) < high:
                return False
        return bool(partitions)

    def _watermarks(self, number: int) -> tuple[int, int]:
        """The first offset of a partition and its end."""
        partition = TopicPartition(self._topic, number)
        return self._client.get_watermark_offsets(partition, _TIMEOUT_SECONDS)
