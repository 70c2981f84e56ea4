"""Who came first with a value, in memory and behind it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.sync.claims import Claims

CHUNKS = st.lists(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 3)), max_size=12), max_size=10)


@settings(max_examples=50, deadline=None)
@given(
    chunks=CHUNKS,
    quick=st.sampled_from((0, 5, 100)),
    slots=st.sampled_from((2, 8, 128)),
    bits=st.sampled_from((3, 6, 27)),
)
def test_the_first_claimant_keeps_a_value_wherever_it_is_kept(
    tmp_path_factory: pytest.TempPathFactory,
    chunks: list[list[tuple[int, int]]],
    quick: int,
    slots: int,
    bits: int,
) -> None:
    holders: dict[int, int] = {}
    folder: Path = tmp_path_factory.mktemp("claims")
    with closing(Claims(folder / "claims.sqlite", quick=quick, slots=slots, filter_bits=bits)) as claims:
        for chunk in chunks:
            expected = {}
            for place, (value, claimant) in enumerate(chunk):
                if holders.setdefault(value, claimant) != claimant:
                    expected[place] = holders[value]
            values, claimants = [value for value, _ in chunk], [claimant for _, claimant in chunk]
            assert claims.claim(values, claimants) == expected


def test_values_of_any_sign_are_told_apart(tmp_path: Path) -> None:
    values = [1, -1, 2**63 - 1, -(2**63), 2**40]
    with closing(Claims(tmp_path / "claims.sqlite", quick=0, slots=4)) as claims:
        assert claims.claim(values, [7] * 5) == {}
        assert claims.claim(values, [8] * 5) == dict.fromkeys(range(5), 7)
