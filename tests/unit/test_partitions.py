"""Commits: up to the first unfinished message, whatever order messages finish in."""

from hypothesis import given
from hypothesis import strategies as st

from ingestion.consumer.partitions import PartitionOffsets


def with_begun(*offsets):
    tracked = PartitionOffsets()
    for offset in offsets:
        tracked.begin(offset)
    return tracked


def test_without_a_finished_message_there_is_nothing_to_commit():
    assert with_begun(5, 6).to_commit() is None


def test_a_message_that_finishes_early_is_committed_after_those_before_it():
    tracked = with_begun(5, 6, 7)
    tracked.finish(6)
    assert tracked.to_commit() is None
    tracked.finish(5)
    assert tracked.to_commit() == 7


def test_gaps_between_offsets_are_skipped():
    tracked = with_begun(3, 9, 20)
    tracked.finish(3)
    tracked.finish(9)
    assert tracked.to_commit() == 10


def test_an_offset_is_committed_again_only_if_the_commit_failed():
    tracked = with_begun(1)
    tracked.finish(1)
    tracked.committed(2)
    assert tracked.to_commit() is None
    tracked.committed(None)
    assert tracked.to_commit() == 2


def test_a_lower_offset_resets_all_and_earlier_results_no_longer_count():
    tracked = with_begun(100, 101)
    tracked.finish(100)
    tracked.begin(0)
    tracked.finish(101)
    assert tracked.to_commit() is None
    tracked.finish(0)
    assert tracked.to_commit() == 1


@given(st.sets(st.integers(0, 300), min_size=1), st.data())
def test_a_commit_never_covers_an_unfinished_message(offsets, data):
    ordered = sorted(offsets)
    tracked = with_begun(*ordered)
    unfinished = set(ordered)
    for offset in data.draw(st.permutations(ordered)):
        tracked.finish(offset)
        unfinished.discard(offset)
        commit = tracked.to_commit()
        assert commit is None or all(left >= commit for left in unfinished)
    assert tracked.to_commit() == ordered[-1] + 1
