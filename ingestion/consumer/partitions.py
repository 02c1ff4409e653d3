"""The partitions assigned to this consumer: their offsets, and what is in flight."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ingestion.consumer.messages import Assignment, ReceivedMessage


class PartitionOffsets:
    """The offsets of one partition that are begun and not yet covered by a commit.

    A commit of offset n means that everything before n is finished, so only messages up to the
    first unfinished one count. Offsets may have gaps (transactions, compaction).
    """

    def __init__(self) -> None:
        self._begun: dict[int, bool] = {}  # in order of offset: whether it is finished
        self._last = -1
        self._next: int | None = None
        self._committed: int | None = None

    def begin(self, offset: int) -> None:
        """Adds a message. A lower offset than before resets all: the log was cut or rewound."""
        if offset <= self._last:
            self._begun.clear()
            self._next = self._committed = None
        self._begun[offset] = False
        self._last = offset

    def finish(self, offset: int) -> None:
        """Marks a message as finished: stored, rejected, or for another group."""
        if offset in self._begun:
            self._begun[offset] = True
        while self._begun:
            first = next(iter(self._begun))
            if not self._begun[first]:
                break
            del self._begun[first]
            self._next = first + 1

    def to_commit(self) -> int | None:
        """The offset to commit; None when there is nothing new."""
        return self._next if self._next != self._committed else None

    def committed(self, offset: int | None) -> None:
        """Records the offset sent to the broker; None: the commit failed and must be repeated."""
        self._committed = offset


@dataclass
class Partition:
    """An assigned partition.

    Attributes:
        assignment: what its messages carry to the threads.
        offsets: which of its messages are finished.
        unfinished: how many of its messages are in flight.
        start: the group's committed offset at the assignment; None until the broker was asked.
        end: the offset of its end; None unless the last poll reached it.
    """

    assignment: Assignment = field(default_factory=Assignment)
    offsets: PartitionOffsets = field(default_factory=PartitionOffsets)
    unfinished: int = 0
    start: int | None = None
    end: int | None = None


class AssignedPartitions(Mapping[int, Partition]):
    """The assigned partitions by number.

    Attributes:
        messages_in_flight: messages handed to the threads whose outcome is still open, also of
            partitions that have been revoked meanwhile.
        bytes_in_flight: the size of these messages.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, Partition] = {}
        self.messages_in_flight = 0
        self.bytes_in_flight = 0

    def __getitem__(self, number: int) -> Partition:
        return self._partitions[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._partitions)

    def __len__(self) -> int:
        return len(self._partitions)

    def assign(self, number: int) -> None:
        """Adds a partition, with nothing finished."""
        self._partitions[number] = Partition()

    def remove(self, number: int) -> bool:
        """Removes a partition and ends its assignment; returns whether it was assigned."""
        partition = self._partitions.pop(number, None)
        if partition is None:
            return False
        partition.assignment.ending.set()
        partition.assignment.over.set()
        return True

    def clear(self) -> None:
        """Forgets every partition."""
        self._partitions.clear()

    def begin(self, message: ReceivedMessage) -> None:
        """Counts a message as in flight."""
        self._partitions[message.partition].unfinished += 1
        self.messages_in_flight += 1
        self.bytes_in_flight += message.size

    def end(self, message: ReceivedMessage, *, finished: bool) -> bool:
        """Ends a message in flight; returns whether it counts as finished.

        It does not if its partition was revoked meanwhile, even if it has been assigned again.
        """
        self.drop([message])
        partition = self._partitions.get(message.partition)
        if partition is None or partition.assignment is not message.assignment:
            return False
        partition.unfinished -= 1
        if finished:
            partition.offsets.finish(message.offset)
        return finished

    def drop(self, messages: Collection[ReceivedMessage]) -> None:
        """Takes messages out of the count of those in flight."""
        self.messages_in_flight -= len(messages)
        self.bytes_in_flight -= sum(message.size for message in messages)

    def unfinished(self, numbers: Iterable[int]) -> int:
        """How many messages of these partitions are in flight."""
        return sum(self._partitions[number].unfinished for number in numbers)

    def to_commit(self, numbers: Iterable[int]) -> dict[int, int]:
        """The offsets to commit, by partition, of those that have a new one."""
        return {
            number: offset
            for number in numbers
            if (offset := self._partitions[number].offsets.to_commit()) is not None
        }
