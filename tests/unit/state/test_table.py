"""The table against a dictionary that does the same."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_klaviyo.state.errors import StateUnreadable
from airflow_provider_klaviyo.state.rows import Known, Status
from airflow_provider_klaviyo.state.table import StateTable

KEYS = st.lists(st.integers(-5, 5), max_size=6)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("mark"),
            st.dictionaries(st.integers(-5, 5), st.tuples(st.integers(0, 3), st.integers(0, 3))),
        ),
        st.tuples(st.just("set_status"), KEYS),
        st.tuples(st.just("settle"), KEYS),
        st.tuples(st.just("overrule"), KEYS),
        st.tuples(st.just("forget"), KEYS),
        st.tuples(st.just("meet"), KEYS),
        st.tuples(st.just("freeze"), st.none()),
    ),
    max_size=20,
)


@given(operations=OPERATIONS, statuses=st.data())
def test_it_knows_what_a_dictionary_knows(  # noqa: C901 - one branch for each operation
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, object]], statuses: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("table")
    with ExitStack() as tables:
        table = StateTable(folder / "0.sqlite")
        tables.callback(table.close)
        model: dict[int, tuple[int, int, Status, int]] = {}
        seen: set[int] = set()
        has_begun = False
        for serial, (name, given_keys) in enumerate(operations, 1):
            keys: list[int] = list(given_keys or [])  # type: ignore[call-overload]
            status = statuses.draw(st.sampled_from(Status))
            if name == "mark":
                rows = [(key, *given_keys[key], None) for key in keys]  # type: ignore[index]
                if has_begun:  # a run only marks what it has met
                    seen |= set(keys) - model.keys()
                table.mark(rows, status, serial)
                model.update({key: (*given_keys[key], status, serial) for key in keys})  # type: ignore[index]
            elif name == "set_status":
                table.set_status(keys, status, serial)
                for key in set(keys) & model.keys():
                    model[key] = (*model[key][:2], status, serial)
            elif name == "settle":
                sent = statuses.draw(st.integers(1, serial))
                table.settle(keys, sent, status, serial)
                for key in set(keys) & model.keys():
                    if model[key][2:] == (Status.IN_DOUBT, sent):
                        model[key] = (*model[key][:2], status, serial)
            elif name == "overrule":
                persons = statuses.draw(st.lists(st.integers(0, 3)))
                table.overrule(keys, persons, serial)
                for key, (fingerprint, person, is_now, _) in list(model.items()):
                    if person and person in persons and key not in keys and is_now is Status.ACKNOWLEDGED:
                        model[key] = (fingerprint, person, Status.STALE, serial)
            elif name == "meet":
                expected, has_begun = [], True
                for key in keys:
                    expected.append(key not in seen)
                    seen.add(key)
                met = table.meet(keys, serial // 2)
                assert met.is_first == expected
                assert met.acknowledged == {
                    key: model[key][0]
                    for key in set(keys) & model.keys()
                    if model[key][2] is Status.ACKNOWLEDGED and model[key][3] > serial // 2
                }
                assert met.persons == {key: model[key][1] for key in met.acknowledged}
            else:
                if name == "forget":
                    table.forget(keys)
                    for key in keys:
                        model.pop(key, None)
                table.freeze(folder / f"{serial}.sqlite")
                table, seen, has_begun = StateTable(folder / f"{serial}.sqlite"), set(), False
                tables.callback(table.close)
            everything = list(range(-5, 6))
            assert table.look_up(everything) == {
                key: Known(fingerprint, status, serial)
                for key, (fingerprint, _, status, serial) in model.items()
            }
            if has_begun:
                unseen = [model[key][1] for key in model.keys() - seen]
                assert sorted(person for part in table.unseen() for person in part) == sorted(unseen)
            assert sum(table.counts().values()) == len(model)
            assert table.is_empty() == (not model)
            assert set(table.keys_of_person(2)) == {key for key, row in model.items() if row[1] == 2}


def test_a_table_of_another_release_is_named(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "t.sqlite")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StateUnreadable, match="form 99"):
        StateTable(tmp_path / "t.sqlite")


def test_more_rows_than_one_statement_takes(tmp_path: Path) -> None:
    table = StateTable(tmp_path / "t.sqlite")
    keys = list(range(25_000))
    table.mark([(key, 1, key, None) for key in keys], Status.IN_DOUBT, 1)
    table.settle(keys, 1, Status.ACKNOWLEDGED, 2)
    assert table.counts() == {Status.ACKNOWLEDGED: 25_000}
    assert [person for part in table.unseen() for person in part] == keys
    table.close()
