"""Runs of days that are over: they do not turn people back to what they were, unless somebody says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_klaviyo.cli.program import main
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator
from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator
from tests.integration.conftest import LIST_SYNC, Run, Shop, Sync, Warehouse, emails, run_operator

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC)
OLD_DAY = {"ada@shop.io", "bob@shop.io", "old@shop.io"}
TODAY = {"ada@shop.io", "bob@shop.io", "new@shop.io"}


def of_day(days_ago: float) -> dict[str, Any]:
    """The context of a Dag run over a day that ended so many days ago."""
    end = NOW - timedelta(days=days_ago)
    interval = {"data_interval_start": end - timedelta(days=1), "data_interval_end": end}
    run = SimpleNamespace(
        run_type="scheduled", logical_date=end - timedelta(days=1), run_after=end, start_date=NOW
    )
    run.__dict__.update(interval)
    return {"dag_run": run, **interval}


def by_hand(days_ago: float) -> dict[str, Any]:
    """The context of a run without an interval, as a trigger by hand or by an asset makes it; it was cleared now."""
    names = ("data_interval_start", "data_interval_end", "logical_date")
    run = SimpleNamespace(run_type="manual", run_after=NOW - timedelta(days=days_ago), start_date=NOW)
    run.__dict__.update(dict.fromkeys(names))
    return {"dag_run": run}


def writes(klaviyo: Emulator) -> int:
    return sum(request.method != "GET" for request in klaviyo.requests())


@pytest.fixture
def mirror(klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync) -> Callable[..., Run]:
    """Makes the list that of a day."""
    klaviyo.add_list("VIPs")

    def run(people: set[str], context: dict[str, Any] | None, **parameters: Any) -> Run:
        warehouse.hold(*sorted(people))
        return list_sync("mirror", context=context, **parameters)

    return run


def vips(klaviyo: Emulator) -> set[str]:
    (known,) = klaviyo._account.lists
    return emails(klaviyo, known.id)


@pytest.mark.parametrize("strict", [False, True], ids=["tracked", "strict"])
@pytest.mark.parametrize("refresh", [False, True], ids=["", "full refresh"])
def test_a_run_of_three_weeks_ago_leaves_the_mirror_as_it_is_and_says_both_moments(
    klaviyo: Emulator, mirror: Callable[..., Run], strict: bool, refresh: bool
) -> None:
    assert mirror(TODAY, of_day(0), strict=strict).error is None
    before = writes(klaviyo)

    run = mirror(OLD_DAY, of_day(21), strict=strict, full_refresh=refresh, run_id="backfill__three_weeks_ago")

    assert "allow_older_run=True" in str(run.error)
    for moment in (NOW, NOW - timedelta(days=21)):
        assert moment.isoformat() in str(run.error)
    assert (vips(klaviyo), writes(klaviyo)) == (TODAY, before)
    assert mirror(TODAY, of_day(0), strict=strict).counts() == {"rows_read": 3, "unchanged": 3}


@pytest.mark.parametrize("word", [True, "True", "yes"])
def test_who_means_it_says_so_and_the_next_run_goes_on_from_there(
    klaviyo: Emulator, mirror: Callable[..., Run], word: object
) -> None:
    mirror(TODAY, of_day(0))
    run = mirror(OLD_DAY, of_day(21), allow_older_run=word)
    assert (run.error, run.summary["removed"], vips(klaviyo)) == (None, 1, OLD_DAY)
    assert mirror(OLD_DAY, of_day(20)).error is None
    assert mirror(TODAY, of_day(0)).error is None
    assert vips(klaviyo) == TODAY


def test_a_retry_and_a_clear_of_the_newest_run_are_not_older(
    klaviyo: Emulator, mirror: Callable[..., Run]
) -> None:
    newest = of_day(2)
    klaviyo.inject(Fault("status", "remove_profiles_from_list", status=400))
    mirror(OLD_DAY, of_day(3))
    assert mirror(TODAY, newest).error is not None
    assert mirror(TODAY, newest).error is None
    assert mirror(TODAY, newest).error is None


def test_a_run_that_failed_has_brought_the_state_nowhere(
    klaviyo: Emulator, mirror: Callable[..., Run]
) -> None:
    mirror(OLD_DAY, of_day(3))
    assert mirror(set(), of_day(1)).error is not None
    assert mirror(TODAY, of_day(2)).error is None
    assert "older" in str(mirror(OLD_DAY, of_day(3)).error)


def test_runs_without_an_interval_compare_by_when_they_were_due_not_by_when_they_were_cleared(
    klaviyo: Emulator, mirror: Callable[..., Run]
) -> None:
    assert mirror(TODAY, by_hand(5)).error is None
    assert mirror(TODAY, of_day(1)).error is None
    assert "older" in str(mirror(OLD_DAY, by_hand(5)).error)
    assert mirror(TODAY, by_hand(0.5)).error is None
    assert "older" in str(mirror(OLD_DAY, of_day(1)).error)
    assert mirror(TODAY, by_hand(0.5)).error is None


def test_an_interval_that_ends_tomorrow_does_not_keep_todays_runs_out(
    klaviyo: Emulator, mirror: Callable[..., Run]
) -> None:
    assert mirror(TODAY, of_day(-1)).error is None
    assert mirror(TODAY, None).error is None


def test_a_preview_of_an_older_run_shows_what_it_would_do_and_says_that_it_would_stop(
    klaviyo: Emulator, mirror: Callable[..., Run], caplog: pytest.LogCaptureFixture
) -> None:
    mirror(TODAY, of_day(0))
    run = mirror(OLD_DAY, of_day(21), preview=True)
    assert (run.error, run.summary["removed"]) == (None, 1)
    assert "A run would stop now" in caplog.text
    assert "A run would stop now" in run.report["notice"]
    assert vips(klaviyo) == TODAY


def test_the_moment_outlasts_failed_runs_and_is_shown(
    klaviyo: Emulator, mirror: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    mirror(TODAY, of_day(0))
    for _ in range(2):
        assert "older" in str(mirror(OLD_DAY, of_day(21)).error)
    main(["state", "show", "shop_to_klaviyo.sync_list"])
    assert f"has come to {NOW.isoformat()}" in capsys.readouterr().out


def test_what_has_no_moment_has_no_limit(
    klaviyo: Emulator, mirror: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("airflow_provider_klaviyo.sync.accounting.progress_after", lambda *_, **__: None)
        mirror(TODAY, of_day(0))
    assert mirror(OLD_DAY, of_day(21)).error is None


def test_every_sync_that_keeps_state_is_kept_from_it_and_every_other_is_not(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill_with_people(3)
    state = {"primary_key": "id", "only_changes": True}
    assert sync(**state, context=of_day(0)).error is None
    assert "older" in str(sync(**state, context=of_day(21)).error)
    assert "older" in str(sync(**state, context=of_day(21), wait_for_completion=False).error)
    assert sync(context=of_day(21)).error is None


def test_runs_that_do_not_wait_bring_the_state_forward_too(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(3)
    state = {"primary_key": "id", "only_changes": True, "wait_for_completion": False}
    assert sync(**state, context=of_day(0)).counts() == {"rows_read": 3, "pending": 3}
    assert "older" in str(sync(**state, context=of_day(21)).error)


def test_consent_of_an_older_run_is_not_sent(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    klaviyo.add_list("VIPs")
    names = ("sql", "sql_conn_id", "mapping", "list_name", "poll_interval", "timeout")
    settings = {name: LIST_SYNC[name] for name in names} | {"mode": "subscribe"}
    warehouse.hold("ada@shop.io")

    def consent(days: float) -> Run:
        operator = KlaviyoSyncSubscriptionsOperator(task_id="consent", **settings)
        return run_operator(operator, context=of_day(days))

    assert consent(0).error is None
    before = writes(klaviyo)
    assert "older" in str(consent(21).error)
    assert writes(klaviyo) == before


def test_events_of_former_days_are_sent_whatever_came_since(
    klaviyo: Emulator, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))

    def send(first: int, days: int) -> Run:
        operator = KlaviyoSyncEventsOperator(
            task_id="send",
            sql=f"SELECT id, email, '{NOW - timedelta(days=days)}' AS at FROM customers WHERE id >= {first}",
            sql_conn_id="shop",
            metric="Visited",
            mapping={"profile.email": "email", "time": "at"},
            primary_key="id",
            only_changes=True,
            timeout=60,
        )
        return run_operator(operator, context=of_day(days))

    shop.fill_with_people(3)
    assert send(3, 0).counts() == {"rows_read": 1, "accepted": 1}
    run = send(2, 21)
    assert run.error is None
    assert run.counts()["accepted"] == 1
