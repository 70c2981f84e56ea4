"""What is written another way and means the same is no change, in any sync type; what means another thing is one."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from airflow_provider_klaviyo.emulator import Emulator
from tests.integration.conftest import Run, StartEmulator, run_operator
from tests.integration.state import states_of_format_1 as shop

pytestmark = pytest.mark.integration

ALL = {"rows_read": shop.ROWS, "accepted": shop.ROWS}
UNCHANGED = {"rows_read": shop.ROWS, "unchanged": shop.ROWS}
OTHERWISE = (
    "SELECT tag, lines, at, vip, rate, spent::numeric(12, 4), city, first_name, phone, email, id FROM people"
)


@pytest.fixture
def table(postgres_uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    with psycopg.connect(postgres_uri) as connection:
        connection.execute(shop.TABLE)
    in_session_zone(monkeypatch, postgres_uri, "Europe/Berlin")
    return postgres_uri


@pytest.fixture
def klaviyo(
    table: str, start_emulator: StartEmulator, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Emulator:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path))
    klaviyo = start_emulator(subscription_seconds=0.0, rate_limits="off")
    klaviyo.add_list(shop.LIST, opt_in_process="single_opt_in")
    return klaviyo


def in_session_zone(monkeypatch: pytest.MonkeyPatch, uri: str, zone: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"{uri}?options=-c%20timezone%3D{zone.replace('/', '%2F')}")


def run(name: str, **more: Any) -> Run:
    return run_operator(shop.operator_of(name, **more))


def update(uri: str, what: str) -> None:
    with psycopg.connect(uri) as connection:
        connection.execute(f"UPDATE people SET {what}")


@pytest.mark.parametrize("name", list(shop.SYNCS))
def test_another_session_zone_order_and_scale_send_nothing(
    klaviyo: Emulator, table: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert run(name).counts() == ALL
    sent = len(klaviyo.requests())
    in_session_zone(monkeypatch, table, "America/St_Johns")
    assert run(name).counts() == UNCHANGED
    mapping = dict(reversed(shop.SYNCS[name].parameters["mapping"].items()))
    assert run(name, sql=OTHERWISE, mapping=mapping).counts() == UNCHANGED
    update(table, "phone = '(415) 555-' || right(phone, 4), email = upper(email)")
    assert run(name, phone_region="US").counts() == UNCHANGED
    written = [each.operation for each in klaviyo.requests()[sent:]]
    assert not set(written) & set(shop.SYNCS[name].writes)


CHANGES = {"profiles": ALL, "events": {"rows_read": shop.ROWS, "skipped": shop.ROWS}}


@pytest.mark.parametrize("name", list(CHANGES))
@pytest.mark.parametrize(
    "change",
    [
        "spent = spent + 0.01",
        "at = at + interval '1 microsecond'",
        "rate = rate + 1e-9",
        """lines = jsonb_set(lines, '{1,price}', '"1.50"')""",
    ],
)
def test_a_change_of_the_meaning_is_one(klaviyo: Emulator, table: str, name: str, change: str) -> None:
    run(name)
    update(table, change)
    assert run(name).counts() == CHANGES[name]


def test_a_number_that_becomes_text_is_sent_as_such(klaviyo: Emulator, table: str) -> None:
    mapping = {"external_id": "id", "properties.Spent": "spent"}
    run("profiles", mapping=mapping, clear_nulls=False)
    as_text = "SELECT id, spent::text FROM people"
    assert run("profiles", sql=as_text, mapping=mapping, clear_nulls=False).counts() == ALL
    assert klaviyo.profile(external_id="1")["properties"]["Spent"] == "2.50"


def test_consent_of_another_person_under_a_key_is_looked_at_anew(klaviyo: Emulator, table: str) -> None:
    klaviyo.add_profiles([{"external_id": str(number)} for number in range(1, 40)])
    by_id = {"email": "email", "external_id": "number", "consented_at": "at"}

    def run_by_id(added: int) -> dict[str, int]:
        sql = f"SELECT id, id + {added} AS number, email, at FROM people"
        more = {"mapping": by_id, "match_by": "external_id", "channels": ("email",)}
        return run("consent", sql=sql, **more).counts()

    assert run_by_id(0) == ALL
    assert run_by_id(0) == UNCHANGED
    assert run_by_id(20) == ALL


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("profiles", "email = 'right@shop.io'"),
        ("adds", "phone = '+14155559999'"),
        ("mirror", "email = 'right@shop.io'"),
    ],
)
def test_the_person_whom_a_row_was_corrected_to_is_sent(
    klaviyo: Emulator, table: str, name: str, change: str
) -> None:
    run(name)
    update(table, f"{change} WHERE id = 3")
    corrected = run(name)
    assert corrected.counts() == {"rows_read": 12, "accepted": 1, "unchanged": 11}
    assert corrected.summary["removed"] == (name == "mirror")
