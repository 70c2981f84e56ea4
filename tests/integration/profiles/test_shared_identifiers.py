"""An identifier that several people of a query share stays with one of them, and the others stay who they are.

The emulator's account lets a later record take over whatever identifier it names, which is what must not happen.
"""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.cli.program import main
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.sync.batching import BatchLimits
from airflow_provider_klaviyo.sync.profiles.sync_type import ProfilesSync
from tests.integration.conftest import Run, Shop, StartEmulator, Sync, run_operator

pytestmark = pytest.mark.integration

NUMBER, OTHER = "+14155552671", "+14155552672"


@pytest.fixture
def klaviyo(start_emulator: StartEmulator) -> Emulator:
    return start_emulator(conflicts="take_over", rate_limits="off")


def household(shop: Shop, *numbers: str | None, first: int = 1) -> None:
    """People p1@shop.io, p2@shop.io and so on with these numbers."""
    shop.execute("DELETE FROM customers")
    shop.fill([(n, f"p{n}@shop.io", number, f"P{n}", None) for n, number in enumerate(numbers, first)])


def numbers(klaviyo: Emulator) -> dict[str, str | None]:
    """Everybody's number, by first name; nobody has another's name."""
    people = klaviyo.profiles()
    for person in people:
        assert person["email"].partition("@")[0].upper() == person["first_name"]
    return {person["first_name"]: person.get("phone_number") for person in people}


def shared(run: Run) -> list[tuple[int, str]]:
    """The rows that were sent without something that another has, and without what."""
    lines = [line for line in run.rejects if "another person" in line["reason"]]
    for line in lines:
        assert line["outcome"] == "warning"
        assert not any(
            str(value) in line["reason"] for value in line["row"].values() if value and len(str(value)) > 2
        )
    return [(line["row_number"], line["field"]) for line in lines]


def by_email(sync: Sync, **parameters: Any) -> Run:
    return sync(**{"match_by": "email", "primary_key": "id", "max_rejected": 1.0} | parameters)


def test_three_customers_with_one_number_stay_three(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    household(shop, NUMBER, "(415) 555-2671", "+1 415.555.2671", OTHER)
    run = by_email(sync, phone_region="US")
    assert run.counts() == {"rows_read": 4, "accepted": 4}
    assert numbers(klaviyo) == {"P1": NUMBER, "P2": None, "P3": None, "P4": OTHER}
    assert shared(run) == [(2, "phone_number"), (3, "phone_number")]


def test_without_state_the_order_of_each_run_decides_and_reading_again_changes_nothing(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    household(shop, NUMBER, NUMBER)
    for _ in range(2):
        assert shared(by_email(sync)) == [(2, "phone_number")]
        assert numbers(klaviyo) == {"P1": NUMBER, "P2": None}


def test_an_id_and_an_address_are_shared_like_a_number(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill(
        [(1, "Ada@shop.io", None, "C-7", None), (2, "ada@SHOP.io", None, "C-8", None),
         (3, "eve@shop.io", None, " C-7 ", None)]
    )  # fmt: skip
    by_address = sync(
        mapping={"email": "email", "external_id": "first_name"}, match_by="email", max_rejected=1.0
    )
    assert by_address.counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}
    assert [(each["email"], each.get("external_id")) for each in klaviyo.profiles()] == [
        ("ada@shop.io", "C-7"), ("eve@shop.io", None)
    ]  # fmt: skip
    klaviyo.reset()
    by_id = sync(
        mapping={"email": "email", "external_id": "first_name"}, match_by="external_id", max_rejected=1.0
    )
    assert by_id.counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}
    assert [(each["external_id"], each.get("email")) for each in klaviyo.profiles()] == [
        ("C-7", "ada@shop.io"), ("C-8", None)
    ]  # fmt: skip


def test_klaviyos_own_id_is_one_persons_too(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    (known,) = klaviyo.add_profiles([{"email": "p1@shop.io"}])
    shop.fill([(n, f"p{n}@shop.io", known, f"P{n}", None) for n in (1, 2)])
    run = by_email(sync, mapping={"email": "email", "klaviyo_id": "phone", "first_name": "first_name"})
    assert numbers(klaviyo) == {"P1": None, "P2": None}
    assert shared(run) == [(2, "klaviyo_id")]


def test_who_is_not_sent_keeps_nothing(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    household(shop, NUMBER, NUMBER, OTHER, OTHER)
    shop.execute("UPDATE customers SET email = 'nobody' WHERE id = 1")
    shop.execute("UPDATE customers SET email = 'P2@shop.io' WHERE id = 3")
    run = by_email(sync)
    assert run.counts() == {"rows_read": 4, "accepted": 2, "skipped": 1, "rejected": 1}
    assert numbers(klaviyo) == {"P2": NUMBER, "P4": OTHER}
    assert shared(run) == []


# --- across runs ------------------------------------------------------------------------------------------------


def test_a_later_query_that_holds_only_the_others_sends_it_for_none_of_them(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    household(shop, NUMBER, NUMBER, NUMBER)
    by_email(sync, only_changes=True)
    shop.execute("UPDATE customers SET tier = 'gold'")
    some = by_email(sync, only_changes=True, sql="SELECT * FROM customers WHERE id > 1 ORDER BY id DESC")
    assert some.counts() == {"rows_read": 2, "accepted": 2}
    assert shared(some) == [(1, "phone_number"), (2, "phone_number")]
    assert numbers(klaviyo) == {"P1": NUMBER, "P2": None, "P3": None}


def test_another_order_or_a_full_refresh_takes_it_from_nobody(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    household(shop, NUMBER, NUMBER)
    by_email(sync, only_changes=True)
    last_first = "SELECT * FROM customers ORDER BY id DESC"
    assert by_email(sync, only_changes=True, sql=last_first).counts() == {"rows_read": 2, "unchanged": 2}
    again = by_email(sync, only_changes=True, sql=last_first, full_refresh=True)
    assert again.counts() == {"rows_read": 2, "accepted": 2}
    assert numbers(klaviyo) == {"P1": NUMBER, "P2": None}


def test_it_is_free_when_klaviyo_has_another_of_who_kept_it(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    household(shop, NUMBER, NUMBER)
    by_email(sync, only_changes=True)
    household(shop, OTHER, NUMBER)
    by_email(sync, only_changes=True)
    assert numbers(klaviyo) == {"P1": OTHER, "P2": None}
    for _ in range(2):  # one run to see that Klaviyo has the other number, one to send this
        by_email(sync, only_changes=True)
    assert numbers(klaviyo) == {"P1": OTHER, "P2": NUMBER}


def test_it_is_not_free_when_who_kept_it_has_none_now_since_klaviyo_clears_no_identifier(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    household(shop, NUMBER, NUMBER)
    by_email(sync, only_changes=True)
    household(shop, None, NUMBER)
    for _ in range(3):
        by_email(sync, only_changes=True)
    assert numbers(klaviyo) == {"P1": NUMBER, "P2": None}


def test_a_run_that_broke_off_between_them_is_no_reason_to_send_it_for_the_other(
    klaviyo: Emulator, shop: Shop, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProfilesSync, "limits", BatchLimits(1, 1_000_000))
    household(shop, NUMBER, NUMBER)
    klaviyo.inject(Fault("status", "bulk_import_profiles", status=403, skip=1))
    assert by_email(sync, only_changes=True).error
    assert numbers(klaviyo) == {"P1": NUMBER}

    only_the_other = by_email(sync, only_changes=True, sql="SELECT * FROM customers WHERE id = 2")

    assert only_the_other.counts() == {"rows_read": 1, "accepted": 1}
    assert shared(only_the_other) == [(1, "phone_number")]
    assert numbers(klaviyo) == {"P1": NUMBER, "P2": None}


@pytest.mark.parametrize("known_by", [("--email", "p1@shop.io"), ("--phone-number", "(+1) 415 555 2671")])
def test_who_is_forgotten_keeps_nothing(
    klaviyo: Emulator, shop: Shop, sync: Sync, known_by: tuple[str, str]
) -> None:
    household(shop, NUMBER, NUMBER)
    by_email(sync, only_changes=True)
    assert main(["state", "forget", *known_by, "--yes"]) == 0
    klaviyo.reset()  # as when the person is deleted there, too
    by_email(sync, only_changes=True, sql="SELECT * FROM customers WHERE id = 2", full_refresh=True)
    assert numbers(klaviyo) == {"P2": NUMBER}


def test_a_preview_leaves_it_to_nobody(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    household(shop, NUMBER, NUMBER)
    assert shared(by_email(sync, only_changes=True, preview=True)) == [(2, "phone_number")]
    by_email(sync, only_changes=True, sql="SELECT * FROM customers WHERE id = 2")
    assert numbers(klaviyo) == {"P2": NUMBER}


# --- people known by another identifier -----------------------------------------------------------------------------


def test_who_is_known_only_by_anothers_number_is_that_person(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    household(shop, NUMBER, NUMBER)
    shop.execute("UPDATE customers SET email = NULL WHERE id = 2")
    run = sync(max_rejected=1.0)
    assert run.counts() == {"rows_read": 2, "accepted": 1, "skipped": 1}
    (person,) = klaviyo.profiles()
    assert (person["email"], person["first_name"], person["external_id"]) == ("p1@shop.io", "P1", "1")


def test_who_came_first_by_a_number_alone_keeps_it(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    household(shop, NUMBER, NUMBER)
    shop.execute("UPDATE customers SET email = NULL WHERE id = 1")
    run = sync(max_rejected=1.0)
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    assert [(each.get("email"), each.get("phone_number")) for each in klaviyo.profiles()] == [
        (None, NUMBER), ("p2@shop.io", None)
    ]  # fmt: skip


# --- events -----------------------------------------------------------------------------------------------------


def events(shop: Shop, **parameters: Any) -> Run:
    from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator

    settings: dict[str, Any] = {
        "sql": "SELECT id, email, phone, tier FROM customers ORDER BY id",
        "sql_conn_id": "shop",
        "metric": "Placed Order",
        "primary_key": "id",
        "mapping": {"profile.email": "email", "profile.phone_number": "phone", "profile.external_id": "tier"},
        "timeout": 60,
        "max_rejected": 1.0,
    }
    return run_operator(KlaviyoSyncEventsOperator(task_id="send_orders", **(settings | parameters)))


def of_whom(klaviyo: Emulator) -> list[tuple[Any, ...]]:
    """Everybody with a number and how many events."""
    counts = [event["profile"]["id"] for event in klaviyo.iter_events()]
    return [
        (each.get("email"), each.get("phone_number"), counts.count(each["id"])) for each in klaviyo.profiles()
    ]


def test_events_of_three_customers_with_one_number_are_three_peoples(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill([(n, f"p{n % 3}@shop.io", NUMBER, None, None) for n in range(1, 7)])
    run = events(shop)
    assert run.counts() == {"rows_read": 6, "accepted": 6}
    assert of_whom(klaviyo) == [
        ("p1@shop.io", NUMBER, 2), ("p2@shop.io", None, 2), ("p0@shop.io", None, 2)
    ]  # fmt: skip
    assert [row for row, _ in shared(run)] == [2, 3, 5, 6]


def test_an_event_of_a_number_alone_is_of_who_keeps_it_and_brings_no_other_id(
    klaviyo: Emulator, shop: Shop, sync: Sync
) -> None:
    shop.fill([(1, "p1@shop.io", NUMBER, None, "C-1"), (2, None, NUMBER, None, "C-2")])
    run = events(shop)
    assert run.counts() == {"rows_read": 2, "accepted": 2}
    assert of_whom(klaviyo) == [("p1@shop.io", NUMBER, 2)]
    assert klaviyo.profiles()[0]["external_id"] == "C-1"
    assert shared(run) == [(2, "external_id")]


def test_events_of_a_later_query_bring_nobody_elses_number(klaviyo: Emulator, shop: Shop, sync: Sync) -> None:
    shop.fill([(n, f"p{n}@shop.io", NUMBER, None, None) for n in (1, 2)])
    events(shop, only_changes=True)
    shop.fill([(3, "p2@shop.io", NUMBER, None, None)])
    later = events(shop, only_changes=True, sql="SELECT id, email, phone, tier FROM customers WHERE id = 3")
    assert shared(later) == [(1, "phone_number")]
    assert of_whom(klaviyo) == [("p1@shop.io", NUMBER, 1), ("p2@shop.io", None, 2)]
