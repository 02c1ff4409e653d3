"""What became of the images of a run with random faults: pure counting."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Observed:
    """What was offered, and what was found afterwards; images are image_ids.

    Attributes:
        good: offered images that must be finished.
        bad: offered images that must be rejected.
        stored: number of low-resolution files of each image.
        finished: number of evaluations of each image.
        rejected: images with a rejection.
        shown: how often the notifier lists each image.
        announced: number of webhooks received about each image, repetitions of one left out.
        equal: finished images whose samples are those of ``superres upscale``.
        committed_early: offsets that were committed before their image was stored or rejected.
    """

    good: frozenset[str]
    bad: frozenset[str]
    stored: Mapping[str, int]
    finished: Mapping[str, int]
    rejected: Collection[str]
    shown: Mapping[str, int]
    announced: Mapping[str, int]
    equal: Collection[str]
    committed_early: Collection[str] = ()


def findings(observed: Observed) -> dict[str, list[str]]:
    """Everything that is wrong: what it is, and the images it happened to; empty lists are well."""
    good, bad = observed.good, observed.bad
    rejected, equal = set(observed.rejected), set(observed.equal)
    known = good | bad
    seen = {*observed.stored, *observed.finished, *rejected, *observed.shown, *observed.announced}
    found = {
        "not stored": good - observed.stored.keys(),
        "stored twice": _repeated(observed.stored),
        "neither finished nor rejected": known - observed.finished.keys() - rejected,
        "finished twice": _repeated(observed.finished),
        "finished and rejected": observed.finished.keys() & rejected,
        "good, but rejected": good & rejected,
        "bad, but finished": bad & observed.finished.keys(),
        "not shown": good - observed.shown.keys(),
        "shown twice": _repeated(observed.shown),
        "not announced": good - observed.announced.keys(),
        "wrong pixels": observed.finished.keys() - equal,
        "never offered": seen - known,
        "committed before it was stored": set(observed.committed_early),
    }
    return {name: sorted(images) for name, images in found.items()}


def _repeated(counts: Mapping[str, int]) -> set[str]:
    return {image for image, count in Counter(counts).items() if count > 1}
