"""Which offset of a partition may be committed while its messages finish in any order."""


class PartitionOffsets:
    """The messages of one partition that are begun and not yet covered by a commit.

    A commit of offset n says that everything before n is finished, so only messages up to the first
    unfinished one count. Offsets may have gaps (transactions, compaction).
    """

    def __init__(self) -> None:
        self._begun: dict[int, bool] = {}  # in order of offset: whether it is finished
        self._last = -1
        self._next: int | None = None
        self._committed: int | None = None

    def begin(self, offset: int) -> None:
        """Takes a message up. A jump back starts anew: the log was cut, or someone rewound it."""
        if offset <= self._last:
            self._begun.clear()
            self._next = self._committed = None
        self._begun[offset] = False
        self._last = offset

    def finish(self, offset: int) -> None:
        """A message is stored or rejected for good."""
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
        """The broker was sent this offset; None: it refused, so that it has to be sent again."""
        self._committed = offset
