"""Where the reader of a feed that a restore has ended continues."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from po_api.events.domain import Position, continuation


class _Ended(NamedTuple):
    feed: str
    last_number: int


ENDED = [_Ended("a", 100), _Ended("b", 40), _Ended("c", 70)]


def test_what_all_feeds_since_have_is_not_read_again() -> None:
    assert continuation(Position("c", 65), ENDED) == 65
    assert continuation(Position("c", 99), ENDED) == 70
    # The feed that followed was restored to 40: its numbers from 41 on were given again.
    assert continuation(Position("a", 90), ENDED) == 40
    assert continuation(Position("b", 12), ENDED) == 12


def test_the_reader_of_an_unknown_feed_begins_again() -> None:
    assert continuation(Position("x", 65), ENDED) == 0
    assert continuation(Position("x", 65), []) == 0


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40),
    st.integers(0, 40),
)
def test_a_reader_has_seen_exactly_the_events_up_to_where_it_continues(
    steps: list[tuple[bool, int]], seen_at: int
) -> None:
    """Each step writes events, or restores the feed to an earlier number."""
    events: list[str] = []
    feed, ended = 0, list[_Ended]()
    readers: list[tuple[Position, list[str]]] = []
    for serial, (restores, number) in enumerate(steps):
        if restores and events:
            # Only what the restored database has is known: the feeds that had ended by then, and the current one.
            del events[max(0, len(events) - number) :]
            ended.append(_Ended(f"f{feed}", len(events)))
            feed += 1
        else:
            events += [f"event {serial}.{index}" for index in range(number)]
        readers.append((Position(f"f{feed}", len(events)), [*events]))
    for position, seen in readers[: seen_at + 1]:
        if position.feed != f"f{feed}":
            number = continuation(position, ended)
            assert seen[:number] == events[:number]
            assert number == len(events) or len(seen) == number or seen[number] != events[number] or number == 0
