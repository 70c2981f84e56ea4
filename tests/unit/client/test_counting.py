"""A slot is held no longer than a request may still have to be counted, whatever is random about when that is."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from airflow_provider_klaviyo.client.counting import Counting
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.client.rate_limit_slots import Rate
from tests.unit.client.test_rate_limit import HOLD, VirtualTime, most_in_any_window

BURST = Rate(10, 1.0)

Draw = Callable[[random.Random, float], tuple[float, float]]
"""Seconds until a request is counted, and from there until its answer, at a time since the beginning."""


def steady(dice: random.Random, _: float) -> tuple[float, float]:
    return 0.05 + dice.uniform(0, 0.01), 0.24 + dice.uniform(0, 0.02)


def network_varies(dice: random.Random, _: float) -> tuple[float, float]:
    return dice.uniform(0.01, 0.2), 0.2


def klaviyo_varies(dice: random.Random, _: float) -> tuple[float, float]:
    return 0.03, dice.uniform(0.2, 0.5)


def both_vary(dice: random.Random, _: float) -> tuple[float, float]:
    return dice.uniform(0.0, 0.2), dice.uniform(0.0, 0.3)


def mostly_quick(dice: random.Random, _: float) -> tuple[float, float]:
    return 0.02 + dice.expovariate(20), 0.1 + dice.expovariate(5)


def two_kinds(dice: random.Random, _: float) -> tuple[float, float]:
    return 0.02, 0.05 if dice.random() < 0.2 else 0.6


def stalls(dice: random.Random, _: float) -> tuple[float, float]:
    return (1.5 if dice.random() < 0.05 else 0.02), (1.5 if dice.random() < 0.05 else 0.1)


def slower_later(dice: random.Random, now: float) -> tuple[float, float]:
    return 0.02 + dice.uniform(0, 0.01), (0.1 if now < 10 else 0.4) + dice.uniform(0, 0.02)


def run(draw: Draw, seed: int, *, seconds: float = 20.0, workers: int = 14) -> list[float]:
    """When requests were counted that a client sends as fast as it may."""
    dice, time, counted = random.Random(seed), VirtualTime(), list[float]()
    start, counting = time.time, Counting()
    limiter = RateLimiter(MemoryWindows(), account="a", share=1.0, clock=time)

    def send_all_the_time() -> None:
        while time.time < start + seconds:
            before, after = draw(dice, time.time - start)
            with limiter.permit("e", [BURST], hold=HOLD, lead=counting.lead) as permit:
                counted.append(time.time + before)
                time.sleep(before + after)
                counting.hear(before + after)
                permit.counted_by = time.time - min(counting.lead, before + after)

    time.run([send_all_the_time] * workers)
    return counted


@pytest.mark.parametrize(
    "draw",
    [steady, network_varies, klaviyo_varies, both_vary, mostly_quick, two_kinds, stalls, slower_later],
)
def test_no_window_holds_too_many_however_both_ways_vary(draw: Draw) -> None:
    assert most_in_any_window(run(draw, seed=1), BURST.seconds) <= BURST.limit


def test_what_answers_steadily_late_costs_nearly_nothing_of_the_window() -> None:
    at_once = run(lambda *_: (0.0, 0.0), 1)
    late = run(steady, 1)
    assert len(late) > 0.95 * len(at_once)


def test_nothing_is_spared_before_there_are_answers_enough_nor_where_they_say_nothing() -> None:
    counting = Counting()
    for _ in range(7):
        counting.hear(0.3)
    assert counting.lead == 0
    counting.hear(0.3)
    assert counting.lead == pytest.approx(0.3)
    varied = Counting()
    for number in range(200):
        varied.hear(0.1 + 0.01 * (number % 40))
    assert varied.lead == 0


def test_it_forgets_a_network_that_was_slower_and_minds_a_quicker_one_at_once() -> None:
    counting = Counting()
    for seconds in (*[0.3] * 100, 0.1):
        counting.hear(seconds)
    assert counting.lead == 0, "the middle is far from the least"
    for _ in range(300):
        counting.hear(0.6)
    assert counting.lead == pytest.approx(0.6)


def test_after_klaviyo_throttled_nothing_is_spared_for_longer_each_time() -> None:
    counting = Counting()

    def answers_until_spared() -> int:
        for number in range(1, 10_000):
            counting.hear(0.3)
            if counting.lead:
                return number
        return 10_000

    needed = []
    for _ in range(3):
        needed.append(answers_until_spared())
        counting.doubt()
    assert counting.lead == 0
    assert needed == sorted(set(needed))
