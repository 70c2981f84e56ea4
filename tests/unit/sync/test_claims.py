"""Who came first with a value, in memory and behind it."""

from __future__ import annotations

import random
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.sync.claims import Claims

CHUNKS = st.lists(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 3)), max_size=12), max_size=10)


@settings(max_examples=50, deadline=None)
@given(
    chunks=CHUNKS,
    quick=st.sampled_from((0, 5, 100)),
    slots=st.sampled_from((2, 8, 128)),
    words=st.sampled_from((1, 8, 4_096)),
)
def test_the_first_claimant_keeps_a_value_wherever_it_is_kept(
    tmp_path_factory: pytest.TempPathFactory,
    chunks: list[list[tuple[int, int]]],
    quick: int,
    slots: int,
    words: int,
) -> None:
    holders: dict[int, int] = {}
    folder: Path = tmp_path_factory.mktemp("claims")
    with closing(Claims(folder / "claims", quick=quick, slots=slots, filter_words=words)) as claims:
        for chunk in chunks:
            expected = {}
            for place, (value, claimant) in enumerate(chunk):
                if holders.setdefault(value, claimant) != claimant:
                    expected[place] = holders[value]
            values, claimants = [value for value, _ in chunk], [claimant for _, claimant in chunk]
            assert claims.claim(values, claimants) == expected


def test_values_of_any_sign_are_told_apart(tmp_path: Path) -> None:
    values = [1, -1, 2**63 - 1, -(2**63), 2**40]
    with closing(Claims(tmp_path / "claims", quick=0, slots=4)) as claims:
        assert claims.claim(values, [7] * 5) == {}
        assert claims.claim(values, [8] * 5) == dict.fromkeys(range(5), 7)


def test_whoever_came_first_is_found_in_every_index_on_disk(tmp_path: Path) -> None:
    dice = random.Random(1)
    values = [dice.getrandbits(64) - (1 << 63) for _ in range(10_000)]
    claimants = list(range(len(values)))
    with closing(Claims(tmp_path / "claims", quick=300, slots=1_024, filter_words=256)) as claims:
        for start in range(0, len(values), 500):
            assert claims.claim(values[start : start + 500], claimants[start : start + 500]) == {}
        assert (tmp_path / "claims-indexes").stat().st_size >= 10 * 4 * 512
        assert claims.claim(values, [-1] * len(values)) == dict(enumerate(claimants))


@pytest.mark.parametrize("name", ["claims-claims", "claims-indexes"])
def test_a_file_that_was_cut_off_is_an_error_and_no_value_is_taken_for_new(tmp_path: Path, name: str) -> None:
    with closing(Claims(tmp_path / "claims", quick=0, slots=8, filter_words=1)) as claims:
        claims.claim(list(range(1, 8)), [7] * 7)
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(OSError, match="shorter than what was written"):
            claims.claim([1], [8])


def test_memory_stays_as_it_is_from_the_first_index_on_disk_on(tmp_path: Path) -> None:
    few, many = (_peak_of(tmp_path / str(count), count) for count in (2_000, 20_000))
    assert many <= 1.05 * few


def _peak_of(path: Path, count: int) -> int:
    """Bytes that claims take at the most while so many values are claimed."""
    dice = random.Random(count)
    tracemalloc.start()
    try:
        with closing(Claims(path, quick=500, slots=2_048, filter_words=1_024)) as claims:
            for start in range(0, count, 500):
                claims.claim(
                    [dice.getrandbits(64) - (1 << 63) for _ in range(500)], range(start, start + 500)
                )
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
