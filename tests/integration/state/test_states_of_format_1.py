"""The package is updated over the states of the release before: nothing is sent again for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.state.stored import FORMAT
from airflow_provider_klaviyo.sync.storage import Storage
from tests.integration.conftest import Run, StartEmulator, run_operator
from tests.integration.state import states_of_format_1 as before
from tests.integration.state.brought import bring

pytestmark = pytest.mark.integration

OTHERWISE = (
    "SELECT tag, lines, at, vip, rate, spent::numeric(12, 4), city, first_name, phone, email, id FROM people"
)
NAMES = list(before.SYNCS)


@pytest.fixture
def table(postgres_uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    with psycopg.connect(postgres_uri) as connection:
        connection.execute(before.TABLE)
    in_session_zone(monkeypatch, postgres_uri, "UTC")
    return postgres_uri


def in_session_zone(monkeypatch: pytest.MonkeyPatch, uri: str, zone: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"{uri}?options=-c%20timezone%3D{zone.replace('/', '%2F')}")


@pytest.fixture
def klaviyo(
    table: str, start_emulator: StartEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Emulator:
    klaviyo = start_emulator(subscription_seconds=0.0, rate_limits="off")
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path))
    list_id = klaviyo.add_list(before.LIST, opt_in_process="single_opt_in")
    for name in NAMES:
        source = before.source_of(name)
        bring(source, Storage(tmp_path).states / source.name, b"1", base_URL=klaviyo.url, list=list_id)
    return klaviyo


def run(name: str, **more: Any) -> Run:
    return run_operator(before.operator_of(name, **more))


def reordered(name: str) -> dict[str, Any]:
    mapping = before.SYNCS[name].parameters["mapping"]
    return {"sql": OTHERWISE, "mapping": dict(reversed(mapping.items()))}


def writes(klaviyo: Emulator, name: str) -> int:
    return sum(len(klaviyo.requests(operation)) for operation in before.SYNCS[name].writes)


UNCHANGED = {"rows_read": before.ROWS, "unchanged": before.ROWS}


@pytest.mark.parametrize("name", NAMES)
def test_the_first_run_after_the_update_sends_nothing_and_later_ones_know_the_meaning(
    klaviyo: Emulator, table: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert run(name, preview=True).counts() == UNCHANGED
    first = run(name)
    assert (first.error, first.counts()) == (None, UNCHANGED)
    in_session_zone(monkeypatch, table, "Asia/Kolkata")
    second = run(name, **reordered(name))
    assert (second.error, second.counts()) == (None, UNCHANGED)
    assert writes(klaviyo, name) == 0


@pytest.mark.parametrize("name", ["profiles", "events", "adds", "consent"])
def test_rows_that_are_met_later_are_known_too(klaviyo: Emulator, name: str) -> None:
    for least in (7, 1, 1):
        known = {"rows_read": before.ROWS + 1 - least, "unchanged": before.ROWS + 1 - least}
        assert run(name, sql=f"SELECT * FROM people WHERE id >= {least} ORDER BY id DESC").counts() == known
    assert writes(klaviyo, name) == 0


def test_what_has_changed_since_is_sent_and_what_was_recorded_stays(klaviyo: Emulator, table: str) -> None:
    with psycopg.connect(table) as connection:
        connection.execute("UPDATE people SET spent = 99 WHERE id = 5")
        connection.execute("UPDATE people SET email = upper(email) WHERE id = 6")
        connection.execute("UPDATE people SET email = 'right@shop.io' WHERE id = 7")
    assert run("profiles").counts() == {"rows_read": 12, "accepted": 2, "unchanged": 10}
    events = run("events")
    assert events.counts() == {"rows_read": 12, "unchanged": 10, "skipped": 2}
    assert {line["key"]: "another person" in line["reason"] for line in events.rejects} == {5: False, 7: True}


def test_the_release_before_says_that_it_cannot_read_what_this_one_wrote(
    klaviyo: Emulator, tmp_path: Path
) -> None:
    run("profiles")
    (folder,) = tmp_path.glob("sync-state/shop_to_klaviyo.profiles-*")
    written_in = {file.read_bytes().split(b" ")[0] for file in sorted(folder.glob("*.entry"))[1:]}
    assert written_in == {b"%d" % FORMAT}, (
        "a release that knows format 1 alone stops at the number, and names it"
    )
