"""A mirror that leaves the waiting to the triggerer: who left is removed by whatever worker comes back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.sync import deferral
from tests.airflow.conftest import FillShop

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.usefixtures("storage")]


@pytest.fixture
def job_seconds() -> float:
    return 1.0


class Shop:
    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(sql)

    def hold(self, *people: tuple[int, str]) -> None:
        self.run("DELETE FROM people")
        for number, email in people:
            self.run(f"INSERT INTO people VALUES ({number}, '{email}')")


@pytest.fixture
def shop(fill_shop: FillShop) -> Shop:
    return Shop(fill_shop("people (id INTEGER, email TEXT)"))


@pytest.fixture
def mirror(run_in_airflow: Callable[[Any], Any]) -> Callable[..., Any]:
    """Runs a Dag of one mirror; its task instance."""

    def run(**parameters: Any) -> Any:
        from airflow.sdk import DAG

        settings: dict[str, Any] = {
            "mode": "mirror",
            "list_name": "VIPs",
            "sql": "SELECT id, email FROM people ORDER BY id",
            "sql_conn_id": "shop",
            "primary_key": "id",
            "poll_interval": 0.5,
            "timeout": 60,
            "deferrable": True,
            "defer_after": 0,
            "max_rejected": 1.0,
        }
        with DAG("deferred_mirror", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
            KlaviyoSyncListOperator(task_id="sync", **(settings | parameters))
        (ti,) = run_in_airflow(dag).get_task_instances()
        return ti

    return run


def members(klaviyo: Emulator) -> set[str]:
    (known,) = klaviyo._account.lists
    return {member["email"] for member in klaviyo.members(known.id)}


@pytest.mark.parametrize("strict", [False, True], ids=["tracked", "strict"])
def test_who_left_is_removed_after_coming_back(
    klaviyo: Emulator,
    shop: Shop,
    mirror: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strict: bool,
) -> None:
    remembered: list[bytes] = []
    save = deferral.Deferral.save

    def spied(*args: Any) -> list[str]:
        remembered.append(args[5])
        return save(*args)

    monkeypatch.setattr(deferral.Deferral, "save", spied)
    shop.hold(
        (1, "ada@shop.io"), (2, "bob@shop.io"), (3, "eve@shop.io"), (4, "old@shop.io"), (5, "was@shop.io")
    )
    first = mirror(strict=strict)
    assert first.state == "success"
    klaviyo.inject(Fault("job_fails", match="refused@shop.io"))
    shop.hold((2, "bob@shop.io"), (3, "eve@shop.io"), (4, "new@shop.io"), (5, "refused@shop.io"))

    ti = mirror(strict=strict)

    assert ti.state == "success"
    summary = ti.xcom_pull(task_ids="sync")
    counts = ("rows_read", "accepted", "unchanged", "rejected", "pending", "removed")
    assert {name: summary[name] for name in counts} == {
        "rows_read": 4,
        "accepted": 1,
        "unchanged": 2,
        "rejected": 1,
        "pending": 0,
        "removed": 2,
    }
    assert members(klaviyo) == {"bob@shop.io", "eve@shop.io", "new@shop.io", "was@shop.io"}
    assert len(remembered) == 2
    assert not any(b"@" in each for each in remembered), "people travel as hashes and ids"
    assert not list(tmp_path.rglob("*.deferred*")), "something was left behind"


def test_a_profile_with_two_addresses_stays_also_after_coming_back(
    klaviyo: Emulator, shop: Shop, mirror: Callable[..., Any]
) -> None:
    """The worker that removes has not read the query, and knows all the same whom it names."""
    (known,) = klaviyo.add_profiles([{"email": "main@shop.io"}])
    klaviyo.add_email(known, "second@shop.io")
    shop.hold((1, "second@shop.io"), (2, "bob@shop.io"), (5, "old@shop.io"))
    mirror()
    shop.hold((1, "second@shop.io"), (2, "bob@shop.io"), (3, "main@shop.io"), (5, "old@shop.io"))
    mirror()
    shop.hold((2, "bob@shop.io"), (3, "main@shop.io"), (4, "new@shop.io"))
    assert mirror().xcom_pull(task_ids="sync")["removed"] == 1
    assert members(klaviyo) == {"bob@shop.io", "main@shop.io", "new@shop.io"}
    shop.hold((1, "second@shop.io"), (2, "bob@shop.io"))
    assert mirror(strict=True).xcom_pull(task_ids="sync")["removed"] == 1
    assert members(klaviyo) == {"bob@shop.io", "main@shop.io"}


def test_too_many_removals_stop_a_mirror_that_comes_back(
    klaviyo: Emulator, shop: Shop, mirror: Callable[..., Any], tmp_path: Path
) -> None:
    shop.hold((1, "ada@shop.io"), (2, "bob@shop.io"))
    mirror()
    shop.hold((3, "eve@shop.io"))
    ti = mirror(max_removals=1)
    assert ti.state == "failed"
    assert members(klaviyo) == {"ada@shop.io", "bob@shop.io", "eve@shop.io"}
    assert ti.xcom_pull(task_ids="sync")["removed"] == 0
    assert not list(tmp_path.rglob("*.deferred*")), "rows were left behind"
    assert mirror(max_removals=2).xcom_pull(task_ids="sync")["removed"] == 2


@pytest.fixture
def mirror_by_hand() -> Callable[..., Any]:
    """Executes the operator as one try of a task; what it was deferred with, or its summary."""
    from tests.integration.conftest import TaskInstance

    def run(try_number: int, **parameters: Any) -> Any:
        operator = KlaviyoSyncListOperator(
            task_id="sync",
            mode="mirror",
            list_name="VIPs",
            sql="SELECT id, email FROM people ORDER BY id",
            sql_conn_id="shop",
            primary_key="id",
            poll_interval=0.5,
            timeout=60,
            **parameters,
        )
        try:
            return operator.execute({"ti": TaskInstance("sync", try_number=try_number)})  # type: ignore[typeddict-item]
        except BaseException as deferred:
            if type(deferred).__name__ != "TaskDeferred":
                raise
            return deferred

    return run


def test_a_retry_in_place_of_coming_back_leaves_no_rows_behind(
    klaviyo: Emulator, shop: Shop, mirror_by_hand: Callable[..., Any], tmp_path: Path
) -> None:
    shop.hold((1, "ada@shop.io"))
    mirror_by_hand(1, deferrable=True, defer_after=0)
    assert len(list(tmp_path.rglob("*.deferred*"))) == 2
    assert mirror_by_hand(2, deferrable=False)["accepted_earlier"] == 1
    assert not list(tmp_path.rglob("*.deferred*"))
