"""The profiles operator, from a SQL database into the emulator."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.integration.conftest import SQL, Run, Shop, StartEmulator, Sync, run_operator
from tests.round_trips import RoundTrip, longest_chain

pytestmark = pytest.mark.integration

IMPORT = "bulk_import_profiles"


def stored(klaviyo: Emulator) -> dict[str, dict[str, Any]]:
    """The attributes of the emulator's profiles by e-mail address."""
    return {profile["email"]: profile for profile in klaviyo.iter_profiles()}


def imports(klaviyo: Emulator) -> int:
    return len(klaviyo.requests(IMPORT))


def reasons(run: Run) -> dict[object, str]:
    return {line["key"]: line["reason"] for line in run.rejects}


# --- what it is for -------------------------------------------------------------------------------------------------


def test_people_arrive_with_their_fields(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill([(1, "Ada@Shop.io", "+1 415 555 2671", "Ada", "gold"), (2, "bob@shop.io", None, None, None)])
    run = sync()
    assert run.error is None
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    people = stored(klaviyo)
    assert people["ada@shop.io"]["phone_number"] == "+14155552671"
    assert people["ada@shop.io"]["external_id"] == "1"
    assert people["ada@shop.io"]["properties"] == {"Tier": "gold"}
    assert set(people) == {"ada@shop.io", "bob@shop.io"}


def test_the_summary_has_what_the_readme_says_and_the_report_repeats_it(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill_with_people(3)
    run = sync()
    assert list(run.summary) == [
        "sync_type", "mode", "rows_read", "accepted", "unchanged", "skipped", "rejected", "pending", "removed",
        "warnings", "requests", "duration", "list_id", "rejected_path", "report_path", "preview",
    ]  # fmt: skip
    assert run.summary.items() <= run.report.items()
    assert json.loads(json.dumps(run.summary)) == run.summary
    assert run.summary["rejected_path"] is None
    assert run.summary["requests"] == len(klaviyo.requests())


def test_without_rows_nothing_is_called_and_the_log_says_so(
    klaviyo: Emulator, shop: Shop, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = sync()
    assert (run.error, run.counts(), klaviyo.requests()) == (None, {}, [])
    assert "no rows" in caplog.text


@pytest.mark.parametrize(("rows", "jobs"), [(1, 1), (10_000, 1), (10_001, 2)])
def test_ten_thousand_profiles_are_one_job(
    klaviyo: Emulator, shop: Shop, sync: Sync, rows: int, jobs: int
) -> None:
    shop.fill_with_people(rows)
    run = sync(mapping={"email": "email"})
    assert run.counts() == {"rows_read": rows, "accepted": rows}
    assert imports(klaviyo) == jobs


def test_five_megabytes_are_one_job_even_of_multi_byte_text(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill([(n, f"p{n}@shop.io", None, "ü" * 45_000, None) for n in range(120)])
    run = sync()
    assert run.counts() == {"rows_read": 120, "accepted": 120}
    sizes = [request.request_bytes for request in klaviyo.requests(IMPORT)]
    assert len(sizes) == 3
    assert max(sizes) <= 5_000_000


def test_a_second_run_changes_nothing(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(50)
    sync()
    before = stored(klaviyo)
    assert sync().counts() == {"rows_read": 50, "accepted": 50}
    assert {mail: {**a, "updated": 0} for mail, a in stored(klaviyo).items()} == {
        mail: {**a, "updated": 0} for mail, a in before.items()
    }


def test_columns_are_mapped_by_name_and_the_log_says_which_properties_are_sent(
    klaviyo: Emulator, shop: Shop, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shop.fill_with_people(1)
    run = sync(mapping=None)
    assert run.error is None
    (person,) = stored(klaviyo).values()
    assert person["properties"] == {"id": 1, "phone": "+14155550001", "tier": "gold"}
    assert "Custom properties sent: id, phone, tier" in caplog.text


def test_parameters_reach_the_query(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(5)
    run = sync(sql="SELECT * FROM customers WHERE id > ? AND tier LIKE 'g%'", parameters=[3])
    assert run.counts() == {"rows_read": 2, "accepted": 2}


@pytest.mark.parametrize("clear_nulls", [True, "true", ["first_name", "properties.Tier"]], ids=repr)
def test_clear_nulls_truly_clears(klaviyo: Emulator, shop: Shop, sync: Sync, clear_nulls: object) -> None:
    shop.fill_with_people(2)
    sync()
    shop.execute("UPDATE customers SET first_name = NULL, tier = NULL, phone = NULL WHERE id = 1")
    untouched = sync()
    assert untouched.error is None
    assert stored(klaviyo)["p1@shop.io"]["first_name"] == "P1"
    run = sync(clear_nulls=clear_nulls)
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    person = stored(klaviyo)["p1@shop.io"]
    assert not person.get("first_name")
    assert not person.get("properties")
    assert person["phone_number"] == "+14155550001"
    assert stored(klaviyo)["p2@shop.io"]["first_name"] == "P2"


def test_people_whose_fields_are_cleared_go_side_by_side(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(300)
    shop.execute("UPDATE customers SET first_name = NULL")
    klaviyo.inject(Fault("slow", count=None, seconds=0.1))
    assert sync(clear_nulls=True).counts() == {"rows_read": 300, "accepted": 300}
    sent = klaviyo.requests("create_or_update_profile")
    chain = longest_chain([RoundTrip("", each.time, each.time + each.seconds, each.status) for each in sent])
    assert len(sent) == 300
    assert len(chain) <= 110, "some fifty in a row, and the first alone"


# --- rows at fault --------------------------------------------------------------------------------------------------


def test_bad_rows_are_rejected_with_key_field_and_reason_and_the_good_ones_arrive(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill_with_people(100)
    shop.execute("UPDATE customers SET email = 'nobody' WHERE id = 7")
    shop.execute("UPDATE customers SET email = NULL WHERE id = 8")
    shop.execute("UPDATE customers SET phone = '12' WHERE id = 9")
    shop.execute("UPDATE customers SET email = 'P1@shop.io' WHERE id = 10")
    run = sync(primary_key="id", match_by="email", max_rejected=2)
    assert run.error is None
    assert run.counts() == {"rows_read": 100, "accepted": 97, "skipped": 1, "rejected": 2}
    assert run.summary["warnings"] == 1
    lines = {line["key"]: line for line in run.rejects}
    assert {key: (line["outcome"], line["field"]) for key, line in lines.items()} == {
        7: ("rejected", "email"),
        8: ("rejected", "email"),
        9: ("warning", "phone_number"),
        10: ("skipped", ""),
    }
    assert lines[7]["row"] == {
        "id": 7, "email": "nobody", "phone": "+14155550007", "first_name": "P7", "tier": "gold",
    }  # fmt: skip
    assert "phone_number" not in stored(klaviyo)["p9@shop.io"]
    assert len(stored(klaviyo)) == 97


def test_the_first_row_of_a_person_counts_however_the_address_is_spelt(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill(
        [(n, mail, None, f"V{n}", None) for n, mail in enumerate(["a@s.io", "b@s.io", " A@S.IO ", "b@s.io"])]
    )
    run = sync(
        sql="SELECT * FROM customers ORDER BY id DESC", mapping={"email": "email", "first_name": "first_name"}
    )
    assert run.counts() == {"rows_read": 4, "accepted": 2, "skipped": 2}
    assert {mail: person["first_name"] for mail, person in stored(klaviyo).items()} == {
        "a@s.io": "V2",
        "b@s.io": "V3",
    }


def test_too_many_rejected_rows_fail_the_task_after_every_good_row_was_sent(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill_with_people(100)
    shop.execute("UPDATE customers SET email = 'nobody' WHERE id <= 2")
    run = sync(match_by="email")
    assert type(run.error).__name__ == "AirflowFailException"
    for told in (
        "2 of 100 rows were rejected",
        "max_rejected=0.01",
        "allows 1",
        "email",
        run.summary["rejected_path"],
    ):
        assert told in str(run.error)
    assert len(stored(klaviyo)) == 98
    assert run.counts() == {"rows_read": 100, "accepted": 98, "rejected": 2}


@pytest.mark.parametrize(
    ("max_rejected", "fails"), [(2, False), (1, True), (0, True), (0.02, False), (0.0199, True)]
)
def test_max_rejected_is_a_number_or_a_share(
    klaviyo: Emulator, shop: Shop, sync: Sync, max_rejected: float, fails: bool
) -> None:
    shop.fill_with_people(100)
    shop.execute("UPDATE customers SET email = 'nobody' WHERE id <= 2")
    assert bool(sync(match_by="email", max_rejected=max_rejected).error) is fails


@pytest.mark.parametrize("pointers", ["all", "one", "none"])
def test_rows_that_klaviyo_refuses_do_not_sink_their_batch(
    start_emulator: StartEmulator, shop: Shop, sync: Sync, pointers: str
) -> None:
    klaviyo = start_emulator(
        pointers=pointers, phone_regions=frozenset({"US"}), bulk_phones="refused", rate_limits="off"
    )
    shop.fill_with_people(300)
    shop.execute("UPDATE customers SET phone = '+4930901' || (8000 + id) WHERE id IN (3, 77, 300)")
    run = sync(max_rejected=3, on_invalid="reject")
    assert run.error is None
    assert run.counts() == {"rows_read": 300, "accepted": 297, "rejected": 3}
    assert sorted(line["row"]["id"] for line in run.rejects) == [3, 77, 300]
    assert all("Klaviyo refused it" in line["reason"] for line in run.rejects)
    assert len(stored(klaviyo)) == 297


@pytest.mark.parametrize("named_by", ["full", "pointer", "payload"])
def test_import_errors_reach_their_rows_over_several_pages(
    start_emulator: StartEmulator, shop: Shop, sync: Sync, named_by: str
) -> None:
    klaviyo = start_emulator(import_errors=named_by)
    shop.fill_with_people(1_000)
    klaviyo.inject(Fault("job_fails", records=250))
    run = sync(max_rejected=250)
    assert run.counts() == {"rows_read": 1_000, "accepted": 750, "rejected": 250}
    assert sorted(line["row"]["id"] for line in run.rejects) == list(range(1, 251))
    assert all("Klaviyo rejected it" in line["reason"] for line in run.rejects)


def test_one_reason_of_many_jobs_is_counted_as_one(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill([(n, f"p{n}@shop.io", None, "x" * 99_000, None) for n in range(1, 151)])
    klaviyo.inject(Fault("job_cancelled", count=None))
    run = sync()
    assert run.counts() == {"rows_read": 150, "pending": 150}
    assert len(klaviyo.jobs()) > 2
    assert [reason["rows"] for reason in run.report["reasons"]] == [150]


def test_two_identifiers_of_two_people_are_a_conflict_of_that_row(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    klaviyo.add_profiles([{"email": "a@shop.io", "external_id": "2"}, {"email": "b@shop.io"}])
    shop.fill([(1, "c@shop.io", None, None, None), (2, "b@shop.io", None, None, None)])
    run = sync(max_rejected=1, match_by="email")
    assert run.counts() == {"rows_read": 2, "accepted": 1, "rejected": 1}
    assert run.rejects[0]["row"]["email"] == "b@shop.io"


def test_a_row_over_100_kb_is_refused_alone(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(10)
    shop.execute(f"UPDATE customers SET tier = '{'x' * 100_000}' WHERE id = 4")
    run = sync(max_rejected=1)
    assert run.counts() == {"rows_read": 10, "accepted": 9, "rejected": 1}
    assert "100,000" in run.rejects[0]["reason"]


def test_all_rows_bad_is_a_failure_that_sends_nothing(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill([(None, "nobody", "x", "y", "z")] * 5)
    run = sync()
    assert "5 of 5 rows were rejected" in str(run.error)
    assert klaviyo.requests() == []


# --- jobs -----------------------------------------------------------------------------------------------------------


def test_a_cancelled_job_acknowledges_nobody_and_fails_the_task_so_that_airflow_tries_again(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill_with_people(10)
    klaviyo.inject(Fault("job_cancelled", records=4))
    run = sync()
    assert type(run.error).__name__ == "KlaviyoRetryableError"
    assert run.counts() == {"rows_read": 10, "pending": 10}
    assert {line["outcome"] for line in run.rejects} == {"pending"}
    assert all("cancelled" in line["reason"] for line in run.rejects)
    assert sync().counts() == {"rows_read": 10, "accepted": 10}


def test_a_job_that_never_ends_meets_the_timeout(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(10)
    klaviyo.inject(Fault("job_stuck"))
    run = sync(timeout=1.5)
    assert type(run.error).__name__ == "KlaviyoTimeout"
    assert "1 import job has no result yet" in str(run.error)
    assert run.counts() == {"rows_read": 10, "pending": 10}
    assert run.report["error"].startswith("KlaviyoTimeout")


def test_a_job_whose_next_look_is_not_allowed_in_time_is_named(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator(extra={"rate_limit_share": 0.001})  # one look a minute
    shop.fill_with_people(10)
    klaviyo.inject(Fault("job_stuck"))
    run = sync(timeout=20)
    assert "1 import job has no result yet" in str(run.error)
    assert run.counts() == {"rows_read": 10, "pending": 10}


def test_without_waiting_the_jobs_are_returned_and_their_rows_are_pending(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator(job_seconds=600.0)
    shop.fill_with_people(10)
    run = sync(wait_for_completion=False)
    assert run.error is None
    assert run.counts() == {"rows_read": 10, "pending": 10}
    assert len(run.summary["job_ids"]) == 1
    assert run.report["open_jobs"] == [{"id": run.summary["job_ids"][0], "profiles": 10, "rows": "1-10"}]
    assert [request.operation for request in klaviyo.requests()] == [IMPORT]


# --- before the first write -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"mapping": {"email": "mail"}}, "no column 'mail'; did you mean 'email'"),
        ({"mapping": {"first_name": "first_name"}}, "Nothing identifies a person"),
        ({"mapping": {"emial": "email"}}, "did you mean 'email'"),
        ({"match_by": "klaviyo_id"}, "nothing is mapped to klaviyo_id"),
        ({"primary_key": "key"}, "primary_key: there is no column 'key'"),
        ({"phone_region": "XX"}, "phone_region"),
        ({"timezone": "Mars/Olympus"}, "IANA name"),
        ({"on_invalid": "ignore"}, "on_invalid must be"),
        ({"max_rejected": 1.5}, "max_rejected must be"),
        ({"preview": "maybe"}, "preview must be true or false"),
        ({"clear_nulls": ["email"]}, "clear_nulls names email"),
        ({"sql": "  "}, "sql is empty"),
        ({"sql": "SELECT 1 AS a, 2 AS a"}, "more than one column named 'a'"),
        ({"sql": "CREATE TABLE t (x)"}, "does more than read"),
        ({"sql_conn_id": "klaviyo_default"}, "no SQL database"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_what_cannot_work_ends_before_the_first_write_and_without_a_retry(
    klaviyo: Emulator, shop: Shop, sync: Sync, parameters: dict[str, Any], told: str
) -> None:
    shop.fill_with_people(3)
    run = sync(**parameters)
    assert type(run.error).__name__ == "AirflowFailException"
    assert told in str(run.error)
    assert klaviyo.requests() == []


def test_a_query_that_fails_at_once_is_the_databases_error_and_may_be_retried(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    run = sync(sql="SELECT * FROM nowhere")
    assert type(run.error).__name__ == "QueryFailed"
    assert "(sql_conn_id='shop'): no such table" in str(run.error)
    assert klaviyo.requests() == []


def test_a_query_that_fails_half_way_accounts_for_what_came_before(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill_with_people(10_000)
    sql = "SELECT id, email, phone, first_name, CASE WHEN id < 9000 THEN tier ELSE json('{') END AS tier FROM customers"
    run = sync(sql=sql)
    assert type(run.error).__name__ == "QueryFailed"
    assert "after 8,450 rows" in str(run.error)
    assert run.counts() == {"rows_read": 8_450, "accepted": 8_450}
    assert len(stored(klaviyo)) == 8_450


def test_a_wrong_key_ends_the_run_at_the_first_request(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator(key="pk_wrong")
    shop.fill_with_people(25_000)
    run = sync(mapping={"email": "email"})
    assert type(run.error).__name__ == "AirflowFailException"
    assert "does not accept the private API key" in str(run.error)
    assert run.counts() == {"rows_read": run.summary["rows_read"], "pending": run.summary["rows_read"]}
    assert len(run.rejects) == run.summary["pending"]
    assert len(klaviyo.requests()) == 1
    assert not stored(klaviyo)
    assert "pk_wrong" not in str(run.error) + json.dumps(run.report)


@pytest.mark.parametrize(
    "scopes",
    [("profiles:write", "profiles:read"), ("lists:write", "profiles:write")],
    ids=["cannot import", "cannot read jobs"],
)
def test_a_missing_scope_is_named_with_all_that_the_sync_needs(
    start_emulator: StartEmulator, shop: Shop, sync: Sync, scopes: tuple[str, ...]
) -> None:
    start_emulator(keys={"pk_narrow": scopes})
    shop.fill_with_people(3)
    run = sync()
    assert type(run.error).__name__ == "AirflowFailException"
    assert "lists:read, lists:write, profiles:read, profiles:write" in str(run.error)


def test_a_key_of_another_account_sends_nothing(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator(extra={"account_id": "Staged"})
    shop.fill_with_people(3)
    run = sync()
    assert type(run.error).__name__ == "AirflowFailException"
    for told in ("EmuLtr (Emulated Outfitters)", "Staged", "Nothing was sent"):
        assert told in str(run.error)
    assert [request.operation for request in klaviyo.requests()] == ["get_accounts"]


def test_storage_that_cannot_be_written_is_noticed_before_the_first_row(
    klaviyo: Emulator, shop: Shop, sync: Sync, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shop.fill_with_people(3)
    (tmp_path / "file").touch()
    for place in (str(tmp_path / "file" / "below"), "nowhere://bucket/path"):
        monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", place)
        run = sync()
        assert type(run.error).__name__ == "AirflowFailException"
        assert "[klaviyo] storage_path" in str(run.error)
        assert klaviyo.requests() == []


def test_a_refused_key_costs_one_request_however_many_batches_there_are(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator(keys={"pk_narrow": ()})
    klaviyo.inject(Fault("slow", seconds=0.3, count=None))
    shop.fill_with_people(40_000)
    run = sync(mapping={"email": "email"})
    assert "scopes" in str(run.error)
    assert len(klaviyo.requests()) == 1


def test_without_waiting_and_without_rows_there_are_no_jobs(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    assert sync(wait_for_completion=False).summary["job_ids"] == []


def test_pending_rows_weigh_more_than_rejected_ones_since_a_retry_helps_them(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill_with_people(10)
    shop.execute("UPDATE customers SET email = 'nobody' WHERE id <= 5")
    klaviyo.inject(Fault("job_cancelled"))
    run = sync(match_by="email")
    assert type(run.error).__name__ == "KlaviyoRetryableError"
    assert "5 of 10 rows have no verdict" in str(run.error)


def test_refused_single_upserts_blame_nobody_when_all_share_the_refusal(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill([(n, f"p{n}@shop.io", None, None, None) for n in range(30)])
    words = {
        "id": "1",
        "status": 400,
        "code": "invalid",
        "title": "No.",
        "detail": "No.",
        "source": {"pointer": "/data"},
    }
    klaviyo.inject(Fault("status", "create_or_update_profile", status=400, errors=(words,), count=None))
    run = sync(clear_nulls=["first_name"])
    assert run.counts() == {"rows_read": 30, "pending": 30}
    assert len(klaviyo.requests()) < 10


# --- faults ---------------------------------------------------------------------------------------------------------

FAULTS = {
    "429": Fault("status", IMPORT, status=429, retry_after=1, count=2),
    "503": Fault("status", IMPORT, status=503),
    "502 HTML": Fault("status", IMPORT, status=502, body="html"),
    "500 empty": Fault("status", IMPORT, status=500, body="empty"),
    "reset before": Fault("reset_before", IMPORT),
    "reset after": Fault("reset_after", IMPORT),
    "not JSON": Fault("not_json", IMPORT, body="html"),
    "slow": Fault("slow", IMPORT, seconds=0.5),
    "job not known yet": Fault("status", "get_bulk_import_profiles_job", status=404, count=2),
    "polls fail": Fault("status", "get_bulk_import_profiles_job", status=500, count=2),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_passing_fault_costs_time_and_nothing_else(
    klaviyo: Emulator, shop: Shop, sync: Sync, fault: Fault
) -> None:
    shop.fill_with_people(20)
    klaviyo.inject(fault)
    run = sync()
    assert run.error is None
    assert run.counts() == {"rows_read": 20, "accepted": 20}
    assert len(stored(klaviyo)) == 20


def test_errors_of_a_job_that_cannot_be_read_leave_its_rows_pending(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill_with_people(20)
    klaviyo.inject(Fault("job_fails", records=2))
    klaviyo.inject(Fault("status", "get_errors_for_bulk_import_profiles_job", status=404, count=None))
    run = sync()
    assert run.counts() == {"rows_read": 20, "pending": 20}
    assert "cannot be read" in run.rejects[0]["reason"]


def test_a_refusal_that_is_not_about_rows_stops_and_blames_nobody(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill_with_people(20)
    words = "Your account is suspended."
    entry = {
        "id": "1",
        "status": 400,
        "code": "invalid",
        "title": "No.",
        "detail": words,
        "source": {"pointer": "/data"},
    }
    klaviyo.inject(Fault("status", IMPORT, status=400, errors=(entry,), count=None))
    run = sync()
    assert words in str(run.error)
    assert run.counts() == {"rows_read": 20, "pending": 20}
    assert imports(klaviyo) < 20


def test_a_list_that_is_gone_stops_at_the_first_request_and_blames_no_row(
    start_emulator: StartEmulator, shop: Shop, tmp_path: Path, sync: Sync
) -> None:
    """As when it is deleted while the sync runs: it was there when it was looked up."""
    from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator

    klaviyo = start_emulator()
    words = "List ID NoList does not exist."
    entry = {"id": "1", "status": 400, "code": "invalid", "title": "Invalid input.", "detail": words}
    gone = entry | {"source": {"pointer": "/data"}}
    klaviyo.inject(Fault("status", IMPORT, status=400, errors=(gone,), count=None))
    shop.fill_with_people(200)
    operator = KlaviyoSyncListOperator(
        task_id="add", mode="add", list_name="VIPs", sql=SQL, sql_conn_id="shop", mapping={"email": "email"}
    )
    run = run_operator(operator)
    assert words in str(run.error)
    assert run.counts() == {"rows_read": 200, "pending": 200}
    assert imports(klaviyo) == 1


def test_a_wrong_host_is_a_clear_error(
    klaviyo: Emulator, shop: Shop, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "klaviyo", "password": "pk_x", "host": "http://127.0.0.1:9"}
    monkeypatch.setenv("AIRFLOW_CONN_KLAVIYO_DEFAULT", json.dumps(connection))
    shop.fill_with_people(3)
    run = sync(timeout=3)
    assert type(run.error).__name__ == "KlaviyoConnectionError"
    assert "Could not connect to http://127.0.0.1:9" in str(run.error)
    assert run.counts() == {"rows_read": 3, "pending": 3}


def test_killing_the_task_stops_the_sending(
    start_emulator: StartEmulator, shop: Shop, tmp_path: Path, sync: Sync
) -> None:
    from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
    from tests.integration.conftest import MAPPING, SQL, TaskInstance

    klaviyo = start_emulator()
    klaviyo.inject(Fault("status", IMPORT, status=503, count=None))
    shop.fill_with_people(10)
    operator = KlaviyoSyncProfilesOperator(
        task_id="t", sql=SQL, sql_conn_id="shop", mapping=MAPPING, timeout=600
    )
    ti = TaskInstance("t")
    killer = threading.Timer(1.0, operator.on_kill)
    killer.start()
    with pytest.raises(Exception, match="told to stop"):
        operator.execute({"ti": ti})  # type: ignore[arg-type, typeddict-item]
    assert ti.pushed["return_value"]["pending"] == 10


# --- preview --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preview", [True, "True", "true"])
def test_a_preview_does_everything_but_the_writes(
    klaviyo: Emulator, shop: Shop, sync: Sync, preview: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shop.fill_with_people(99)
    shop.fill([(100, "nobody", None, None, None)])
    run = sync(preview=preview, match_by="email")
    assert klaviyo.requests() == []
    assert run.counts() == {"rows_read": 100, "accepted": 99, "rejected": 1}
    assert run.summary["preview"] is True
    (request,) = Path(run.summary["report_path"]).parent.glob("*.preview-1.json")
    assert len(json.loads(request.read_text())["data"]["attributes"]["profiles"]["data"]) == 99
    assert "p1@shop.io" not in caplog.text
    assert "nothing was written" in caplog.text


def test_a_preview_of_false_writes(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill_with_people(1)
    assert sync(preview="False").summary["preview"] is False
    assert len(stored(klaviyo)) == 1


# --- privacy and files ----------------------------------------------------------------------------------------------


def test_logs_and_report_name_nobody_and_the_rejects_file_is_private(
    start_emulator: StartEmulator, shop: Shop, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    klaviyo = start_emulator(phone_regions=frozenset({"US"}), bulk_phones="refused")
    shop.fill_with_people(100)
    shop.execute("UPDATE customers SET phone = '+4930901820', email = 'jane.doe@shop.io' WHERE id = 50")
    shop.execute("UPDATE customers SET email = 'jane-doe-at-shop' WHERE id = 51")
    run = sync(match_by="email", max_rejected=0)
    assert run.error is not None
    told = caplog.text + json.dumps(run.report) + json.dumps(run.summary) + str(run.error)
    for secret in ("jane", "901820", "P50", klaviyo.api_key):
        assert secret not in told
    assert Path(run.summary["rejected_path"]).stat().st_mode & 0o077 == 0


def test_old_files_are_deleted_and_others_left_alone(
    klaviyo: Emulator, shop: Shop, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import time

    shop.fill_with_people(1)
    folder = Path(sync().summary["report_path"]).parent
    old, foreign = folder / "x.report.json", folder / "notes.txt"
    for file in (old, foreign):
        file.touch()
        os.utime(file, (0, time.time() - 31 * 86_400))
    sync()
    assert (old.exists(), foreign.exists()) == (False, True)
