"""Charts show what the numbers say."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.plugin import charts
from airflow_provider_klaviyo.plugin.told import OUTCOMES

COUNTS = st.fixed_dictionaries({name: st.integers(0, 10**9) for name in OUTCOMES})
NUMBERS = st.floats(0, 1e6).map(lambda number: round(number, 3))  # as reports have them
POINTS = st.lists(st.tuples(*[NUMBERS] * 4), max_size=30).map(sorted)


@given(counts=COUNTS, width=st.floats(1, 5_000))
def test_the_parts_of_a_bar_are_the_whole_bar_and_each_is_seen(counts: dict[str, int], width: float) -> None:
    parts = charts.segments(counts, width)
    assert [name for name, *_ in parts] == [name for name, count in counts.items() if count]
    assert all(length > 0 for *_, length in parts)
    place = 0.0
    for _, start, length in parts:
        assert start == pytest.approx(place)
        place += length
    assert not parts or place == pytest.approx(width)


@given(counts=COUNTS)
def test_a_longer_part_is_of_more_rows(counts: dict[str, int]) -> None:
    lengths = {name: length for name, _, length in charts.segments(counts)}
    for name in lengths:
        for other in lengths:
            if counts[name] >= counts[other]:
                assert lengths[name] >= lengths[other] - 1e-9


@given(points=POINTS)
def test_rows_a_second_add_up_to_the_rows(points: list[tuple[float, float, float, float]]) -> None:
    risen = [(seconds, float(index), 0.0, 0.0) for index, (seconds, *_) in enumerate(points)]
    together = sum(rate * (stop - start) for start, stop, rate in charts.rates(risen, 1))
    apart = sum(1 for before, after in pairwise(risen) if after[0] > before[0])
    assert together == pytest.approx(apart, rel=1e-6, abs=1e-6)


@given(points=POINTS, ceiling=st.floats(0, 1e6), runs=st.lists(COUNTS, max_size=25))
def test_every_chart_is_whole_names_itself_and_stays_in_its_frame(
    points: list[tuple[float, float, float, float]], ceiling: float, runs: list[dict[str, int]]
) -> None:
    drawn = [
        charts.throughput(points, ceiling, "<pace>")[0],
        charts.last_runs([charts.Run("<r>", counts, 1.0) for counts in runs], "<runs>"),
        *(charts.stacked_bar(counts, "<rows>") for counts in runs),
    ]
    for chart in drawn:
        svg = ElementTree.fromstring(chart)
        assert svg.get("role") == "img"
        assert svg.get("aria-label") == svg[0].text
        assert "style" not in chart, "the policy permits none"
        for place in re.findall(r'(?: x| y|x1|y1)="(-?[\d.]+)"', chart):
            assert -1 <= float(place) <= charts.WIDTH + 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.25, "0.2 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61.2, "1 min 1 s"),
        (3_600, "1 h"),
        (5_400, "1 h 30 min"),
    ],
)
def test_durations_are_said_as_people_do(seconds: float, words: str) -> None:
    assert charts.duration(seconds) == words
