"""How much memory the Python processes of an executor have, and how much there is for them."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CONTAINER_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


@dataclass(frozen=True)
class MemoryLimit:
    """What the Python processes of one executor may have together, in bytes.

    Together, because that is what a container is ended for. Where they have more, the largest one
    is ended: the others may be innocent, and each sees for itself whether it is the one.
    """

    size: int

    def is_exceeded(self) -> bool:
        """Whether they have more, whichever of them."""
        return sum(_executor_sizes().values()) > self.size

    def is_exceeded_by(self, process: int) -> bool:
        """Whether there is too little memory, and ``process`` has most of it.

        Called in a Python worker of Spark, or about one that it has started. Always False where
        there is no ``/proc``.
        """
        sizes = _executor_sizes()
        return sum(sizes.values()) > self.size and sizes.get(process) == max(sizes.values())

    def is_exceeded_by_alone(self, process: int) -> bool:
        """Whether ``process`` has more than there is, whatever the others have."""
        return resident_bytes(process) > self.size


def available_bytes() -> int:
    """The memory of this machine, or of the container if that has less."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * _PAGE]
    for limit in _CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # ValueError: "max", which is no limit
            sizes.append(int(Path(limit).read_text()))
    return min(sizes)


def resident_bytes(process: int) -> int:
    """The memory that a process has; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def prefer_as_victim() -> None:
    """Makes the kernel end this process, and not Spark's, when the machine runs out of memory."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _executor_sizes() -> dict[int, int]:
    """Bytes of each Python worker of this executor, and of each process that one has started."""
    workers = _children(os.getppid())
    everyone = {*workers, *(each for worker in workers for each in _children(worker))}
    return {each: resident_bytes(each) for each in everyone}


def _children(process: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))
    except OSError:
        return []
