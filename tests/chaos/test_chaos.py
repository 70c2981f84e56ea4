"""Some seeds of the chaos run; ``python -m tests.chaos`` lives through thousands."""

from __future__ import annotations

import os

import pytest

from tests.chaos.scenario import live
from tests.striking import let_go

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    # A worker that is struck leaves files open; its process would end.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SEEDS = int(os.environ.get("KLAVIYO_TESTS_CHAOS", "16"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_sync_that_lived_through_chaos_ends_as_an_undisturbed_one(seed: int) -> None:
    story, fault = live(seed)
    let_go()
    assert not fault, "\n".join([f"python -m tests.chaos --seeds {seed} --tell", *story.lines, fault])
