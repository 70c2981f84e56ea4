"""The diff against a naive model, over random sequences of nights with changes, failures and kills of jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.records.record import Mapped, Record
from airflow_provider_klaviyo.state.keys import key_hashes
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.sync.changes import OnlyChanges
from airflow_provider_klaviyo.sync.delivery.acknowledgements import KeptState

pytestmark = pytest.mark.integration

ROWS = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(1, 6)), st.sampled_from("abc"), st.integers(1, 2)), max_size=8
)
"""Key, person, content."""

FATES = st.sampled_from(["accepted", "failed", "pending", "killed before", "killed after", "job and kill"])
NIGHTS = st.lists(
    st.tuples(ROWS, st.lists(FATES, min_size=4, max_size=4), st.booleans(), st.booleans()), max_size=5
)


def opened(folder: Path, scratch: Path) -> Ledger:
    scratch.mkdir(parents=True)
    return open_ledger(store_of(folder), scratch, {"state_key": "test"}, writer="test", now=lambda: 0.0)


def mapped(rows: list[tuple[Any, ...]]) -> Mapped:
    records = [
        Record(number, row, row[1], f"{row[1]}{row[2]}".encode()) for number, row in enumerate(rows, 1)
    ]
    return Mapped(records, [], [])


@given(nights=NIGHTS)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_row_is_sent_unless_klaviyo_has_acknowledged_it_as_it_is(  # noqa: C901 - model and test step by step
    tmp_path_factory: pytest.TempPathFactory, nights: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    model: dict[int, tuple[str, int]] = {}  # what is acknowledged under a key
    for night, (rows, fates, refreshes, compacts) in enumerate(nights):
        ledger = opened(folder / "log", folder / f"scratch-{night}")
        assert not ledger.open_jobs or night
        for left in ledger.open_jobs:  # an earlier try's job turns out well
            ledger.settle(left.ticket)
            for row in left.rows:
                key, person, content = by_hash(row.key, row.fingerprint, nights)
                model[key] = (person, content)
        if refreshes:
            ledger.refresh(f"night {night}")
            model.clear()
        changes, state = OnlyChanges(ledger), KeptState(ledger)
        changes.describe([0], "email")
        keyed = changes.keyed(rows, 1, mapped(rows).records)
        first: dict[int, tuple[Any, ...]] = {}
        for row in rows:
            if row[0] is not None:
                first.setdefault(row[0], row)
        assert [record.row for record in keyed.records] == list(first.values())
        assert len(keyed.rejected) == sum(row[0] is None for row in rows)
        assert len(keyed.skipped) == len(rows) - len(first) - len(keyed.rejected)

        people: set[str] = set()
        records, repeated = [], []
        for record in keyed.records:
            (repeated if record.identity in people else records).append(record)
            people.add(record.identity)
        changes.overruled(repeated)
        for record in repeated:
            model.pop(record.row[0], None)

        sent = changes.unsent(records).records
        assert [each.row[0] for each in sent] == [
            each.row[0] for each in records if model.get(each.row[0]) != each.row[1:]
        ]

        was_killed = False
        for batch, fate in zip((sent[:2], sent[2:4], sent[4:]), fates, strict=False):
            if not batch or was_killed or fate == "killed before":
                was_killed = was_killed or fate == "killed before"
                continue
            ticket = state.mark_in_doubt(batch)
            for record in batch:
                model.pop(record.row[0], None)
                for key, (person, _) in list(model.items()):
                    if person == record.row[1]:
                        del model[key]
            if fate == "killed after":
                was_killed = True
                continue
            state.start(ticket, f"job {night} {ticket}", "")
            if fate == "job and kill":
                was_killed = True
            elif fate == "failed":
                state.settle(ticket, failed=range(len(batch)))
            elif fate == "pending":
                state.settle(ticket, pending=range(len(batch)))
            else:
                state.settle(ticket)
                model.update({record.row[0]: record.row[1:] for record in batch})
        if not was_killed:
            ledger.record_run({"run": f"night {night}", "succeeded": True})
            if compacts:
                ledger.compact()
        ledger.close()


def by_hash(key: int, fingerprint: int, nights: list[tuple[Any, ...]]) -> tuple[int, str, int]:
    """The row behind hashes, among all that occur."""
    from airflow_provider_klaviyo.state.keys import fingerprints

    for rows, *_ in nights:
        for row in rows:
            if row[0] is not None and key_hashes([row[:1]]) == [key]:
                (found,) = fingerprints([f"{row[1]}{row[2]}".encode()])
                if found == fingerprint:
                    return row
    raise LookupError
