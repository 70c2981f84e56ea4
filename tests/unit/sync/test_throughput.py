"""A few points of a run, however long it takes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.sync.throughput import MAX_POINTS, Point, Throughput


@given(steps=st.lists(st.floats(0, 10_000), min_size=1, max_size=1_500))
def test_few_points_lead_from_the_first_to_the_last(steps: list[float]) -> None:
    throughput, seconds, told = Throughput(), 0.0, []
    for rows, step in enumerate(steps):
        seconds += step
        told.append(Point(seconds, rows, rows, rows))
        throughput.note(told[-1])
        assert throughput.points[-1] == told[-1]
    points = throughput.points
    assert points[0] == told[0]
    assert len(points) <= MAX_POINTS
    assert points == sorted(points)
    assert set(points) <= set(told)


def test_points_of_a_long_run_are_evenly_apart() -> None:
    throughput = Throughput()
    for second in range(21_600):
        throughput.note(Point(second, second, second, second))
    seconds = [point.seconds for point in throughput.points]
    gaps = [later - earlier for earlier, later in pairwise(seconds[:-1])]
    assert len(seconds) > MAX_POINTS / 3
    assert max(gaps) <= 2.5 * min(gaps)
