"""How long pages of profiles take."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.emulator.core.page_times import page_seconds

HUNDRED = {"data": [{}] * 100}


@pytest.mark.parametrize(
    ("operation", "query", "seconds"),
    [
        ("get_profiles", "page%5Bsize%5D=100", 0.3),
        ("get_profiles_for_list", "", 0.3),
        ("get_profiles", "additional-fields%5Bprofile%5D=subscriptions", 0.6),
        ("get_profiles", "filter=equals(subscriptions.email.marketing.suppression.reason,%22X%22)", 1.6),
        ("get_lists", "", 0.0),
    ],
)
def test_a_page_takes_as_long_as_it_was_seen_to(operation: str, query: str, seconds: float) -> None:
    assert page_seconds(operation, query, HUNDRED) == pytest.approx(seconds)


def test_what_shows_nobody_takes_no_time() -> None:
    assert page_seconds("get_profiles", "", {"data": []}) == 0
    assert page_seconds("get_profiles", "", None) == 0


@pytest.mark.parametrize(("page_times", "is_slow"), [("real", True), ("off", False)])
def test_an_account_may_take_its_time(
    emulator: Emulator, caller: Any, page_times: Any, is_slow: bool
) -> None:
    emulator.set(page_times=page_times)
    emulator.add_profiles([{"email": f"p{number}@mail.com"} for number in range(100)])
    began = time.monotonic()
    caller.data("/api/profiles", **{"page[size]": "100", "additional-fields[profile]": "subscriptions"})
    assert (time.monotonic() - began >= 0.6) or not is_slow
