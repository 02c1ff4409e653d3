"""Commits: up to the first unfinished message, whatever order messages finish in."""

from hypothesis import given
from hypothesis import strategies as st

from ingestion.consumer.offsets import PartitionOffsets


def begun(*offsets):
    books = PartitionOffsets()
    for offset in offsets:
        books.begin(offset)
    return books


def test_nothing_finished_is_nothing_to_commit():
    assert begun(5, 6).to_commit() is None


def test_a_later_message_that_finishes_first_waits_for_the_earlier():
    books = begun(5, 6, 7)
    books.finish(6)
    assert books.to_commit() is None
    books.finish(5)
    assert books.to_commit() == 7


def test_gaps_between_offsets_are_passed_over():
    books = begun(3, 9, 20)
    books.finish(3)
    books.finish(9)
    assert books.to_commit() == 10


def test_what_was_committed_is_not_committed_again_unless_the_broker_refused():
    books = begun(1)
    books.finish(1)
    books.committed(2)
    assert books.to_commit() is None
    books.committed(None)
    assert books.to_commit() == 2


def test_a_jump_back_starts_anew_and_results_from_before_count_no_more():
    books = begun(100, 101)
    books.finish(100)
    books.begin(0)
    books.finish(101)
    assert books.to_commit() is None
    books.finish(0)
    assert books.to_commit() == 1


@given(st.sets(st.integers(0, 300), min_size=1), st.data())
def test_a_commit_never_covers_an_unfinished_message(offsets, data):
    ordered = sorted(offsets)
    books = begun(*ordered)
    unfinished = set(ordered)
    for offset in data.draw(st.permutations(ordered)):
        books.finish(offset)
        unfinished.discard(offset)
        commit = books.to_commit()
        assert commit is None or all(left >= commit for left in unfinished)
    assert books.to_commit() == ordered[-1] + 1
