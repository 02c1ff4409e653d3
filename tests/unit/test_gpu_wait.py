"""When a job gives up waiting for a GPU; with a real Spark in integration/test_gpu_resources.py."""

from threading import Event
from types import SimpleNamespace

import pytest
from py4j.protocol import Py4JError

from jobs.gpu_wait import gpu_within
from superres.errors import PrerequisiteError

GPU = {"spark.executor.resource.gpu.amount": "1", "spark.dynamicAllocation.maxExecutors": "4"}


class FakeContext:
    """A ``SparkContext`` with as many executors at each count as the test says."""

    def __init__(self, master: str, conf: dict[str, str], *counts: int) -> None:
        self.master = master
        self.counts = list(counts)
        self.cancelled = Event()
        self.counted_all = Event()
        self._conf = conf
        self._jsc = SimpleNamespace(sc=lambda: self)

    def getConf(self) -> dict[str, str]:  # noqa: N802 - Spark's names
        return self._conf

    def getExecutorMemoryStatus(self) -> SimpleNamespace:  # noqa: N802 - Spark's names
        if len(self.counts) > 1:
            count = self.counts.pop(0)
        else:
            count = self.counts[0]
            self.counted_all.set()
        return SimpleNamespace(size=lambda: count + 1)  # the driver is among them

    def cancelAllJobs(self) -> None:  # noqa: N802 - Spark's names
        self.cancelled.set()


def spark_job(context: FakeContext) -> None:
    """Runs until it is cancelled, which Spark reports as an error of Java."""
    assert context.cancelled.wait(60)
    raise Py4JError("cancelled")


@pytest.mark.parametrize("counts", [(0,), (1, 1, 0)], ids=["none came", "the last one went"])
def test_without_a_gpu_the_job_is_cancelled_with_a_reason(counts: tuple[int, ...]) -> None:
    context = FakeContext("yarn", GPU, *counts)
    with pytest.raises(PrerequisiteError) as caught, gpu_within(context, 0.04):  # type: ignore[arg-type]  # a stand-in
        spark_job(context)
    message = str(caught.value)
    assert message.startswith("no executor with a GPU for 0.04 s (processing.gpu_wait_seconds)")
    assert "up to 4 wanted" in message
    assert "\n" not in message


def test_with_a_gpu_nothing_is_cancelled() -> None:
    context = FakeContext("yarn", GPU, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    with gpu_within(context, 0.04):  # type: ignore[arg-type]  # a stand-in
        assert context.counted_all.wait(60)
    assert not context.cancelled.is_set()


def test_another_failure_keeps_its_own_reason() -> None:
    context = FakeContext("yarn", GPU, 1)
    with pytest.raises(Py4JError, match="lost"), gpu_within(context, 60):  # type: ignore[arg-type]  # a stand-in
        raise Py4JError("lost")


@pytest.mark.parametrize(
    ("master", "conf", "seconds"),
    [("yarn", GPU, 0), ("yarn", {}, 60), ("local[2]", GPU, 60), ("local", GPU, 60)],
    ids=["no limit", "CPU job", "local", "one thread"],
)
def test_nobody_counts_where_no_gpu_is_awaited(
    master: str, conf: dict[str, str], seconds: float
) -> None:
    context = FakeContext(master, conf, 0)
    with gpu_within(context, seconds):  # type: ignore[arg-type]  # a stand-in
        assert not context.counted_all.wait(0.05)
