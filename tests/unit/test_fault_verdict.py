"""What counts as wrong after a run with random faults."""

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.fault_verdict import Observed, findings

RIGHT = Observed(
    good=frozenset("ab"),
    bad=frozenset("x"),
    stored={"a": 1, "b": 1},
    finished={"a": 1, "b": 1},
    rejected={"x"},
    shown={"a": 1, "b": 1},
    announced={"a": 1, "b": 3},
    equal={"a", "b"},
)


def test_nothing_is_wrong_when_every_image_is_done_once():
    assert not any(findings(RIGHT).values())


@pytest.mark.parametrize(
    ("changed", "names", "images"),
    [
        ({"stored": {"a": 1}}, {"not stored"}, "b"),
        ({"stored": {"a": 1, "b": 2}}, {"stored twice"}, "b"),
        ({"finished": {"a": 1}}, {"neither finished nor rejected"}, "b"),
        ({"finished": {"a": 1, "b": 2}}, {"finished twice"}, "b"),
        ({"rejected": {"x", "a"}}, {"finished and rejected", "good, but rejected"}, "a"),
        ({"rejected": set()}, {"neither finished nor rejected"}, "x"),
        ({"shown": {"a": 1}}, {"not shown"}, "b"),
        ({"shown": {"a": 2, "b": 1}}, {"shown twice"}, "a"),
        ({"announced": {"a": 1}}, {"not announced"}, "b"),
        ({"equal": {"a"}}, {"wrong pixels"}, "b"),
        ({"rejected": {"x", "z"}}, {"never offered"}, "z"),
        ({"committed_early": ["0/3 (a)"]}, {"committed before it was stored"}, "0/3 (a)"),
    ],
)
def test_each_kind_of_loss_is_found(changed: dict[str, Any], names: set[str], images: str):
    found = findings(replace(RIGHT, **changed))
    assert {name: each for name, each in found.items() if each} == {
        name: [images] for name in names
    }


def test_a_bad_image_that_is_finished_is_found():
    changed = replace(RIGHT, finished={"a": 1, "b": 1, "x": 1}, rejected=(), equal={"a", "b", "x"})
    assert findings(changed)["bad, but finished"] == ["x"]
