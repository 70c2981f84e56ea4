"""Suppressing people by address or by list, lifting that, and finding who is suppressed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault, FaultKind, ManualClock, Settings

SUPPRESS = "/api/profile-suppression-bulk-create-jobs"
UNSUPPRESS = "/api/profile-suppression-bulk-delete-jobs"
RECORDS = "/data/attributes/profiles/data"


def _body(path: str, *emails: Any, **relations: str) -> dict[str, Any]:
    kind = path.removeprefix("/api/").removesuffix("s")
    data: dict[str, Any] = {"type": kind, "attributes": {}}
    if emails:
        resources = [{"type": "profile", "attributes": {"email": email}} for email in emails]
        data["attributes"] = {"profiles": {"data": resources}}
    if relations:
        data["relationships"] = {
            name: {"data": {"type": name, "id": each}} for name, each in relations.items()
        }
    return {"data": data}


def _counts(job: Any) -> tuple[str, int, int, int]:
    attributes = job["attributes"]
    return tuple(attributes[each] for each in ("status", "total_count", "completed_count", "skipped_count"))


def _reasons(emulator: Emulator, profile_id: str) -> set[str]:
    marketing = emulator.subscriptions(profile_id)["email"]["marketing"]
    return {each["reason"] for each in marketing["suppression"]}


@pytest.fixture
def emulator(clock: ManualClock) -> Iterator[Emulator]:
    with Emulator(Settings(job_seconds=4.0, suppression_jobs="tell"), clock=clock) as running:
        yield running


@pytest.fixture
def ann(emulator: Emulator) -> str:
    return emulator.add_profiles([{"email": "ann@mail.com"}])[0]


def test_people_are_suppressed_by_address_known_or_not(
    emulator: Emulator, caller: Any, clock: ManualClock, ann: str
) -> None:
    emulator.set_consent(ann, "email", "SUBSCRIBED")
    response = caller.post(SUPPRESS, _body(SUPPRESS, "Ann@mail.com", "bob@mail.com"))
    assert response.status_code == 202
    job = response.json()["data"]
    assert _counts(job) == ("processing", 0, 0, 0)
    clock.advance(4)
    assert _counts(caller.data(f"{SUPPRESS}/{job['id']}")) == ("complete", 2, 2, 0)
    marketing = emulator.subscriptions(ann)["email"]["marketing"]
    assert (marketing["consent"], marketing["can_receive_email_marketing"]) == ("SUBSCRIBED", False)
    bob = emulator.profile(email="bob@mail.com") or {}
    assert _reasons(emulator, bob["id"]) == {"USER_SUPPRESSED"}


def test_a_job_misleads_unless_the_account_is_another(clock: ManualClock, make_caller: Any) -> None:
    with Emulator(Settings(job_seconds=4.0), clock=clock) as emulator:
        caller = make_caller(emulator)
        ann = emulator.add_profiles([{"email": "ann@mail.com"}])[0]
        job = caller.post(SUPPRESS, _body(SUPPRESS, "ann@mail.com")).json()["data"]
        assert job["attributes"]["completed_at"]
        assert not _reasons(emulator, ann)
        clock.advance(4)
        told = caller.data(f"{SUPPRESS}/{job['id']}")
        assert _counts(told) == ("processing", 1, 0, 1)
        assert _reasons(emulator, ann) == {"USER_SUPPRESSED"}
        caller.close()


@pytest.mark.parametrize("email", ["a#b@mail.com", "a*b@mail.com", "a&b@mail.com", "ann@mail.123"])
def test_some_addresses_that_are_good_elsewhere_refuse_the_whole_request(caller: Any, email: str) -> None:
    response = caller.post(SUPPRESS, _body(SUPPRESS, "ann@mail.com", email))
    assert response.status_code == 400
    assert response.json()["errors"][0]["source"]["pointer"] == f"{RECORDS}/1/attributes/email"


def test_only_a_suppression_by_hand_is_lifted(
    emulator: Emulator, caller: Any, clock: ManualClock, ann: str
) -> None:
    for reason in ("USER_SUPPRESSED", "UNSUBSCRIBE", "SPAM_COMPLAINT", "HARD_BOUNCE"):
        emulator.suppress(ann, reason)
    body = _body(UNSUPPRESS, "ann@mail.com", "nobody@mail.com")
    job_id = caller.post(UNSUPPRESS, body).json()["data"]["id"]
    clock.advance(4)
    assert _counts(caller.data(f"{UNSUPPRESS}/{job_id}")) == ("complete", 2, 1, 1)
    assert _reasons(emulator, ann) == {"UNSUBSCRIBE", "SPAM_COMPLAINT", "HARD_BOUNCE"}
    assert emulator.count() == 1


def test_everybody_on_a_list_is_suppressed_and_stays_on_it(
    emulator: Emulator, caller: Any, clock: ManualClock, ann: str
) -> None:
    (phone,) = emulator.add_profiles([{"phone_number": "+12025550123"}])
    vip = emulator.add_list("VIP", [ann, phone])
    job = caller.post(SUPPRESS, _body(SUPPRESS, list=vip)).json()["data"]
    assert job["relationships"]["lists"]["data"] == [{"type": "list", "id": vip}]
    clock.advance(4)
    assert _counts(caller.data(f"{SUPPRESS}/{job['id']}")) == ("complete", 1, 1, 0)
    assert [len(_reasons(emulator, each)) for each in (ann, phone)] == [1, 0]
    assert len(emulator.members(vip)) == 2


def test_jobs_are_listed_by_kind_status_list_and_age(
    emulator: Emulator, caller: Any, clock: ManualClock, ann: str
) -> None:
    vip = emulator.add_list("VIP", [ann])
    bodies = (_body(SUPPRESS, "ann@mail.com"), _body(SUPPRESS, list=vip))
    ids = []
    for body in bodies:
        ids.append(caller.post(SUPPRESS, body).json()["data"]["id"])
        clock.advance(3)

    def listed(**parameters: str) -> list[str]:
        return [each["id"] for each in caller.data(SUPPRESS, **parameters)]

    assert listed() == ids
    assert listed(sort="-created") == ids[::-1]
    assert listed(filter='equals(status,"complete")') == ids[:1]
    assert listed(filter=f'equals(list_id,"{vip}")') == ids[1:]
    assert caller.data(UNSUPPRESS) == []
    assert caller.get(f"{UNSUPPRESS}/{ids[0]}").status_code == 404


@pytest.mark.parametrize("sort", ["created", "-created"])
def test_jobs_come_twenty_a_page(caller: Any, sort: str) -> None:
    ids = [caller.post(SUPPRESS, _body(SUPPRESS, "a@mail.com")).json()["data"]["id"] for _ in range(25)]
    pages = list(caller.pages(SUPPRESS, sort=sort))
    assert [len(page) for page in pages] == [20, 5]
    assert [each["id"] for page in pages for each in page] == (ids[::-1] if sort == "-created" else ids)
    assert caller.get(SUPPRESS, **{"page[size]": 50}).status_code == 400


@pytest.mark.parametrize(
    ("emails", "relations"),
    [
        ([], {}),
        (["a@mail.com"], {"list": "VIP123"}),
        ([], {"list": "VIP123", "segment": "Seg123"}),
        ([], {"list": "NoList"}),
        ([], {"segment": "Seg123"}),
        (["nobody"], {}),
        ([None], {}),
    ],
    ids=str,
)
def test_people_are_named_in_one_way_and_properly(
    caller: Any, emails: list[Any], relations: dict[str, str]
) -> None:
    for path in (SUPPRESS, UNSUPPRESS):
        assert caller.post(path, _body(path, *emails, **relations)).status_code == 400


def test_bad_addresses_are_pointed_at(caller: Any) -> None:
    response = caller.post(SUPPRESS, _body(SUPPRESS, "ann@mail.com", "nobody"))
    assert caller.errors_of(response) == [(f"{RECORDS}/1/attributes/email", "Invalid email address")]
    body = _body(SUPPRESS, "ann@mail.com")
    body["data"]["attributes"]["profiles"]["data"][0] = {"type": "person", "attributes": {}}
    assert len(caller.errors_of(caller.post(SUPPRESS, body))) == 1


@pytest.mark.parametrize(("count", "status"), [(100, 202), (101, 400)])
def test_a_job_takes_a_hundred_addresses(caller: Any, count: int, status: int) -> None:
    emails = [f"p{number}@mail.com" for number in range(count)]
    for path in (SUPPRESS, UNSUPPRESS):
        assert caller.post(path, _body(path, *emails)).status_code == status


@pytest.mark.parametrize(
    ("fault", "counts"),
    [
        (Fault(FaultKind.JOB_STUCK), ("processing", 0, 0, 0)),
        (Fault(FaultKind.JOB_CANCELLED, records=1), ("cancelled", 2, 1, 0)),
        (Fault(FaultKind.JOB_FAILS, match="ann"), ("complete", 2, 1, 0)),
    ],
    ids=["stuck", "cancelled", "fails by name"],
)
def test_a_job_ends_as_ordered(
    emulator: Emulator, caller: Any, clock: ManualClock, fault: Fault, counts: tuple[Any, ...]
) -> None:
    emulator.inject(fault)
    job_id = caller.post(SUPPRESS, _body(SUPPRESS, "ann@mail.com", "bob@mail.com")).json()["data"]["id"]
    clock.advance(1_000)
    assert _counts(caller.data(f"{SUPPRESS}/{job_id}")) == counts


class TestFilters:
    GLOBAL = "subscriptions.email.marketing.suppression"
    LIST = "subscriptions.email.marketing.list_suppressions"

    @pytest.fixture
    def people(self, emulator: Emulator, clock: ManualClock) -> list[str]:
        ids = emulator.add_profiles([{"email": f"p{number}@mail.com"} for number in range(5)])
        for at, profile_id in enumerate(ids[:3]):
            emulator.suppress(profile_id, "UNSUBSCRIBE", at=clock.now() + at)
        emulator.suppress(ids[0], "HARD_BOUNCE", at=clock.now() + 9)
        emulator.suppress(ids[4], "UNSUBSCRIBE", "VIP123", at=clock.now())
        emulator.suppress(ids[3], "USER_SUPPRESSED", "VIP123")
        emulator.suppress(ids[3], "UNSUBSCRIBE", "Other1")
        return ids

    @pytest.mark.parametrize(
        ("condition", "found"),
        [
            (f'equals({GLOBAL}.reason,"UNSUBSCRIBE")', [0, 1, 2]),
            (f"greater-than({GLOBAL}.timestamp,2026-09-21T14:13:21Z)", [0, 2]),
            (
                f'equals({GLOBAL}.reason,"UNSUBSCRIBE"),greater-or-equal({GLOBAL}.timestamp,2026-09-21T14:13:21Z)',
                [1, 2],
            ),
            (f'equals({GLOBAL}.reason,"UNSUBSCRIBE"),any(email,["p1@mail.com","p4@mail.com"])', [1]),
            (f'equals({LIST}.list_id,"VIP123")', [3, 4]),
            (f'equals({LIST}.list_id,"VIP123"),equals({LIST}.reason,"UNSUBSCRIBE")', [4]),
            (f'equals({LIST}.list_id,"NoList")', []),
        ],
    )
    def test_profiles_are_found_by_suppression(
        self, caller: Any, people: list[str], condition: str, found: list[int]
    ) -> None:
        pages = caller.pages("/api/profiles", filter=condition, **{"page[size]": 1})
        assert [each["id"] for page in pages for each in page] == [people[at] for at in found]

    @pytest.mark.parametrize(
        "condition",
        [
            f'equals({GLOBAL}.reason,"BORED")',
            f'any({GLOBAL}.reason,["UNSUBSCRIBE"])',
            f'equals({LIST}.reason,"UNSUBSCRIBE")',
            f'equals({LIST}.list_id,"VIP123"),equals({GLOBAL}.reason,"UNSUBSCRIBE")',
            f"less-than({GLOBAL}.timestamp,2026-09-21),greater-than({GLOBAL}.timestamp,2026-09-20)",
        ],
    )
    def test_filters_that_klaviyo_does_not_combine_are_refused(self, caller: Any, condition: str) -> None:
        assert caller.get("/api/profiles", filter=condition).status_code == 400
