"""How each kind of entry is written: later releases read what is written today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.state.entries import kinds
from airflow_provider_klaviyo.state.entries.asked import Answered, Asking, Concluded
from airflow_provider_klaviyo.state.entries.entry import Entry, Written
from airflow_provider_klaviyo.state.entries.kinds import read_entry
from airflow_provider_klaviyo.state.entries.people import Identified, Leaving, Removed, Shared, Unshared
from airflow_provider_klaviyo.state.entries.rows import Doubt, Failed, Hashed, Job, Moved, Stale, Verdict
from airflow_provider_klaviyo.state.entries.runs import Refresh, Run, TakenOver
from airflow_provider_klaviyo.state.errors import StateUnreadable
from airflow_provider_klaviyo.state.replica import Replica
from airflow_provider_klaviyo.state.rows import Sent

ONE, TWO, MINUS = (
    b"\x01" + bytes(7),
    b"\x02" + bytes(7),
    b"\xff" * 8,
)
ROW = b"\x94\xc4\x08" + ONE + b"\xc4\x08" + TWO + b"\xc4\x08" + MINUS

WRITTEN: list[tuple[Entry, str, dict[str, Any], bytes]] = [
    (Doubt([Sent(1, 2, -1)], overrules=True), "doubt", {"rows": 1, "overrules": True}, ROW + b"\xc0"),
    (
        Doubt([Sent(1, 2, -1, "email\0a")], overrules=False),
        "doubt",
        {"rows": 1, "overrules": False},
        ROW + b"\x91\xa7email\0a",
    ),
    (Job(7, "J1", "profiles"), "job", {"ticket": 7, "job": "J1", "job_kind": "profiles"}, b""),
    (Verdict(7, [0], [2, 3]), "verdict", {"ticket": 7}, b"\x92\x91\x00\x92\x02\x03"),
    (Failed([1, 2]), "failed", {"rows": 2}, ONE + TWO),
    (Stale([-1]), "stale", {"rows": 1}, MINUS),
    (
        Moved([Sent(1, 2, -1)], is_acknowledged=True),
        "moved",
        {"rows": 1, "acknowledged": True},
        ROW + b"\xc0",
    ),
    (Hashed({1: 2}), "hashed", {"rows": 1}, b"\x92\xc4\x08" + ONE + b"\xc4\x08" + TWO),
    (Leaving([1]), "leaving", {"people": 1}, ONE),
    (Leaving([1], "monday"), "leaving", {"people": 1, "run": "monday"}, ONE),
    (Removed([1]), "removed", {"people": 1}, ONE),
    (
        Identified({1: ["01K"], -1: []}),
        "identified",
        {"people": 2},
        b"\x92\xc4\x10" + ONE + MINUS + b"\x92\x91\xa301K\x90",
    ),
    (Shared("email", {1: 2}), "shared", {"field": "email"}, ONE + TWO),
    (Unshared([1]), "unshared", {"identifiers": 1}, ONE),
    (Asking(1_795_000_000, {1: 2}), "asking", {"at": 1_795_000_000, "people": 1}, ONE + TWO),
    (Answered(7, is_taken=True), "answered", {"ticket": 7, "is_taken": True}, b""),
    (Concluded([-1]), "concluded", {"addresses": 1}, MINUS),
    (Refresh("monday"), "refresh", {"run": "monday"}, b""),
    (TakenOver("run monday, try 1"), "taken over", {"left_by": "run monday, try 1"}, b""),
    (Run({"run": "monday", "accepted": 3}), "run", {"run": "monday", "accepted": 3}, b""),
]


@pytest.mark.parametrize(
    ("entry", "kind", "facts", "payload"), WRITTEN, ids=[kind for _, kind, _, _ in WRITTEN]
)
def test_each_kind_is_written_like_this_and_read_again(
    entry: Entry, kind: str, facts: dict[str, Any], payload: bytes
) -> None:
    assert entry.written() == Written(kind, facts, payload)
    assert read_entry(Written(kind, facts, payload)) == entry


def test_a_job_of_a_build_that_knew_no_kinds_is_read() -> None:
    assert read_entry(Written("job", {"ticket": 7, "job": "J1"})) == Job(7, "J1", "")


def test_a_kind_of_a_later_release_is_named() -> None:
    with pytest.raises(StateUnreadable, match="'sealed', which this release does not know: upgrade"):
        read_entry(Written("sealed", {}))


def test_every_kind_is_tried_here_and_applies_itself(tmp_path: Path) -> None:
    assert {kind for _, kind, _, _ in WRITTEN} == set(kinds._KINDS)
    replica = Replica(tmp_path)
    applied = [Doubt([Sent(1, 2, 3)], overrules=False), *(entry for entry, *_ in WRITTEN)]
    for number, entry in enumerate(applied, 7):
        replica.serial = number
        entry.apply(replica)
    assert replica.runs == [{"run": "monday", "accepted": 3, "serial": replica.serial}]
    replica.close()
