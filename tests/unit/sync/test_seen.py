"""Who was met before."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.sync.seen import SeenPeople


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=6), max_size=8))
def test_the_first_of_several_rows_of_a_person_counts(
    chunks: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    met: set[str] = set()
    with closing(SeenPeople(tmp_path_factory.mktemp("people"))) as people:
        for chunk in chunks:
            expected = []
            for place, person in enumerate(chunk):
                if person in met:
                    expected.append(place)
                met.add(person)
            assert people.add(chunk) == expected


def test_a_chunk_of_any_size_is_no_problem(tmp_path: Path) -> None:
    chunk = [f"person {number}" for number in range(40_000)]
    with closing(SeenPeople(tmp_path)) as people:
        assert people.add(chunk) == []
        assert people.add([*chunk, "someone new"]) == list(range(40_000))
