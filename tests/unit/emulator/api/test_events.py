"""Events: refused as a whole or stored once, one by one and a thousand at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from airflow_provider_klaviyo.emulator import Emulator, Fault, FaultKind, ManualClock

EVENTS = "/api/events"
JOBS = "/api/event-bulk-create-jobs"
GROUPS = "/data/attributes/events-bulk-create/data"
ANN = {"email": "ann@mail.com"}
NOW = "2026-09-21T14:13:20+00:00"


def _event(name: str = "Placed Order", /, **attributes: Any) -> dict[str, Any]:
    named = {"data": {"type": "metric", "attributes": {"name": name}}}
    return {"type": "event", "attributes": {"properties": {}, "metric": named, **attributes}}


def _group(
    person: dict[str, Any], *events: dict[str, Any], meta: Any = None, **attributes: Any
) -> dict[str, Any]:
    profile = {"type": "profile", "attributes": person} | ({"meta": meta} if meta else {})
    inside = {"profile": {"data": profile}, "events": {"data": list(events)}}
    return {"type": "event-bulk-create", "attributes": {**inside, **attributes}}


def _job(*groups: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": {
            "type": "event-bulk-create-job",
            "attributes": {"events-bulk-create": {"data": list(groups)}},
        }
    }


def _single(person: dict[str, Any], name: str = "Placed Order", /, **attributes: Any) -> dict[str, Any]:
    event = _event(name, **attributes)
    event["attributes"]["profile"] = {"data": {"type": "profile", "attributes": person}}
    return {"data": event}


def _stored(emulator: Emulator, *names: str) -> list[Any]:
    """The named members of every event; a single one bare."""
    rows = [tuple(event[name] for name in names) for event in emulator.iter_events()]
    return [row[0] for row in rows] if len(names) == 1 else rows


# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("are_known", [False, True])
def test_a_number_that_three_people_share_makes_one_of_them(
    emulator: Emulator, caller: Any, are_known: bool
) -> None:
    emulator.set(conflicts="take_over")
    people = [{"email": f"p{n}@mail.com", "phone_number": "+14155550123"} for n in range(3)]
    if are_known:
        emulator.add_profiles([{"email": person["email"]} for person in people])
    groups = [_group(person, _event(unique_id=str(n))) for n, person in enumerate(people)]
    assert caller.post(JOBS, _job(*groups)).status_code == 202
    with_number = [profile for profile in emulator.iter_profiles() if profile.get("phone_number")]
    assert [profile["email"] for profile in with_number] == ["p2@mail.com"]
    assert len(emulator.profiles()) == (3 if are_known else 1)


def test_an_event_is_stored_with_all_that_was_said(emulator: Emulator, caller: Any) -> None:
    said = {
        "properties": {"sku": "A1", "lines": [{"n": 1}], "none": None},
        "time": "2026-07-01T12:00:00.999+02:00",
        "value": 9.99,
        "value_currency": "EUR",
        "unique_id": "o1",
        "backfill": True,
    }
    response = caller.post(EVENTS, _single({"email": "Ann@mail.com", "external_id": "c1"}, **said))
    assert (response.status_code, response.content) == (202, b"")
    (event,) = emulator.events()
    assert event == {
        **said,
        "id": event["id"],
        "metric": "Placed Order",
        "profile": {"id": emulator.profiles()[0]["id"], "email": "ann@mail.com", "external_id": "c1"},
        "time": "2026-07-01T10:00:00+00:00",
    }


def test_what_is_left_out_or_null_gets_its_default(
    emulator: Emulator, caller: Any, clock: ManualClock
) -> None:
    clock.advance(0.75)
    names = ("time", "value", "value_currency", "unique_id", "backfill")
    caller.post(EVENTS, _single(ANN, "Absent"))
    caller.post(EVENTS, _single(ANN, "Null", **dict.fromkeys(names)))
    assert _stored(emulator, *names) == [(NOW, None, None, "1790000000", False)] * 2


def test_many_people_and_many_events_of_one_go_in_one_request(emulator: Emulator, caller: Any) -> None:
    orders = [_event(unique_id=f"o{number}", value=number) for number in range(3)]
    response = caller.post(JOBS, _job(_group(ANN, *orders), _group({"external_id": "c2"}, _event("Viewed"))))
    assert (response.status_code, response.content) == (202, b"")
    assert [event["profile"].get("email") for event in emulator.events()] == ["ann@mail.com"] * 3 + [None]
    assert _stored(emulator, "metric", "value") == [
        *(("Placed Order", number) for number in range(3)),
        ("Viewed", None),
    ]
    assert (emulator.count(), emulator.count_events()) == (2, 4)


@pytest.mark.parametrize(
    ("group", "event", "is_backfill"),
    [
        ({}, {}, False),
        ({"backfill": True}, {}, True),
        ({"backfill": True}, {"backfill": None}, True),
        ({"backfill": True}, {"backfill": False}, False),
        ({"backfill": False}, {"backfill": True}, True),
        ({"backfill": None}, {}, False),
    ],
)
def test_an_event_that_is_no_backfill_starts_flows(
    emulator: Emulator, caller: Any, group: dict[str, Any], event: dict[str, Any], is_backfill: bool
) -> None:
    assert caller.post(JOBS, _job(_group(ANN, _event(**event), **group))).status_code == 202
    assert _stored(emulator, "backfill") == [is_backfill]
    assert emulator.count_flow_starts() == emulator.stats()["flow_starts"] == (not is_backfill)


def test_people_are_made_and_changed_by_their_events(emulator: Emulator, caller: Any) -> None:
    emulator.add_profiles([{"email": "ann@mail.com", "title": "Dr.", "properties": {"a": 1, "b": 2}}])
    person = {**ANN, "title": None, "first_name": "Ann", "properties": {"a": None, "c": 3}}
    meta = {"patch_properties": {"unset": "b"}}
    assert caller.post(EVENTS, _single({**person, "meta": meta}, "One")).status_code == 202
    assert (
        caller.post(JOBS, _job(_group({**ANN, "last_name": "Lee"}, _event("Two"), meta=meta))).status_code
        == 202
    )
    (ann,) = emulator.profiles()
    assert {name: value for name, value in ann.items() if name != "id"} == {
        **ANN,
        "title": "Dr.",
        "first_name": "Ann",
        "last_name": "Lee",
        "properties": {"a": 1, "c": 3},
    }


@pytest.mark.parametrize("place", ["single", "bulk"])
def test_each_endpoint_has_its_own_place_for_meta(caller: Any, place: str) -> None:
    meta = {"patch_properties": {"unset": "b"}}
    single = _single(ANN)
    single["data"]["attributes"]["profile"]["data"]["meta"] = meta
    body = single if place == "single" else _job(_group({**ANN, "meta": meta}, _event()))
    (pointer, _), *_ = caller.errors_of(caller.post(EVENTS if place == "single" else JOBS, body))
    base = "/data" if place == "single" else f"{GROUPS}/0"
    tail = "meta" if place == "single" else "attributes/meta"
    assert pointer == f"{base}/attributes/profile/data/{tail}"


def test_somebody_may_be_named_by_klaviyos_id(emulator: Emulator, caller: Any) -> None:
    (ann,) = emulator.add_profiles([ANN])
    body = _job(_group({}, _event()))
    profile = body["data"]["attributes"]["events-bulk-create"]["data"][0]["attributes"]["profile"]["data"]
    profile["id"] = ann
    assert caller.post(JOBS, body).status_code == 202
    assert _stored(emulator, "profile") == [{"id": ann, **ANN}]
    profile["id"] = "01GDDKASAP8TKDDA2GRZDSVP4H"
    response = caller.post(JOBS, body)
    assert response.status_code == 400
    assert [pointer for pointer, _ in caller.errors_of(response)] == [
        f"{GROUPS}/0/attributes/profile/data/id"
    ]


# ------------------------------------------------------------------------------------------------------------


def test_of_events_with_one_id_only_the_first_counts(emulator: Emulator, caller: Any) -> None:
    for value in (1, 2):
        assert caller.post(EVENTS, _single(ANN, unique_id="o1", value=value)).status_code == 202
        body = _job(
            _group(ANN, _event(unique_id="o1", value=10 * value), _event(unique_id="o2", value=value))
        )
        assert caller.post(JOBS, body).status_code == 202
    assert _stored(emulator, "unique_id", "value") == [("o1", 1), ("o2", 1)]
    assert emulator.count_flow_starts() == 2


def test_an_id_is_one_of_a_profile_and_a_metric(emulator: Emulator, caller: Any) -> None:
    body = _job(
        _group(ANN, _event(unique_id="o1"), _event("Viewed", unique_id="o1")),
        _group({"external_id": "c2"}, _event(unique_id="o1")),
    )
    assert [caller.post(JOBS, body).status_code for _ in range(2)] == [202, 202]
    assert emulator.count_events() == 3


def test_an_id_that_a_bulk_request_repeats_sinks_it(emulator: Emulator, caller: Any) -> None:
    emulator.add_profiles([{**ANN, "external_id": "c1"}])
    body = _job(
        _group(ANN, _event(unique_id="o1"), _event(unique_id="o2"), _event(unique_id="o1")),
        _group({"external_id": "c1"}, _event(unique_id="o2")),
        _group({"external_id": "c2"}, _event(unique_id="o2")),
    )
    response = caller.post(JOBS, body)
    assert response.status_code == 400
    assert [pointer for pointer, _ in caller.errors_of(response)] == [
        f"{GROUPS}/0/attributes/events/data/2/attributes/unique_id",
        f"{GROUPS}/1/attributes/events/data/0/attributes/unique_id",
    ]
    assert (emulator.count(), emulator.count_events(), emulator.stats()["writes"]) == (1, 0, {})


def test_an_account_may_refuse_ids_that_it_knows(emulator: Emulator, caller: Any) -> None:
    emulator.set(refuses_known_events=True)
    body = _job(_group({"external_id": "c2"}, _event()), _group(ANN, _event(unique_id="o1")))
    assert caller.post(JOBS, body).status_code == 202
    response = caller.post(JOBS, body)
    assert response.status_code == 400
    assert caller.errors_of(response) == [
        (
            f"{GROUPS}/1/attributes/events/data/0/attributes/unique_id",
            "There is an event with this unique_id for the same profile and metric.",
        )
    ]
    assert caller.post(EVENTS, _single(ANN, unique_id="o1")).status_code == 202
    assert emulator.count_events() == 2


def test_without_an_id_events_of_one_second_fall_together(
    emulator: Emulator, caller: Any, clock: ManualClock
) -> None:
    body = _job(
        _group(ANN, _event(), _event(value=2), _event("Viewed")), _group({"external_id": "c2"}, _event())
    )
    assert caller.post(JOBS, body).status_code == 202
    clock.advance(0.5)
    assert caller.post(JOBS, body).status_code == 202
    assert (
        caller.post(
            EVENTS, _single(ANN, time="2026-09-21T16:13:20.3+02:00", unique_id="1790000000")
        ).status_code
        == 202
    )
    assert _stored(emulator, "metric", "value") == [
        ("Placed Order", None),
        ("Viewed", None),
        ("Placed Order", None),
    ]
    clock.advance(0.5)
    assert caller.post(JOBS, body).status_code == 202
    assert emulator.count_events() == 6


# ------------------------------------------------------------------------------------------------------------


def test_one_bad_record_sinks_the_whole_request(emulator: Emulator, caller: Any) -> None:
    response = caller.post(
        JOBS,
        _job(
            _group(ANN, _event(unique_id="o1")),
            _group({"email": "nobody"}, _event(unique_id="")),
            _group({"first_name": "Bob"}, _event(), _event(value="1"), backfill=1),
        ),
    )
    assert response.status_code == 400
    assert [pointer for pointer, _ in caller.errors_of(response)] == [
        f"{GROUPS}/1/attributes/profile/data/attributes/email",
        f"{GROUPS}/1/attributes/events/data/0/attributes/unique_id",
        f"{GROUPS}/2/attributes/backfill",
        f"{GROUPS}/2/attributes/profile/data/attributes",
        f"{GROUPS}/2/attributes/events/data/1/attributes/value",
    ]
    assert (emulator.count(), emulator.count_events()) == (0, 0)


_NESTED: Any = {"a": 1}
for _ in range(9):
    _NESTED = {"a": _NESTED}

GOOD: list[dict[str, Any]] = [
    {"time": "2000-01-01T00:00:00Z"},
    {"time": "2027-09-21T14:13:20Z"},
    {"time": "2026-07-01T12:00:00.123456-05:30"},
    {"value": 0},
    {"value": -(2**63)},
    {"value_currency": "USD"},
    {"unique_id": "x" * 255},
    {"metric": {"data": {"type": "metric", "attributes": {"name": "x" * 127, "service": "api"}}}},
    {"metric": {"data": {"type": "metric", "attributes": {"name": "Ä/~", "service": None}}}},
    {"properties": {str(number): number for number in range(400)}},
    {"properties": {"list": [0] * 4_000, "text": "x" * 100_000, "int": 2**63 - 1}},
    {"properties": {"é": "é" * 50_000}},
    {"properties": _NESTED},
    {"properties": {"$extra": {"html": "<p>"}}},
]  # fmt: skip
BAD: list[tuple[dict[str, Any], str]] = [
    ({"age": 1}, "age"),
    ({"time": "2026-07-01T12:00:00"}, "time"),
    ({"time": "2026-07-01"}, "time"),
    ({"time": "2026-07-01 12:00:00Z"}, "time"),
    ({"time": "2026-02-30T12:00:00Z"}, "time"),
    ({"time": "1999-12-31T23:59:59Z"}, "time"),
    ({"time": "2027-09-21T14:13:21Z"}, "time"),
    ({"time": 1_790_000_000}, "time"),
    ({"value": "9.99"}, "value"),
    ({"value": True}, "value"),
    ({"value": 2**63}, "value"),
    ({"value_currency": "EURO"}, "value_currency"),
    ({"value_currency": "usd"}, "value_currency"),
    ({"value_currency": 978}, "value_currency"),
    ({"unique_id": ""}, "unique_id"),
    ({"unique_id": "x" * 256}, "unique_id"),
    ({"unique_id": 7}, "unique_id"),
    ({"unique_id": "a\x00"}, "unique_id"),
    ({"backfill": "true"}, "backfill"),
    ({"metric": None}, "metric"),
    ({"metric": {}}, "metric/data"),
    ({"metric": {"data": {"type": "metric"}}}, "metric/data/attributes"),
    ({"metric": {"data": {"type": "event", "attributes": {"name": "x"}}}}, "metric/data/type"),
    ({"metric": {"data": {"type": "metric", "attributes": {}}}}, "metric/data/attributes/name"),
    ({"metric": {"data": {"type": "metric", "attributes": {"name": " "}}}}, "metric/data/attributes/name"),
    ({"metric": {"data": {"type": "metric", "attributes": {"name": "x" * 128}}}}, "metric/data/attributes/name"),
    (
        {"metric": {"data": {"type": "metric", "attributes": {"name": "x", "service": "shopify"}}}},
        "metric/data/attributes/service",
    ),
    ({"metric": {"data": {"type": "metric", "id": "SkDfHe", "attributes": {"name": "x"}}}}, "metric/data/id"),
    ({"properties": None}, "properties"),
    ({"properties": []}, "properties"),
    ({"properties": {str(number): number for number in range(401)}}, "properties"),
    ({"properties": {"list": [0] * 4_001}}, "properties/list"),
    ({"properties": {"text": "x" * 100_001}}, "properties/text"),
    ({"properties": {"text": ["é" * 50_001]}}, "properties/text/0"),
    ({"properties": {"int": 2**63}}, "properties/int"),
    ({"properties": {"deep": _NESTED}}, "properties/deep" + "/a" * 10),
    ({"properties": {"": 1}}, "properties/"),
    ({"properties": {"$value": 1}}, "properties/$value"),
    ({"properties": {"nul": "\x00"}}, "properties/nul"),
]  # fmt: skip


@pytest.mark.parametrize("attributes", GOOD, ids=lambda attributes: repr(attributes)[:60])
def test_what_lies_within_the_limits_is_taken(emulator: Emulator, caller: Any, attributes: Any) -> None:
    assert caller.post(JOBS, _job(_group(ANN, _event(**attributes)))).status_code == 202
    assert caller.post(EVENTS, _single({"external_id": "c2"}, **attributes)).status_code == 202
    assert emulator.count_events() == 2


@pytest.mark.parametrize(("attributes", "where"), BAD, ids=lambda case: repr(case)[:60])
def test_what_lies_without_is_refused_with_a_pointer_to_it(
    emulator: Emulator, caller: Any, attributes: Any, where: str
) -> None:
    single = caller.post(EVENTS, _single(ANN, **attributes))
    bulk = caller.post(JOBS, _job(_group(ANN, _event("First"), _event(**attributes))))
    assert (single.status_code, bulk.status_code) == (400, 400)
    assert [pointer for pointer, _ in caller.errors_of(single)] == [f"/data/attributes/{where}"]
    base = f"{GROUPS}/0/attributes/events/data/1/attributes"
    assert [pointer for pointer, _ in caller.errors_of(bulk)] == [f"{base}/{where}"]
    assert (emulator.count(), emulator.count_events()) == (0, 0)


@pytest.mark.parametrize(
    ("person", "where"),
    [
        ({"email": "nobody"}, "attributes/email"),
        ({**ANN, "phone_number": "12"}, "attributes/phone_number"),
        ({"first_name": "Ann"}, "attributes"),
        ({**ANN, "age": 3}, "attributes/age"),
        ({**ANN, "anonymous_id": "a1"}, "attributes/anonymous_id"),
        ({**ANN, "_kx": "a1"}, "attributes/_kx"),
        ({**ANN, "title": "x" * 95_000}, ""),
    ],
    ids=lambda case: repr(case)[:40],
)
def test_the_profile_of_an_event_obeys_the_rules_of_profiles(caller: Any, person: Any, where: str) -> None:
    tail = f"profile/data/{where}".rstrip("/")
    single, bulk = caller.post(EVENTS, _single(person)), caller.post(JOBS, _job(_group(person, _event())))
    assert (single.status_code, bulk.status_code) == (400, 400)
    assert [pointer for pointer, _ in caller.errors_of(single)] == [f"/data/attributes/{tail}"]
    assert [pointer for pointer, _ in caller.errors_of(bulk)] == [f"{GROUPS}/0/attributes/{tail}"]


@pytest.mark.parametrize(
    ("groups", "events", "status"),
    [(1, 1_000, 202), (1_000, 1, 202), (2, 501, 400), (1, 1_001, 400), (0, 0, 400), (1, 0, 400)],
)
def test_a_request_takes_up_to_a_thousand_events(
    emulator: Emulator, caller: Any, groups: int, events: int, status: int
) -> None:
    body = _job(
        *(
            _group(
                {"external_id": f"c{place}"}, *(_event(unique_id=f"o{number}") for number in range(events))
            )
            for place in range(groups)
        )
    )
    response = caller.post(JOBS, body)
    assert response.status_code == status
    assert emulator.count_events() == (groups * events if status == 202 else 0)
    if status == 400:
        (pointer, _), *_ = caller.errors_of(response)
        assert pointer == (GROUPS if groups != 1 else f"{GROUPS}/0/attributes/events/data")


@pytest.mark.parametrize("path", [EVENTS, JOBS])
def test_five_megabytes_are_the_most(caller: Any, path: str) -> None:
    texts = {str(number): "x" * 99_000 for number in range(51)}
    body = _single(ANN, properties=texts) if path == EVENTS else _job(_group(ANN, _event(properties=texts)))
    assert caller.post(path, body).status_code == 413
    del texts["50"], texts["49"]
    assert caller.post(path, body).status_code == 202


@pytest.mark.parametrize(
    "change",
    [
        ('"unique_id":"o1"', '"unique_id":"o1","unique_id":"o1"'),
        ('"unique_id":"o1"', '"unique_id":"o1","value":1e999'),
        ('"unique_id":"o1"', '"unique_id":"\\ud800"'),
        ('"unique_id":"o1"', '"unique_id":"o1","profile":{}'),
        ('"events":{"data"', '"events":{"links":{},"data"'),
        ('"events":{"data"', '"events":{"data":null,"datas"'),
        ('"type":"event"', '"type":"order"'),
        ('"type":"event-bulk-create"', '"type":"event"'),
        ('"type":"event-bulk-create-job"', '"type":"event-bulk-create"'),
        ('"events-bulk-create":', '"events":'),
        ('"events-bulk-create":{"data":[', '"events-bulk-create":{"data":[7,'),
        ('"profile":{"data":{', '"profile":{"data":null,"date":{'),
        ('"events-bulk-create":{"data"', '"backfill":true,"events-bulk-create":{"data"'),
        ('{"data":{', '{"meta":{},"data":{'),
    ],
    ids=lambda change: change[1][:60],
)
def test_what_klaviyo_might_overlook_is_refused(
    emulator: Emulator, caller: Any, change: tuple[str, str]
) -> None:
    text = json.dumps(_job(_group(ANN, _event(unique_id="o1"))), separators=(",", ":"))
    assert change[0] in text
    body = text.replace(*change, 1).encode()
    response = caller.call("POST", JOBS, data=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400, response.text
    assert emulator.count_events() == 0


# ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def people(emulator: Emulator) -> list[str]:
    return emulator.add_profiles([ANN, {"external_id": "c2"}])


def test_identifiers_of_two_profiles_refuse_an_event(
    emulator: Emulator, caller: Any, people: list[str]
) -> None:
    both = {**ANN, "external_id": "c2"}
    single = caller.post(EVENTS, _single(both))
    bulk = caller.post(JOBS, _job(_group(ANN, _event()), _group(both, _event())))
    assert (single.status_code, bulk.status_code) == (409, 400)
    assert [pointer for pointer, _ in caller.errors_of(single)] == [
        "/data/attributes/profile/data/attributes"
    ]
    assert [pointer for pointer, _ in caller.errors_of(bulk)] == [
        f"{GROUPS}/1/attributes/profile/data/attributes"
    ]
    for response in (single, bulk):
        (error,) = response.json()["errors"]
        assert (error["code"], error["meta"]) == ("duplicate_profile", {"duplicate_profile_id": people[1]})
    assert emulator.count_events() == 0


@pytest.mark.parametrize(
    ("persons", "refused"),
    [
        ([{"email": "x@mail.com"}, {"external_id": "x"}, {"email": "x@mail.com", "external_id": "x"}], [2]),
        ([{"email": "x@mail.com", "external_id": "x"}, {"external_id": "x"}], []),
        # The second gives Ann another address, so that the third is somebody new, and the fourth of two minds.
        (
            [
                {**ANN, "external_id": "x"},
                {"external_id": "x", "email": "new@mail.com"},
                ANN,
                {**ANN, "external_id": "x"},
            ],
            [3],
        ),
        ([{**ANN, "external_id": "c9"}, {"external_id": "c9", "phone_number": "+12025550123"}], []),
        ([{"email": "x@mail.com"}, {"email": "x@mail.com", "external_id": "c2"}], [1]),
    ],
    ids=[
        "of two new ones",
        "of one new one",
        "that change hands",
        "that are added",
        "of a new and a known one",
    ],
)
def test_identifiers_are_followed_through_a_request(
    emulator: Emulator, caller: Any, people: list[str], persons: list[dict[str, str]], refused: list[int]
) -> None:
    def body(places: Any) -> dict[str, Any]:
        return _job(*(_group(persons[place], _event(unique_id=str(place))) for place in places))

    before = emulator.profiles()
    response = caller.post(JOBS, body(range(len(persons))))
    if refused:
        assert [pointer for pointer, _ in caller.errors_of(response)] == [
            f"{GROUPS}/{place}/attributes/profile/data/attributes" for place in refused
        ]
        assert (emulator.profiles(), emulator.count_events()) == (before, 0)
        response = caller.post(JOBS, body(place for place in range(len(persons)) if place not in refused))
    assert response.status_code == 202
    assert emulator.count_events() == len(persons) - len(refused)


def test_events_of_fake_addresses_vanish_in_silence(emulator: Emulator, caller: Any) -> None:
    emulator.set(fake_domains=["example.com"])
    body = _job(_group({"email": "a@example.com"}, _event()), _group(ANN, _event()))
    assert caller.post(JOBS, body).status_code == 202
    assert [event["profile"]["email"] for event in emulator.events()] == ["ann@mail.com"]
    assert emulator.count() == 1


# ------------------------------------------------------------------------------------------------------------


def _send(caller: Any, path: str) -> requests.Response:
    people = ("ann@mail.com", "bob@mail.com", "cid@mail.com")
    if path == EVENTS:
        return caller.post(EVENTS, _single(ANN, unique_id="o0"))
    groups = [_group({"email": email}, _event(unique_id=f"o{place}")) for place, email in enumerate(people)]
    return caller.post(JOBS, _job(*groups))


@pytest.mark.parametrize("path", [EVENTS, JOBS])
@pytest.mark.parametrize(
    ("fault", "status", "is_stored"),
    [
        (Fault(FaultKind.STATUS, status=503), 503, False),
        (Fault(FaultKind.SLOW), 202, True),
        (Fault(FaultKind.TRICKLE), 202, True),
        (Fault(FaultKind.NOT_JSON), 202, True),
        (Fault(FaultKind.REFUSE_RECORDS, match="ann@"), 400, False),
        (Fault(FaultKind.JOB_STUCK), 202, False),
    ],
    ids=lambda value: str(value.kind) if isinstance(value, Fault) else None,
)
def test_faults_strike_events_too(
    emulator: Emulator, caller: Any, path: str, fault: Fault, status: int, is_stored: bool
) -> None:
    emulator.inject(fault)
    assert _send(caller, path).status_code == status
    assert (emulator.count_events() > 0) is is_stored


@pytest.mark.parametrize("path", [EVENTS, JOBS])
@pytest.mark.parametrize(
    ("kind", "is_stored"), [(FaultKind.RESET_BEFORE, False), (FaultKind.RESET_AFTER, True)]
)
def test_an_answer_may_be_lost_before_or_after_the_work(
    emulator: Emulator, caller: Any, path: str, kind: FaultKind, is_stored: bool
) -> None:
    emulator.inject(Fault(kind))
    with pytest.raises(requests.ConnectionError):
        _send(caller, path)
    assert (emulator.count_events() > 0) is is_stored
    assert _send(caller, path).status_code == 202
    assert emulator.count_events() == (1 if path == EVENTS else 3)


@pytest.mark.parametrize(
    ("fault", "ids"),
    [
        (Fault(FaultKind.JOB_CANCELLED, records=2), ["o0", "o1"]),
        (Fault(FaultKind.JOB_FAILS, records=2), ["o2"]),
        (Fault(FaultKind.JOB_FAILS, match="bob@"), ["o0", "o2"]),
    ],
    ids=["all but the first", "the first", "by name"],
)
def test_events_may_be_lost_after_their_acceptance(
    emulator: Emulator, caller: Any, fault: Fault, ids: list[str]
) -> None:
    emulator.inject(fault)
    assert _send(caller, JOBS).status_code == 202
    assert _stored(emulator, "unique_id") == ids


@pytest.mark.parametrize(("match", "places"), [("bob@", [1]), ("o2", [2]), ("mail.com", [0, 1, 2])])
def test_events_can_be_refused_that_look_good(
    emulator: Emulator, caller: Any, match: str, places: list[int]
) -> None:
    emulator.inject(Fault(FaultKind.REFUSE_RECORDS, match=match))
    assert [pointer for pointer, _ in caller.errors_of(_send(caller, JOBS))] == [
        f"{GROUPS}/{place}/attributes/events/data/0/attributes" for place in places
    ]


@pytest.mark.parametrize(("kind", "count"), [(FaultKind.POINTERS_ONE, 1), (FaultKind.POINTERS_NONE, 0)])
def test_a_refusal_can_tell_less_than_it_knows(
    emulator: Emulator, caller: Any, kind: FaultKind, count: int
) -> None:
    emulator.inject(Fault(kind))
    bad = _job(_group({"email": "x"}, _event(value="x")))
    assert [pointer is not None for pointer, _ in caller.errors_of(caller.post(JOBS, bad))] == [bool(count)]


# ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(emulator: Emulator, caller: Any) -> list[dict[str, Any]]:
    """Five events of two people and two metrics; their times run against their ids."""
    orders = [
        _event(unique_id=f"o{day}", time=f"2026-07-0{6 - day}T00:00:00Z", value=day) for day in range(1, 5)
    ]
    viewed = _event("Viewed", unique_id="v5", time="2026-07-01T00:00:00Z")
    body = _job(_group(ANN, *orders), _group({"external_id": "c2"}, viewed))
    assert caller.post(JOBS, body).status_code == 202
    return emulator.events()


def _ids(resources: list[Any]) -> list[str]:
    return [each["attributes"]["event_properties"]["$event_id"] for each in resources]


def test_events_are_read_in_pages_by_time(caller: Any, stored: list[Any]) -> None:
    def read(**parameters: Any) -> list[str]:
        return [
            each for page in caller.pages(EVENTS, **{"page[size]": 2}, **parameters) for each in _ids(page)
        ]

    assert read() == read(sort="timestamp") == ["v5", "o4", "o3", "o2", "o1"]
    assert read(sort="-datetime") == ["o1", "o2", "o3", "o4", "v5"]


def test_events_are_filtered(caller: Any, stored: list[Any]) -> None:
    (order,) = [
        each["id"] for each in caller.data("/api/metrics") if each["attributes"]["name"] == "Placed Order"
    ]

    def read(condition: str) -> list[str]:
        return _ids(caller.data(EVENTS, filter=condition))

    assert read(f'equals(metric_id,"{order}")') == ["o4", "o3", "o2", "o1"]
    assert read(f'equals(profile_id,"{stored[4]["profile"]["id"]}")') == ["v5"]
    assert read('equals(profile_id,"nobody")') == []
    assert read(f'equals(metric_id,"{order}"),greater-than(datetime,2026-07-04T00:00:00Z)') == ["o1"]
    assert read("less-or-equal(timestamp,1782950400)") == ["v5", "o4"]


@pytest.mark.parametrize(
    "condition", ["equals(timestamp,1)", "greater-than(timestamp,x)", 'equals(unique_id,"o1")']
)
def test_other_filters_are_refused(caller: Any, condition: str) -> None:
    assert caller.get(EVENTS, filter=condition).status_code == 400


def test_an_event_is_shown_with_its_metric_and_its_profile(caller: Any, stored: list[Any]) -> None:
    parameters = {
        "fields[event]": "event_properties,timestamp",
        "fields[metric]": "name",
        "fields[profile]": "email",
        "include": "metric,profile",
        "sort": "-datetime",
        "page[size]": 2,
    }
    document = caller.get(EVENTS, **parameters).json()
    first = document["data"][0]
    assert first["attributes"] == {
        "timestamp": 1783209600,
        "event_properties": {"$event_id": "o1", "$value": 1},
    }
    related = {kind: relation["data"]["id"] for kind, relation in first["relationships"].items()}
    assert [(each["id"], each["attributes"]) for each in document["included"]] == [
        (related["metric"], {"name": "Placed Order"}),
        (related["profile"], {"email": "ann@mail.com"}),
    ]


def test_metrics_come_with_their_first_event_and_in_pages(caller: Any, clock: ManualClock) -> None:
    for number in range(0, 201, 67):
        clock.advance(1)
        events = [_event(f"Metric {number + each}") for each in range(67)]
        assert caller.post(JOBS, _job(_group(ANN, *events))).status_code == 202
    pages = list(caller.pages("/api/metrics", filter='equals(integration.name,"API")'))
    assert [len(page) for page in pages] == [200, 1]
    assert pages[0][0]["attributes"]["created"] == "2026-09-21T14:13:21+00:00"
    assert caller.data("/api/metrics", filter='equals(integration.category,"eCommerce")') == []
    assert caller.get("/api/metrics", **{"page[size]": 10}).status_code == 400


def test_stored_events_can_be_paged_through(emulator: Emulator, caller: Any, stored: list[Any]) -> None:
    first = caller.get("/_emulator/events", limit=3).json()
    second = caller.get("/_emulator/events", offset=first["next_offset"]).json()
    assert first["events"] + second["events"] == stored
    assert (first["count"], second["next_offset"]) == (5, None)
    assert caller.get("/_emulator/stats").json()["stored"]["events"] == 5
    emulator.reset()
    assert (emulator.events(), emulator.count_flow_starts()) == ([], 0)


@pytest.mark.parametrize(
    ("scope", "statuses"),
    [
        ("events:write", [202, 202, 403, 403]),
        ("events:read", [403, 403, 200, 403]),
        ("metrics:read", [403, 403, 403, 200]),
    ],
)
def test_each_operation_asks_for_its_scope(make_caller: Any, scope: str, statuses: list[int]) -> None:
    with Emulator(keys={"pk_one": (scope,)}) as emulator:
        caller = make_caller(emulator)
        answers = [_send(caller, EVENTS), _send(caller, JOBS), caller.get(EVENTS), caller.get("/api/metrics")]
        caller.close()
    assert [answer.status_code for answer in answers] == statuses
