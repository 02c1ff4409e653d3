"""What an item may cost: from the configuration, the executor's container, or the machine."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from jobs import memory, tasks
from jobs.memory import MIB
from superres.pipeline.config import Processing


def context(master: str, **conf: str) -> Any:
    """A Spark context with this configuration; sizes are written in MiB or GiB."""

    def mebibytes(text: str) -> int:
        return int(text[:-1]) * (1024 if text.endswith("g") else 1)

    values = {f"spark.executor.{name}": value for name, value in conf.items()}
    java: Any = SimpleNamespace()
    java.org = SimpleNamespace(apache=SimpleNamespace(spark=SimpleNamespace()))
    utilities = SimpleNamespace(JavaUtils=SimpleNamespace(byteStringAsMb=mebibytes))
    java.org.apache.spark.network = SimpleNamespace(util=utilities)
    getter = SimpleNamespace(get=lambda key, default=None: values.get(key, default))
    return SimpleNamespace(master=master, getConf=lambda: getter, _jvm=java)


def bounds(spark: Any, **processing: Any) -> tasks.TaskBounds:
    return tasks.task_bounds(spark, Processing(**processing))


@pytest.mark.parametrize(
    ("conf", "mib"),
    [
        ({"memory": "6g", "memoryOverhead": "12g"}, 12 * 1024 - 6 * 1024 // 10),
        ({"memory": "1g", "memoryOverhead": "2g"}, 2 * 1024 - 384),
        ({"memory": "6g"}, None),
        ({"memory": "6g", "memoryOverhead": "500m"}, None),  # hardly for Python
    ],
)
def test_a_container_leaves_to_python_what_is_beyond_the_heap(
    conf: dict[str, str], mib: int | None
) -> None:
    size = bounds(context("yarn", **conf)).memory_bytes
    assert size == (None if mib is None else mib * MIB)


def test_elsewhere_three_quarters_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "available_bytes", lambda: 8 << 30)
    here = bounds(context("spark://host:7077", memoryOverhead="12g")).here()
    assert here.memory.size == 6 << 30
    assert here.stall_seconds == 300


def test_the_configuration_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    given = bounds(context("yarn", memoryOverhead="12g"), memory_mib=500, stall_seconds=7.0)
    assert given == tasks.TaskBounds(7.0, 500 * MIB)


def test_only_the_largest_process_ends_when_they_have_too_much_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {11: 4, 12: 5, 21: 90, 22: 2}
    children = {1: [11, 12], 11: [21], 12: [22]}
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(memory, "_children", lambda process: children.get(process, []))
    monkeypatch.setattr(memory, "resident_bytes", sizes.get)
    exceeded = [each for each in sizes if memory.MemoryLimit(100).is_exceeded_by(each)]
    assert exceeded == [21]
    assert not any(memory.MemoryLimit(101).is_exceeded_by(each) for each in sizes)
