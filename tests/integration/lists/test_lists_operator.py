"""People onto a list and off it, in the words of those who keep lists."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.integration.conftest import Run, Shop, StartEmulator, Sync, Warehouse, emails

pytestmark = pytest.mark.integration

ADD, REMOVE, FIND = "bulk_import_profiles", "remove_profiles_from_list", "get_profiles_for_list"
EVERY_COLUMN = "SELECT key, email, phone, customer, klaviyo FROM people ORDER BY place"


def calls(klaviyo: Emulator, *operations: str) -> dict[str, int]:
    counted = {name: len(klaviyo.requests(name)) for name in operations}
    return {name: count for name, count in counted.items() if count}


def add_people(klaviyo: Emulator, *people: dict[str, Any]) -> list[str]:
    return klaviyo.add_profiles(people)


# --- add -------------------------------------------------------------------------------------------------------


def test_people_are_on_the_list_afterwards_and_the_list_is_created(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    warehouse.hold("Ada@shop.io", "bob@shop.io")
    run = list_sync("add", opt_in_process="single_opt_in")
    assert (run.error, run.counts()) == (None, {"rows_read": 2, "accepted": 2})
    assert emails(klaviyo, run.summary["list_id"]) == {"ada@shop.io", "bob@shop.io"}
    assert (run.summary["sync_type"], run.summary["mode"], run.summary["removed"]) == ("list", "add", 0)
    assert calls(klaviyo, "create_list", ADD) == {"create_list": 1, ADD: 1}
    assert list_sync("add").summary["list_id"] == run.summary["list_id"]
    assert calls(klaviyo, "create_list") == {"create_list": 1}


def test_without_a_name_the_list_is_named_as_the_task(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    warehouse.hold("ada@shop.io")
    known = klaviyo.add_list("newsletter")
    assert list_sync("add", list_name=None, task_id="newsletter").summary["list_id"] == known


@pytest.mark.parametrize(
    ("field", "column", "value"),
    [
        ("email", "email", "ada@shop.io"),
        ("phone_number", "phone", "+1 415 555 2671"),
        ("external_id", "customer", "C-7"),
    ],
)
def test_people_who_do_not_exist_are_created_by_any_identifier(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, field: str, column: str, value: str
) -> None:
    warehouse.hold({"key": "a", column: value})
    run = list_sync("add", sql=EVERY_COLUMN, mapping={field: column})
    assert run.counts() == {"rows_read": 1, "accepted": 1}
    (member,) = klaviyo.members(run.summary["list_id"])
    assert member[field].replace(" ", "") == value.replace(" ", "")


def test_a_placeholder_puts_nobody_on_the_list(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    warehouse.hold(*({"key": str(n), "customer": id_} for n, id_ in enumerate(("C-7", "nan", "NULL", "0"))))
    run = list_sync("add", sql=EVERY_COLUMN, mapping={"external_id": "customer"})
    assert run.counts() == {"rows_read": 4, "accepted": 1, "rejected": 3}
    assert {line["reason"].partition(" ")[2][:11] for line in run.rejects} == {"placeholder"}
    assert [member["external_id"] for member in klaviyo.members(run.summary["list_id"])] == ["C-7"]


def test_klaviyos_own_ids_go_onto_the_list_directly_a_thousand_a_request(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    ids = klaviyo.add_profiles([{"email": f"p{n}@shop.io"} for n in range(1_001)])
    warehouse.hold(*({"key": each, "klaviyo": each} for each in ids), {"key": "x", "klaviyo": "01NOBODY"})
    run = list_sync("add", sql=EVERY_COLUMN, mapping={"klaviyo_id": "klaviyo"})
    assert run.counts() == {"rows_read": 1_002, "accepted": 1_001, "rejected": 1}
    assert len(klaviyo.members(run.summary["list_id"])) == 1_001
    assert calls(klaviyo, ADD, "add_profiles_to_list") == {"add_profiles_to_list": 3}  # one was refused


def test_nothing_but_the_identifier_is_written_and_the_log_says_what_is_left_alone(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    warehouse.hold({"key": "a", "email": "ada@shop.io", "phone": "+14155552671", "customer": "C-7"})
    run = list_sync("add", sql=EVERY_COLUMN, mapping=None)
    (member,) = klaviyo.members(run.summary["list_id"])
    assert member["email"] == "ada@shop.io"
    assert {"phone_number", "external_id", "properties"} & {
        name for name, value in member.items() if value
    } == set()
    assert "Left alone: key, phone, customer, klaviyo" in caplog.text


ANY_IDENTIFIER = {
    "klaviyo_id": "klaviyo",
    "email": "email",
    "phone_number": "phone",
    "external_id": "customer",
}


def test_a_row_without_the_identifier_is_known_by_another_one_that_is_mapped(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    (known,) = add_people(klaviyo, {"email": "known@shop.io"})
    warehouse.hold(
        {"key": "a", "phone": "+14155552671"},
        {"key": "b", "email": "ada@shop.io", "phone": "+14155552672"},
        {"key": "c", "klaviyo": known, "email": "other@shop.io"},
        {"key": "d", "email": "nobody", "customer": "C-7"},
        {"key": "e"},
        {"key": "f", "phone": "+14155552671"},
    )

    run = list_sync("add", sql=EVERY_COLUMN, mapping=ANY_IDENTIFIER, primary_key="key", max_rejected=1.0)

    assert run.counts() == {"rows_read": 6, "accepted": 4, "skipped": 1, "rejected": 1}
    assert {(line["key"], line["outcome"]) for line in run.rejects} == {
        ("d", "warning"),
        ("e", "rejected"),
        ("f", "skipped"),
    }
    members = klaviyo.members(run.summary["list_id"])
    told = [
        {member[name] for name in ("email", "phone_number", "external_id") if member.get(name)}
        for member in members
    ]
    assert sorted(told, key=str) == sorted(
        [{"+14155552671"}, {"ada@shop.io"}, {"known@shop.io"}, {"C-7"}], key=str
    )

    again = list_sync("remove", sql=EVERY_COLUMN, mapping=ANY_IDENTIFIER, primary_key="key", max_rejected=1.0)
    assert again.counts() == {"rows_read": 6, "accepted": 4, "skipped": 1, "rejected": 1}
    assert klaviyo.members(run.summary["list_id"]) == []


def test_what_match_by_names_is_the_only_thing_that_people_are_known_by(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    warehouse.hold({"key": "a", "phone": "+14155552671"}, {"key": "b", "email": "ada@shop.io"})
    run = list_sync("add", sql=EVERY_COLUMN, mapping=ANY_IDENTIFIER, match_by="email", max_rejected=1.0)
    assert run.counts() == {"rows_read": 2, "accepted": 1, "rejected": 1}


def test_an_invalid_identifier_rejects_its_row_when_that_is_asked_for(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    warehouse.hold(
        {"key": "a", "email": "nobody", "phone": "+14155552671"}, {"key": "b", "phone": "+14155552672"}
    )
    run = list_sync("add", sql=EVERY_COLUMN, mapping=ANY_IDENTIFIER, on_invalid="reject", max_rejected=1.0)
    assert run.counts() == {"rows_read": 2, "accepted": 1, "rejected": 1}


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"email": "email", "first_name": "key"}, "KlaviyoSyncProfilesOperator"),
        ({"email": "email", "properties.Tier": "key"}, "KlaviyoSyncProfilesOperator"),
        ({"emial": "email"}, "did you mean 'email'"),
        ({"email": "e_mail"}, "did you mean 'email'"),
    ],
)
def test_a_mapping_that_cannot_work_sends_nothing(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, mapping: dict[str, str], words: str
) -> None:
    warehouse.hold("ada@shop.io")
    run = list_sync("add", mapping=mapping)
    assert words in str(run.error)
    assert calls(klaviyo, ADD) == {}


def test_only_changes_adds_only_who_is_new(klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync) -> None:
    warehouse.fill(1, 20)
    list_sync("add", only_changes=True)
    warehouse.fill(21, 22)
    assert list_sync("add", only_changes=True).counts() == {"rows_read": 22, "accepted": 2, "unchanged": 20}


def test_two_rows_of_one_person_are_one_member_and_bad_rows_are_told(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    warehouse.hold(
        "ada@shop.io",
        {"key": "b", "email": "ADA@shop.io"},
        {"key": "c", "email": "nobody"},
        {"key": "d", "email": None},
    )
    run = list_sync("add")
    assert run.counts() == {"rows_read": 4, "accepted": 1, "skipped": 1, "rejected": 2}
    assert {line["key"]: line["outcome"] for line in run.rejects} == {
        "b": "skipped",
        "c": "rejected",
        "d": "rejected",
    }


# --- which list ---------------------------------------------------------------------------------------------------


def test_two_lists_of_one_name_are_an_error_that_shows_both(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    ids = [klaviyo.add_list("VIPs"), klaviyo.add_list("VIPs")]
    warehouse.hold("ada@shop.io")
    run = list_sync("add")
    assert all(each in str(run.error) for each in ids)
    assert calls(klaviyo, ADD, "create_list") == {}
    assert list_sync("add", list_name=None, list_id=ids[0]).counts() == {"rows_read": 1, "accepted": 1}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"list_name": None, "list_id": "NoSuch"}, "no list with the id NoSuch"),
        ({"create_list": False}, "create_list=True"),
        ({"list_id": "AbC123"}, "both given"),
        ({"mode": "mirorr"}, "mode must be"),
        ({"strict": True}, "belongs to mode='mirror'"),
        ({"opt_in_process": "triple"}, "opt_in_process must be"),
        ({"mode": "mirror", "max_removals": 1.5}, "max_removals must be"),
        ({"mode": "mirror", "primary_key": None}, "needs primary_key"),
        ({"mode": "mirror", "wait_for_completion": False}, "deferrable=True"),
        ({"mode": "remove"}, "nobody is on it"),
    ],
)
def test_what_cannot_work_fails_before_the_first_row(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, parameters: dict[str, Any], words: str
) -> None:
    warehouse.hold("ada@shop.io")
    run = list_sync(**({"mode": "add"} | parameters))
    assert words in str(run.error)
    assert type(run.error).__name__ == "AirflowFailException"
    assert klaviyo.stats()["writes"] == {} or calls(klaviyo, ADD, REMOVE, "create_list") == {}


def test_a_preview_creates_no_list_and_puts_nobody_on_it(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    warehouse.hold("ada@shop.io", "bob@shop.io")
    run = list_sync("add", preview=True)
    assert (run.error, run.counts(), run.summary["list_id"]) == (None, {"rows_read": 2, "accepted": 2}, None)
    assert calls(klaviyo, ADD, "create_list") == {}


# --- remove -------------------------------------------------------------------------------------------------------

PEOPLE = [
    {"email": "ada@shop.io", "phone_number": "+14155552671", "external_id": "C-1"},
    {"email": "bob@shop.io", "phone_number": "+14155552672", "external_id": "C-2"},
    {"email": "eve@shop.io", "phone_number": "+14155552673", "external_id": "C-3"},
]
ROWS = {
    "email": [{"key": "1", "email": "ADA@shop.io"}, {"key": "9", "email": "new@shop.io"}],
    "phone_number": [{"key": "1", "phone": "+1 (415) 555-2671"}, {"key": "9", "phone": "+14155552999"}],
    "external_id": [{"key": "1", "customer": "C-1"}, {"key": "9", "customer": "C-9"}],
    "klaviyo_id": [{"key": "1", "klaviyo": "FIRST"}, {"key": "9", "klaviyo": "01NOBODY"}],
}
COLUMN = {"email": "email", "phone_number": "phone", "external_id": "customer", "klaviyo_id": "klaviyo"}


@pytest.mark.parametrize("field", ROWS)
def test_members_are_removed_by_any_identifier_and_others_are_told(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, field: str
) -> None:
    ids = klaviyo.add_profiles(PEOPLE)
    vips = klaviyo.add_list("VIPs", ids[:2])
    rows = [{k: ids[0] if v == "FIRST" else v for k, v in row.items()} for row in ROWS[field]]
    third = {"key": "3", COLUMN[field]: PEOPLE[2].get(field, ids[2])}
    warehouse.hold(*rows, third)
    run = list_sync("remove", sql=EVERY_COLUMN, mapping={field: COLUMN[field]})
    assert run.counts() == {"rows_read": 3, "accepted": 1, "skipped": 2}
    assert run.summary["removed"] == 1
    assert {(line["key"], line["reason"].partition(":")[0]) for line in run.rejects} == {
        ("3", "not_on_list"),
        ("9", "not_on_list"),
    }
    assert emails(klaviyo, vips) == {"bob@shop.io"}
    assert klaviyo.profile(email="ada@shop.io") is not None


def test_a_thousand_removals_when_a_page_holds_twenty_take_the_fewest_requests(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    vips = klaviyo.add_list("VIPs", klaviyo.add_profiles([{"email": f"p{n}@shop.io"} for n in range(1_500)]))
    warehouse.fill(0, 999)
    run = list_sync("remove")
    assert run.summary["removed"] == 1_000
    assert calls(klaviyo, FIND, REMOVE) == {FIND: 10, REMOVE: 1}
    assert len(klaviyo.members(vips)) == 500


def test_people_who_are_not_on_the_list_cost_no_write(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    klaviyo.add_list("VIPs")
    warehouse.fill(1, 250)
    run = list_sync("remove")
    assert run.counts() == {"rows_read": 250, "skipped": 250}
    assert calls(klaviyo, FIND, REMOVE) == {FIND: 3}


def test_an_address_that_klaviyo_keeps_in_another_spelling_is_found(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    vips = klaviyo.add_list("VIPs", klaviyo.add_profiles([{"email": "Ada@Shop.io"}], keep_case=True))
    warehouse.hold("Ada@Shop.io")
    assert list_sync("remove").summary["removed"] == 1
    assert klaviyo.members(vips) == []


def test_addresses_of_all_kinds_survive_the_url(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    odd = ["a+b@shop.io", "o'neil@shop.io", "a&b=c@shop.io", "per%cent@shop.io", "#x@shop.io"]
    long = [f"{'x' * 60}{n:03}@{'y' * 25}.io" for n in range(250)]
    vips = klaviyo.add_list("VIPs", klaviyo.add_profiles([{"email": each} for each in odd + long]))
    warehouse.hold(*odd, *({"key": str(n), "email": each} for n, each in enumerate(long)))
    run = list_sync("remove")
    assert run.summary["removed"] == 255, run.error
    assert klaviyo.members(vips) == []


def test_a_preview_of_removals_reads_who_is_on_the_list_and_removes_nobody(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    vips = klaviyo.add_list("VIPs", klaviyo.add_profiles(PEOPLE[:2]))
    warehouse.hold("ada@shop.io", "new@shop.io")
    run = list_sync("remove", preview=True)
    assert run.counts() == {"rows_read": 2, "accepted": 1, "skipped": 1}
    assert len(klaviyo.members(vips)) == 2


def test_only_changes_takes_nobody_off_twice_and_looks_again_for_who_was_not_on_the_list(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    klaviyo.add_list("VIPs", klaviyo.add_profiles(PEOPLE))
    warehouse.hold("ada@shop.io", "new@shop.io")
    list_sync("remove", only_changes=True)
    warehouse.take("bob@shop.io")
    run = list_sync("remove", only_changes=True)
    assert run.counts() == {"rows_read": 3, "accepted": 1, "unchanged": 1, "skipped": 1}


@pytest.mark.parametrize("name", ["list_id", "list_name"])
def test_a_list_that_a_template_rendered_to_nothing_is_no_other_list(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, name: str
) -> None:
    warehouse.hold("ada@shop.io")
    run = list_sync("add", **({"list_name": None} | {name: "None"}))
    assert f"{name} was given, and is 'None'" in str(run.error)
    assert calls(klaviyo, "create_list", ADD) == {}


def test_a_list_that_is_gone_stops_adding_by_klaviyos_own_ids_at_once(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    klaviyo.add_profiles([{"email": f"p{n}@shop.io"} for n in range(20)])
    warehouse.hold(*({"key": str(n), "klaviyo": each["id"]} for n, each in enumerate(klaviyo.profiles())))
    gone = {
        "id": "1",
        "status": 404,
        "code": "not_found",
        "title": "Not found.",
        "source": {"pointer": "/data/"},
    }
    error = gone | {"detail": "A list with id NoList does not exist."}
    klaviyo.inject(Fault("status", "add_profiles_to_list", status=404, errors=(error,), count=None))
    run = list_sync("add", sql=EVERY_COLUMN, mapping={"klaviyo_id": "klaviyo"}, primary_key="key")
    assert run.counts() == {"rows_read": 20, "pending": 20}
    assert "does not exist" in str(run.error)
    assert len(klaviyo.requests("add_profiles_to_list")) == 1


def test_the_one_row_of_a_quiet_day_that_klaviyo_refuses_is_rejected(
    start_emulator: StartEmulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    klaviyo = start_emulator(phone_regions=frozenset({"US"}), bulk_phones="refused", pointers="none")
    by_phone = {"sql": EVERY_COLUMN, "mapping": {"phone_number": "phone"}, "primary_key": "key"}
    warehouse.hold(*({"key": str(n), "phone": f"+1415555{n:04}"} for n in range(5)))
    warehouse.take({"key": "x", "phone": "+4930901820"})
    run = list_sync("mirror", max_rejected=0.5, **by_phone)
    assert run.counts() == {"rows_read": 6, "accepted": 5, "rejected": 1}
    warehouse.hold(*({"key": str(n), "phone": f"+1415555{n:04}"} for n in range(4)))
    warehouse.take({"key": "x", "phone": "+4930901820"})

    quiet = list_sync("mirror", max_rejected=0.5, **by_phone)

    assert (quiet.error, quiet.counts()) == (None, {"rows_read": 5, "unchanged": 4, "rejected": 1})
    assert quiet.summary["removed"] == 1
    assert len(klaviyo.members(run.summary["list_id"])) == 4


BY_ID = {"sql": EVERY_COLUMN, "mapping": {"klaviyo_id": "klaviyo"}}


@pytest.mark.parametrize("mode", ["add", "remove"])
@pytest.mark.parametrize(("field", "column"), [("external_id", "customer"), ("klaviyo_id", "klaviyo")])
def test_an_empty_identifier_names_nobody(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, mode: str, field: str, column: str
) -> None:
    klaviyo.add_list("VIPs", klaviyo.add_profiles(PEOPLE))
    warehouse.hold({"key": "1", column: ""}, {"key": "2", column: "  "}, {"key": "3", column: None})
    run = list_sync(mode, sql=EVERY_COLUMN, mapping={field: column})
    assert run.counts() == {"rows_read": 3, "rejected": 3}
    assert len({line["reason"] for line in run.rejects}) == 1
    assert calls(klaviyo, ADD, REMOVE, "get_profiles", "add_profiles_to_list") == {}


def test_an_id_of_several_profiles_takes_none_of_them_off(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    ids = klaviyo.add_profiles(PEOPLE)
    vips = klaviyo.add_list("VIPs", ids)
    klaviyo._account.profiles[1].external_id = "C-1"
    klaviyo.inject(Fault("not_json", "get_profiles", body=found(klaviyo, ids[0], ids[1])))
    warehouse.hold({"key": "1", "customer": "C-1"})
    run = list_sync("remove", sql=EVERY_COLUMN, mapping={"external_id": "customer"})
    assert run.counts() == {"rows_read": 1, "rejected": 1}
    assert "2 profiles have this id" in run.rejects[0]["reason"]
    assert len(klaviyo.members(vips)) == 3


def found(klaviyo: Emulator, *ids: str) -> str:
    """An answer to a look-up that holds these profiles."""
    people = [each for each in klaviyo.profiles() if each["id"] in ids]
    return json.dumps(
        {"data": [{"type": "profile", "id": each.pop("id"), "attributes": each} for each in people]}
    )


@pytest.mark.parametrize(
    ("mapping", "outcome", "reason"),
    [
        ({"external_id": "tier"}, "rejected", "NUL character"),
        ({"klaviyo_id": "tier", "email": "email"}, "warning", "letters and digits only"),
    ],
)
def test_a_nul_in_an_id_is_an_invalid_value(
    klaviyo: Emulator, shop: Shop, list_sync: Sync, mapping: dict[str, str], outcome: str, reason: str
) -> None:
    """People are named by field, NUL and value: none of these rows may become somebody else."""
    victim = klaviyo.add_profiles([{"email": "victim@shop.io", "external_id": "victim"}])
    vips = klaviyo.add_list("VIPs", victim)
    shop.fill([(1, "a@shop.io", "", "", "x\0victim"), (2, "b@shop.io", "", "", "email\0victim@shop.io")])
    run = list_sync(
        "remove", sql="SELECT * FROM customers", sql_conn_id="shop", primary_key="id", mapping=mapping
    )
    told = [(line["outcome"], line["field"]) for line in run.rejects if reason in line["reason"]]
    assert told == [(outcome, next(iter(mapping)))] * 2
    assert len(klaviyo.members(vips)) == 1


@pytest.mark.parametrize("bad", [1, 2])
def test_an_id_that_sinks_its_look_up_is_rejected_alone(
    start_emulator: StartEmulator, warehouse: Warehouse, list_sync: Sync, bad: int
) -> None:
    klaviyo = start_emulator(checks_ids=True)
    ids = klaviyo.add_profiles([{"email": f"p{n}@shop.io"} for n in range(250)])
    vips = klaviyo.add_list("VIPs", ids)
    malformed = [{"key": f"bad {n}", "klaviyo": f"nope{n}"} for n in range(bad)]
    warehouse.hold(*({"key": each, "klaviyo": each} for each in ids), *malformed)
    run = list_sync("remove", **BY_ID)
    assert run.counts() == {"rows_read": 250 + bad, "accepted": 250, "rejected": bad}, run.error
    assert {(line["key"], line["field"]) for line in run.rejects} == {
        (each["key"], "klaviyo_id") for each in malformed
    }
    assert "Invalid filter" in run.rejects[0]["reason"]
    assert klaviyo.members(vips) == []
    assert len(klaviyo.requests("get_profiles")) <= 3 + 12 * bad

    warehouse.hold(*malformed)
    alone = list_sync("remove", **BY_ID)
    assert (alone.error, alone.counts()) == (None, {"rows_read": bad, "rejected": bad})


def test_a_filter_that_klaviyo_refuses_with_any_id_blames_nobody(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    ids = klaviyo.add_profiles([{"email": f"p{n}@shop.io"} for n in range(8)])
    klaviyo.add_list("VIPs", ids)
    warehouse.hold(*({"key": each, "klaviyo": each} for each in ids))
    klaviyo.inject(Fault("status", "get_profiles", status=400, count=None))
    run = list_sync("remove", **BY_ID)
    assert run.counts() == {"rows_read": 8, "pending": 8}
    assert type(run.error).__name__ == "AirflowFailException"


# --- faults -------------------------------------------------------------------------------------------------------

FAULTS = {
    "throttled": lambda operation: Fault("status", operation, status=429, retry_after=1),
    "failing": lambda operation: Fault("status", operation, status=503, body="html"),
    "lost before": lambda operation: Fault("reset_before", operation),
    "lost after": lambda operation: Fault("reset_after", operation),
    "no JSON": lambda operation: Fault("not_json", operation),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", [FIND, REMOVE])
def test_removals_survive_what_happens_on_the_way(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, fault: str, operation: str
) -> None:
    vips = klaviyo.add_list("VIPs", klaviyo.add_profiles(PEOPLE))
    warehouse.hold("ada@shop.io", "bob@shop.io", "new@shop.io")
    klaviyo.inject(FAULTS[fault](operation))
    run = list_sync("remove")
    assert run.counts() == {"rows_read": 3, "accepted": 2, "skipped": 1}, run.error
    assert emails(klaviyo, vips) == {"eve@shop.io"}


def test_a_removal_that_is_refused_when_it_is_repeated_was_done_by_the_lost_try(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    vips = klaviyo.add_list("VIPs", klaviyo.add_profiles(PEOPLE))
    warehouse.hold("ada@shop.io")
    klaviyo.inject(Fault("reset_after", REMOVE))
    klaviyo.inject(Fault("status", REMOVE, status=404, skip=1))
    run = list_sync("remove")
    assert run.counts() == {"rows_read": 1, "accepted": 1}, run.error
    assert emails(klaviyo, vips) == {"bob@shop.io", "eve@shop.io"}


@pytest.mark.parametrize("added", [4, 2, 0])
def test_adds_that_are_refused_when_they_are_repeated_were_done_by_the_lost_try(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, added: int
) -> None:
    """Klaviyo may refuse who is on the list already; those who are not yet are added all the same."""
    ids = klaviyo.add_profiles([{"email": f"p{n}@shop.io"} for n in range(4)])
    vips = klaviyo.add_list("VIPs", ids[:added])
    warehouse.hold(*({"key": each, "klaviyo": each} for each in ids))
    klaviyo.inject(Fault("reset_before", "add_profiles_to_list"))
    klaviyo.inject(Fault("status", "add_profiles_to_list", status=409))
    run = list_sync("add", **BY_ID)
    assert run.counts() == {"rows_read": 4, "accepted": 4}, run.error
    assert len(klaviyo.members(vips)) == 4


def test_an_outage_accounts_for_every_row(klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync) -> None:
    klaviyo.add_list("VIPs", klaviyo.add_profiles(PEOPLE))
    warehouse.hold("ada@shop.io", "new@shop.io")
    klaviyo.inject(Fault("reset_after", REMOVE, count=None))
    run: Run = list_sync("remove", timeout=3)
    assert run.error is not None
    assert run.counts() == {"rows_read": 2, "skipped": 1, "pending": 1}


@pytest.mark.parametrize("mode", ["add", "remove", "mirror"])
def test_a_key_without_a_scope_is_told_all_scopes_of_the_sync(
    start_emulator: StartEmulator, warehouse: Warehouse, list_sync: Sync, mode: str
) -> None:
    klaviyo = start_emulator(
        keys={"pk_reader": ("accounts:read", "lists:read", "profiles:read")}, key="pk_reader"
    )
    klaviyo.add_list("VIPs", klaviyo.add_profiles(PEOPLE))
    warehouse.hold("ada@shop.io")
    run = list_sync(mode)
    assert "lists:read, lists:write, profiles:read, profiles:write" in str(run.error)


@pytest.mark.parametrize("status", [400, 404])
def test_an_id_that_klaviyo_refuses_without_saying_which_does_not_sink_the_others(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync, status: int
) -> None:
    """The emulator names the culprit; Klaviyo may not."""
    ids = klaviyo.add_profiles([{"email": f"p{n}@shop.io"} for n in range(8)])
    warehouse.hold(*({"key": each, "klaviyo": each} for each in (*ids, "01NOBODY")))
    klaviyo.inject(Fault("status", "add_profiles_to_list", status=status))
    run = list_sync("add", sql=EVERY_COLUMN, mapping={"klaviyo_id": "klaviyo"})
    assert run.counts() == {"rows_read": 9, "accepted": 8, "rejected": 1}, run.error
    assert len(klaviyo.members(run.summary["list_id"])) == 8


def test_a_list_that_is_deleted_meanwhile_blames_nobody(
    klaviyo: Emulator, warehouse: Warehouse, list_sync: Sync
) -> None:
    ids = klaviyo.add_profiles([{"email": f"p{n}@shop.io"} for n in range(8)])
    klaviyo.add_list("VIPs", ids)
    warehouse.fill(0, 7)
    klaviyo.inject(Fault("status", REMOVE, status=404, count=None))
    run = list_sync("remove")
    assert run.counts() == {"rows_read": 8, "pending": 8}
    assert type(run.error).__name__ == "AirflowFailException"
