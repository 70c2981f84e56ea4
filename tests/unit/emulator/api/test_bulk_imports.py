"""Bulk import jobs: refused as a whole, or worked off record by record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault, ManualClock

JOBS = "/api/profile-bulk-import-jobs"
RECORDS = "/data/attributes/profiles/data"


def _id(response: Any) -> str:
    assert response.status_code == 202, response.text
    return str(response.json()["data"]["id"])


def _counts(job: Any) -> tuple[str, int, int, int]:
    attributes = job["attributes"]
    return (
        attributes["status"],
        attributes["total_count"],
        attributes["completed_count"],
        attributes["failed_count"],
    )


def test_a_job_is_queued_processed_and_completed(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    job_id = _id(caller.bulk_import({"email": "Ann@mail.com"}, {"external_id": "c2"}))
    seen = []
    for _ in range(5):
        seen.append((_counts(caller.data(f"{JOBS}/{job_id}")), emulator.count()))
        clock.advance(1)
    assert seen == [
        (("queued", 2, 0, 0), 0),
        (("processing", 2, 0, 0), 0),
        (("processing", 2, 0, 0), 0),
        (("processing", 2, 0, 0), 0),
        (("complete", 2, 2, 0), 2),
    ]
    times = caller.data(f"{JOBS}/{job_id}")["attributes"]
    assert (times["started_at"], times["completed_at"], times["expires_at"]) == (
        "2026-09-21T14:13:21+00:00",
        "2026-09-21T14:13:24+00:00",
        "2026-09-28T14:13:20+00:00",
    )


def test_one_bad_record_sinks_the_whole_request(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    emulator.set(bulk_phones="refused")
    response = caller.bulk_import(
        {"email": "ann@mail.com"},
        {"email": "nobody", "phone_number": "12"},
        {"first_name": "Ann"},
        {"email": "bob@mail.com", "age": 3},
    )
    assert response.status_code == 400
    assert caller.errors_of(response) == [
        (f"{RECORDS}/1/attributes/email", "Invalid email address"),
        (
            f"{RECORDS}/1/attributes/phone_number",
            "Invalid phone number format (Example of a valid format: +12345678901)",
        ),
        (f"{RECORDS}/2/attributes", "One or more identifiers is required"),
        (f"{RECORDS}/3/attributes/age", "'age' is not a valid field for the resource 'profile'."),
    ]
    clock.advance(10)
    assert (emulator.count(), emulator.jobs()) == (0, [])


def test_an_invalid_number_is_dropped_in_silence(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    emulator.set(phone_regions=["US"])
    numbers = ["+12025550123", "12", "+4943112345678"]
    people = [{"external_id": f"c{n}", "phone_number": number} for n, number in enumerate(numbers)]
    job_id = _id(caller.bulk_import(*people))
    clock.advance(4)
    assert _counts(caller.data(f"{JOBS}/{job_id}")) == ("complete", 3, 3, 0)
    assert [each.get("phone_number") for each in emulator.profiles()] == ["+12025550123", None, None]


def test_an_invalid_number_that_alone_names_somebody_sinks_the_request(caller: Any) -> None:
    response = caller.bulk_import({"email": "ann@mail.com"}, {"phone_number": "12"})
    assert response.status_code == 400
    assert caller.errors_of(response) == [(f"{RECORDS}/1/attributes", "One or more identifiers is required")]


def test_bad_records_can_be_named_one_at_a_time_or_not_at_all(emulator: Emulator, caller: Any) -> None:
    people = ({"email": "x"}, {"email": "y"})
    emulator.set(pointers="one")
    assert [pointer for pointer, _ in caller.errors_of(caller.bulk_import(*people))] == [
        f"{RECORDS}/0/attributes/email"
    ]
    emulator.set(pointers="none")
    assert [pointer for pointer, _ in caller.errors_of(caller.bulk_import(*people))] == [None]
    emulator.set(pointers="field")
    assert [pointer for pointer, _ in caller.errors_of(caller.bulk_import(*people))] == ["email", "email"]
    located = {"email": "ann@mail.com", "location": {"latitude": 91}}
    assert caller.errors_of(caller.bulk_import(located))[0][0] == "location/latitude"
    assert caller.errors_of(caller.bulk_import({"email": "ann@mail.com"}, lists=("NoList",)))[0][0] == "/data"


def test_a_list_that_does_not_exist_sinks_the_request_and_blames_no_record(
    emulator: Emulator, caller: Any
) -> None:
    response = caller.bulk_import({"email": "ann@mail.com"}, lists=("NoList",))
    assert response.status_code == 400
    assert caller.errors_of(response) == [("/data", "List ID NoList does not exist.")]
    assert emulator.jobs() == []


def test_people_join_the_lists_of_the_job(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    vip, news = emulator.add_list("VIP"), emulator.add_list("News")
    job_id = _id(caller.bulk_import({"email": "ann@mail.com"}, {"email": "bob@mail.com"}, lists=(vip, news)))
    assert emulator.members(vip) == []
    clock.advance(4)
    assert [each["email"] for each in emulator.members(news)] == ["ann@mail.com", "bob@mail.com"]
    assert [each["id"] for each in caller.data(f"{JOBS}/{job_id}/lists")] == [vip, news]
    included = caller.get(f"{JOBS}/{job_id}", include="lists").json()["included"]
    assert [each["attributes"]["name"] for each in included] == ["VIP", "News"]


def test_nulls_are_ignored(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    emulator.add_profiles([{"email": "ann@mail.com", "title": "Dr.", "properties": {"a": 1, "b": 2}}])
    caller.bulk_import({"email": "ann@mail.com", "title": None, "properties": {"a": None, "b": 3}})
    clock.advance(4)
    assert emulator.profile(email="ann@mail.com") == {
        "id": emulator.profiles()[0]["id"],
        "email": "ann@mail.com",
        "title": "Dr.",
        "properties": {"a": 1, "b": 3},
    }


def test_properties_can_be_unset(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    emulator.add_profiles([{"email": "ann@mail.com", "properties": {"a": 1, "b": 2}}])
    resource = {
        "type": "profile",
        "attributes": {"email": "ann@mail.com"},
        "meta": {"patch_properties": {"unset": ["a"]}},
    }
    _id(caller.post(JOBS, caller.bulk_body(resource)))
    clock.advance(4)
    assert emulator.profiles()[0]["properties"] == {"b": 2}


def test_records_that_cannot_be_imported_become_import_errors(
    emulator: Emulator, caller: Any, clock: ManualClock
) -> None:
    emulator.add_profiles([{"email": "ann@mail.com"}, {"external_id": "c2"}])
    known = emulator.profiles()[0]["id"]
    people = [
        {"type": "profile", "attributes": {"email": "ann@mail.com", "external_id": "c2"}},
        {"type": "profile", "id": "01GDDKASAP8TKDDA2GRZDSVP4H", "attributes": {}},
        {"type": "profile", "id": known, "attributes": {"title": "Dr."}},
        {"type": "profile", "attributes": {"email": "ANN@mail.com"}},
        {"type": "profile", "attributes": {"email": "new@mail.com"}},
        {"type": "profile", "attributes": {"email": "new@mail.com", "title": "Prof."}},
    ]
    job_id = _id(caller.post(JOBS, caller.bulk_body(*people)))
    clock.advance(4)
    assert _counts(caller.data(f"{JOBS}/{job_id}")) == ("complete", 6, 2, 4)
    errors = [each["attributes"] for each in caller.data(f"{JOBS}/{job_id}/import-errors")]
    assert [error["source"]["pointer"] for error in errors] == [
        f"{RECORDS}/0",
        f"{RECORDS}/1/id",
        f"{RECORDS}/3",
        f"{RECORDS}/5",
    ]
    assert errors[3]["original_payload"] == people[5]
    assert "title" not in (emulator.profile(email="new@mail.com") or {})


def test_import_errors_come_in_pages(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    emulator.inject(Fault("job_fails", records=45))
    job_id = _id(caller.bulk_import(*({"external_id": f"c{number}"} for number in range(50))))
    clock.advance(4)
    pages = list(caller.pages(f"{JOBS}/{job_id}/import-errors"))
    assert [len(page) for page in pages] == [20, 20, 5]
    payloads = [
        each["attributes"]["original_payload"]["attributes"]["external_id"] for page in pages for each in page
    ]
    assert payloads == [f"c{number}" for number in range(45)]
    assert caller.get(f"{JOBS}/{job_id}/import-errors", **{"page[size]": 101}).status_code == 400


@pytest.mark.parametrize(
    ("shows", "pointer", "has_payload"),
    [("pointer", f"{RECORDS}/0", False), ("payload", "/data", True), ("crossed", f"{RECORDS}/1", True)],
)
def test_an_import_error_may_name_its_record_in_one_way_only(
    emulator: Emulator, caller: Any, clock: ManualClock, shows: str, pointer: str, has_payload: bool
) -> None:
    emulator.set(import_errors=shows)
    emulator.inject(Fault("job_fails", records=1))
    job_id = _id(caller.bulk_import({"external_id": "c1"}, {"external_id": "c2"}))
    clock.advance(4)
    (error,) = caller.data(f"{JOBS}/{job_id}/import-errors")
    assert error["attributes"]["source"] == {"pointer": pointer}
    assert (error["attributes"]["original_payload"] is not None) is has_payload


def test_a_job_may_count_as_completed_what_it_could_not_import(
    emulator: Emulator, caller: Any, clock: ManualClock
) -> None:
    emulator.set(counts_failures=False)
    emulator.inject(Fault("job_fails", records=1))
    job_id = _id(caller.bulk_import({"external_id": "c1"}, {"external_id": "c2"}))
    clock.advance(4)
    assert _counts(caller.data(f"{JOBS}/{job_id}")) == ("complete", 2, 2, 0)
    assert len(caller.data(f"{JOBS}/{job_id}/import-errors")) == 1


def test_a_value_may_be_what_cannot_be_imported(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    emulator.inject(Fault("job_fails", records=2, field="location/city"))
    people = [{"external_id": "c1"}, {"external_id": "c2", "location": {"city": "Kiel"}}]
    job_id = _id(caller.bulk_import(*people))
    clock.advance(4)
    (error,) = caller.data(f"{JOBS}/{job_id}/import-errors")
    assert error["attributes"]["source"]["pointer"] == f"{RECORDS}/1/attributes/location/city"


def test_a_job_shows_whom_it_imported(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    job_id = _id(caller.bulk_import(*({"external_id": f"c{number}"} for number in range(25))))
    clock.advance(4)
    whole = [each["id"] for page in caller.pages(f"{JOBS}/{job_id}/profiles") for each in page]
    short = [each["id"] for page in caller.pages(f"{JOBS}/{job_id}/relationships/profiles") for each in page]
    assert whole == short == [each["id"] for each in emulator.profiles()]


def test_jobs_are_listed_by_status_and_age(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    ids = []
    for number in range(5):
        ids.append(_id(caller.bulk_import({"external_id": f"c{number}"})))
        clock.advance(1.5)

    # ages are now 7.5, 6.0, 4.5, 3.0 and 1.5 seconds
    def listed(**parameters: Any) -> list[str]:
        return [each["id"] for page in caller.pages(JOBS, **parameters) for each in page]

    assert listed() == listed(sort="created_at", **{"page[size]": 2}) == ids
    assert listed(sort="-created_at", **{"page[size]": 2}) == ids[::-1]
    assert listed(filter='equals(status,"complete")') == ids[:3]
    assert listed(filter='any(status,["queued","processing"])', sort="-created_at") == [ids[4], ids[3]]


@pytest.mark.parametrize("status", ["cancelled", "done"])
def test_jobs_are_not_listed_by_a_status_that_the_filter_does_not_know(caller: Any, status: str) -> None:
    assert caller.get(JOBS, filter=f'equals(status,"{status}")').status_code == 400


def test_a_job_is_gone_after_seven_days(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    job_id = _id(caller.bulk_import({"external_id": "c1"}))
    clock.advance(7 * 86_400 - 1)
    assert caller.get(f"{JOBS}/{job_id}/import-errors").status_code == 200
    clock.advance(1)
    for path in ("", "/import-errors", "/lists", "/profiles", "/relationships/profiles"):
        assert caller.get(f"{JOBS}/{job_id}{path}").status_code == 404
    assert caller.data(JOBS) == []


def test_a_job_that_is_cancelled_stores_nobody(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    job_id = _id(caller.bulk_import({"external_id": "c1"}))
    clock.advance(1)
    assert emulator.cancel_job(job_id)
    clock.advance(100)
    assert _counts(caller.data(f"{JOBS}/{job_id}")) == ("cancelled", 1, 0, 0)
    assert (emulator.count(), emulator.cancel_job(job_id)) == (0, False)


def test_later_jobs_are_worked_off_later(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    for title in ("first", "second"):
        caller.bulk_import({"external_id": "c1", "title": title})
        clock.advance(1)
    clock.advance(10)
    assert [each["title"] for each in emulator.profiles()] == ["second"]


@pytest.mark.parametrize(("records", "status"), [(1, 202), (10_000, 202), (10_001, 400), (0, 400)])
def test_a_job_takes_up_to_ten_thousand_profiles(caller: Any, records: int, status: int) -> None:
    response = caller.bulk_import(*({"external_id": str(number)} for number in range(records)))
    assert response.status_code == status
    if status == 400:
        assert [pointer for pointer, _ in caller.errors_of(response)] == [RECORDS]


@pytest.mark.parametrize(("size", "status"), [(100_000, 202), (100_001, 400)])
@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_profile_of_a_job_may_have_a_hundred_kilobytes(
    caller: Any, size: int, status: int, letter: str
) -> None:
    # {"type":"profile","attributes":{"external_id":"c1","title":""}} are 63 bytes
    room = size - 63
    title = letter * (room // len(letter.encode())) + "x" * (room % len(letter.encode()))
    response = caller.bulk_import({"external_id": "c0"}, {"external_id": "c1", "title": title})
    assert response.status_code == status
    if status == 400:
        assert [pointer for pointer, _ in caller.errors_of(response)] == [f"{RECORDS}/1"]


def test_a_body_with_blanks_and_escapes_says_the_same(
    emulator: Emulator, caller: Any, clock: ManualClock
) -> None:
    person = {
        "type": "profile",
        "attributes": {"email": "a@mail.com", "title": 'é"\\:', "properties": {'k":': '":'}},
    }
    text = json.dumps(caller.bulk_body(person), indent=3).replace('\\"', "\\u0022").encode()
    headers = {"Content-Type": "application/json"}
    assert caller.call("POST", JOBS, data=text, headers=headers).status_code == 202
    clock.advance(4)
    assert emulator.profiles()[0]["properties"] == {'k":': '":'}


@pytest.mark.parametrize(
    "change",
    [
        ('"external_id":"c1"', '"external_id":"c1","external_id":"c1"'),
        ('"external_id":"c1"', '"external_id":"c1","properties":{"a":1,"a":1}'),
        ('"external_id":"c1"', '"external_id":"c1","properties":{"a":{"b":1,"b":2}}'),
        ('"external_id":"c1"', '"external_id":"c1","title":"\\u0022:","title" :"\\u0022:"'),
        ('"external_id":"c1"', '"external_id":"c1","title":"\\u005c\\u0022:","title":"x"'),
        ('"data":[', '"data":[],"data":['),
        ('"type":"profile"', '"type":"profile","type":"profile"'),
        ('"external_id":"c1"', '"external_id":"c1","properties":{"n":1e999}'),
        ('"external_id":"c1"', '"external_id":"c1","title":"\\ud800"'),
        ('"type":"profile"', '"type":"person"'),
        ('"profiles":', '"people":'),
        ('{"data":{', '{"meta":{},"data":{'),
        ('"attributes":{"profiles"', '"relationships":{"list":{"data":[]}},"attributes":{"profiles"'),
        ('"attributes":{"profiles"', '"relationships":{"lists":{"data":{}}},"attributes":{"profiles"'),
        ('"attributes":{"profiles"', '"relationships":{"lists":{}},"attributes":{"profiles"'),
        ('"attributes":{"profiles"', '"relationships":[],"attributes":{"profiles"'),
        ('"attributes":{"profiles":', '"attributes":{"relationships":{},"profiles":'),
        ('[{"type":"profile"', '[7,{"type":"profile"'),
    ],
    ids=lambda change: change[1][:60],
)
def test_what_klaviyo_might_overlook_is_refused(caller: Any, change: tuple[str, str]) -> None:
    body = caller.bulk_body({"type": "profile", "attributes": {"external_id": "c1"}})
    text = json.dumps(body, separators=(",", ":"))
    assert change[0] in text
    response = caller.call(
        "POST", JOBS, data=text.replace(*change).encode(), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 400, response.text


def test_a_list_is_named_once(emulator: Emulator, caller: Any) -> None:
    vip = emulator.add_list("VIP")
    assert caller.bulk_import({"external_id": "c1"}, lists=(vip, vip)).status_code == 400


def test_fake_addresses_vanish_in_silence(emulator: Emulator, caller: Any, clock: ManualClock) -> None:
    emulator.set(fake_domains=["example.com"])
    job_id = _id(caller.bulk_import({"email": "a@example.com"}, {"email": "a@mail.com"}))
    clock.advance(4)
    assert _counts(caller.data(f"{JOBS}/{job_id}")) == ("complete", 2, 2, 0)
    assert [each["email"] for each in emulator.profiles()] == ["a@mail.com"]
