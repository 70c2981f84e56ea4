"""What is counted when round trips are counted."""

from __future__ import annotations

import pytest

from tests.round_trips import RoundTrip, longest_chain


@pytest.mark.parametrize(
    ("spans", "chain"),
    [
        ([], []),
        ([(0, 1)], [0]),
        ([(0, 1), (0.5, 1.5), (0.9, 2)], [0]),
        ([(0, 1), (1, 2), (2, 3)], [0, 1, 2]),
        ([(0, 9), (0, 1), (2, 3), (4, 5)], [1, 2, 3]),
        ([(0, 3), (1, 2), (2.5, 4), (3.5, 5), (4.5, 6)], [1, 2, 4]),
    ],
    ids=str,
)
def test_the_longest_chain_is_of_requests_that_waited_for_the_one_before(
    spans: list[tuple[float, float]], chain: list[int]
) -> None:
    trips = [RoundTrip(str(number), *span) for number, span in enumerate(spans)]
    assert [int(trip.operation) for trip in longest_chain(trips)] == chain
