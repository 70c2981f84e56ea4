"""Klaviyo's own Python SDK (of revision 2026-07-15) talks to the emulator as to Klaviyo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault, ManualClock, Settings

klaviyo_api = pytest.importorskip("klaviyo_api", reason="Klaviyo's SDK is not installed (klaviyo-api 24)")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def emulator(clock: ManualClock) -> Iterator[Emulator]:
    with Emulator(Settings(job_seconds=5.0, suppression_jobs="tell"), clock=clock) as running:
        yield running


@pytest.fixture
def sdk(emulator: Emulator) -> Iterator[Any]:
    api = klaviyo_api.KlaviyoAPI(emulator.api_key, max_retries=1, test_host=emulator.url)
    yield api
    api.api_client.rest_client.pool_manager.clear()


def _bulk(*people: dict[str, Any], list_id: str | None = None) -> dict[str, Any]:
    data: dict[str, Any] = {
        "type": "profile-bulk-import-job",
        "attributes": {
            "profiles": {"data": [{"type": "profile", "attributes": person} for person in people]}
        },
    }
    if list_id:
        data["relationships"] = {"lists": {"data": [{"type": "list", "id": list_id}]}}
    return {"data": data}


def test_the_sdk_sends_the_revision_that_is_emulated(sdk: Any) -> None:
    assert sdk.api_client.default_headers["revision"] == "2026-07-15"


def test_it_reads_the_account(emulator: Emulator, sdk: Any) -> None:
    (account,) = sdk.Accounts.get_accounts().data
    assert account.id == emulator.account_id
    assert account.attributes.contact_information.organization_name == "Emulated Outfitters"


def test_it_imports_in_bulk_and_reads_the_errors(emulator: Emulator, sdk: Any, clock: ManualClock) -> None:
    vip = emulator.add_list("VIP")
    people = (
        {"email": "ann@mail.com", "properties": {"tier": "gold"}},
        {"external_id": "c2"},
        {"external_id": "c2"},
    )
    job = sdk.Profiles.bulk_import_profiles(_bulk(*people, list_id=vip))
    assert job.data.attributes.status == "queued"
    clock.advance(5)
    done = sdk.Profiles.get_bulk_import_profiles_job(job.data.id, include=["lists"])
    assert (done.data.attributes.status, done.data.attributes.failed_count) == ("complete", 1)
    (error,) = sdk.Profiles.get_errors_for_bulk_import_profiles_job(job.data.id, page_size=100).data
    assert error.attributes.source.pointer == "/data/attributes/profiles/data/2"
    profiles = sdk.Profiles.get_profiles_for_bulk_import_profiles_job(job.data.id).data
    assert [profile.attributes.external_id for profile in profiles] == [None, "c2"]
    ids = sdk.Profiles.get_profile_ids_for_bulk_import_profiles_job(job.data.id).data
    assert [each.id for each in ids] == [profile.id for profile in profiles]
    (listed,) = sdk.Profiles.get_bulk_import_profiles_jobs(
        filter='any(status,["complete"])', sort="-created_at"
    ).data
    assert listed.id == job.data.id
    assert [each.id for each in sdk.Profiles.get_list_for_bulk_import_profiles_job(job.data.id).data] == [vip]


def test_it_finds_profiles_page_by_page(emulator: Emulator, sdk: Any) -> None:
    emulator.add_profiles([{"email": f"p+{number}@mail.com"} for number in range(30)])
    values = ",".join(f'"p+{number}@mail.com"' for number in range(30))
    condition = f"any(email,[{values}])"
    first = sdk.Profiles.get_profiles(
        filter=condition, page_size=20, additional_fields_profile=["subscriptions"]
    )
    # The SDK finds the cursor in a link by itself, but only where that begins with https://.
    (cursor,) = parse_qs(urlsplit(first.links.next).query)["page[cursor]"]
    second = sdk.Profiles.get_profiles(filter=condition, page_size=20, page_cursor=cursor)
    assert [len(first.data), len(second.data), second.links.next] == [20, 10, None]
    assert first.data[0].attributes.subscriptions.email.marketing.consent == "NEVER_SUBSCRIBED"


def test_it_creates_updates_and_clears_a_profile(emulator: Emulator, sdk: Any) -> None:
    person = {"email": "ann@mail.com", "first_name": "Ann", "location": {"city": "Kiel"}}
    made = sdk.Profiles.create_or_update_profile({"data": {"type": "profile", "attributes": person}})
    profile_id = made.data.id
    change = {
        "data": {"type": "profile", "id": profile_id, "attributes": {"first_name": None, "title": "Dr."}}
    }
    sdk.Profiles.update_profile(profile_id, change)
    assert emulator.profiles() == [
        {"id": profile_id, "email": "ann@mail.com", "title": "Dr.", "location": {"city": "Kiel"}}
    ]
    assert sdk.Profiles.get_profile(profile_id).data.attributes.title == "Dr."


def test_it_sees_a_conflict_as_one(emulator: Emulator, sdk: Any) -> None:
    emulator.add_profiles([{"email": "ann@mail.com"}])
    from openapi_client.exceptions import ApiException

    with pytest.raises(ApiException, match="duplicate_profile") as refused:
        sdk.Profiles.create_profile({"data": {"type": "profile", "attributes": {"email": "ann@mail.com"}}})
    assert refused.value.status == 409


def test_it_makes_fills_and_empties_a_list(emulator: Emulator, sdk: Any) -> None:
    (ann,) = emulator.add_profiles([{"email": "ann@mail.com"}])
    made = sdk.Lists.create_list({"data": {"type": "list", "attributes": {"name": "VIP"}}})
    list_id, members = made.data.id, {"data": [{"type": "profile", "id": ann}]}
    sdk.Lists.add_profiles_to_list(list_id, members)
    assert [each.id for each in sdk.Lists.get_profiles_for_list(list_id).data] == [ann]
    assert (
        sdk.Lists.get_list(list_id, additional_fields_list=["profile_count"]).data.attributes.profile_count
        == 1
    )
    sdk.Lists.remove_profiles_from_list(list_id, members)
    assert sdk.Lists.get_profile_ids_for_list(list_id).data == []
    assert [each.id for each in sdk.Lists.get_lists(filter='equals(name,"VIP")').data] == [list_id]
    sdk.Lists.delete_list(list_id)
    assert sdk.Lists.get_lists().data == []


def _event(**attributes: Any) -> dict[str, Any]:
    metric = {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}}
    return {"type": "event", "attributes": {"properties": {"sku": "A1"}, "metric": metric, **attributes}}


def test_it_creates_events_and_reads_them(emulator: Emulator, sdk: Any) -> None:
    profile = {"data": {"type": "profile", "attributes": {"email": "ann@mail.com"}}}
    sdk.Events.create_event({"data": _event(profile=profile, unique_id="o1", value=9.99)})
    orders = [_event(unique_id="o2", time="2026-07-01T10:00:00+00:00"), _event(unique_id="o3", value=3)]
    group = {"profile": profile, "events": {"data": orders}, "backfill": True}
    groups = {"data": [{"type": "event-bulk-create", "attributes": group}]}
    sdk.Events.bulk_create_events(
        {"data": {"type": "event-bulk-create-job", "attributes": {"events-bulk-create": groups}}}
    )
    assert [(event["unique_id"], event["value"]) for event in emulator.events()] == [
        ("o1", 9.99),
        ("o2", None),
        ("o3", 3),
    ]
    (metric,) = sdk.Metrics.get_metrics(filter='equals(integration.name,"API")').data
    found = sdk.Events.get_events(filter=f'equals(metric_id,"{metric.id}")', sort="datetime")
    assert [each.attributes.event_properties["$event_id"] for each in found.data] == ["o2", "o1", "o3"]


def _consent(kind: str, list_id: str, **person: Any) -> dict[str, Any]:
    return {
        "data": {
            "type": f"profile-{kind}-job",
            "attributes": {"profiles": {"data": [{"type": "profile", "attributes": person}]}},
            "relationships": {"list": {"data": {"type": "list", "id": list_id}}},
        }
    }


def test_it_subscribes_and_unsubscribes(emulator: Emulator, sdk: Any, clock: ManualClock) -> None:
    vip = emulator.add_list("VIP")
    seen = []
    for kind, consent, act in (
        ("subscription-bulk-create", "SUBSCRIBED", sdk.Profiles.bulk_subscribe_profiles),
        ("subscription-bulk-delete", "UNSUBSCRIBED", sdk.Profiles.bulk_unsubscribe_profiles),
        ("subscription-bulk-delete", "UNSUBSCRIBED", sdk.Profiles.bulk_unsubscribe_profiles),
    ):
        channels = {"email": {"marketing": {"consent": consent}}}
        act(_consent(kind, vip, email="ann@mail.com", subscriptions=channels))
        clock.advance(2)
        (person,) = sdk.Profiles.get_profiles(additional_fields_profile=["subscriptions"]).data
        marketing = person.attributes.subscriptions.email.marketing
        members = len(sdk.Lists.get_profiles_for_list(vip).data)
        seen.append(
            (marketing.consent, members, len(marketing.suppression), len(marketing.list_suppressions))
        )
    assert seen == [("SUBSCRIBED", 1, 0, 0), ("SUBSCRIBED", 0, 0, 1), ("UNSUBSCRIBED", 0, 1, 1)]


def test_it_suppresses_and_lifts_that(emulator: Emulator, sdk: Any, clock: ManualClock) -> None:
    found = []
    for kind, act, read in (
        ("create", sdk.Profiles.bulk_suppress_profiles, sdk.Profiles.get_bulk_suppress_profiles_job),
        ("delete", sdk.Profiles.bulk_unsuppress_profiles, sdk.Profiles.get_bulk_unsuppress_profiles_job),
    ):
        body = _consent(f"suppression-bulk-{kind}", "", email="ann@mail.com")
        del body["data"]["relationships"]
        job = act(body)
        clock.advance(5)
        done = read(job.data.id).data.attributes
        condition = 'equals(subscriptions.email.marketing.suppression.reason,"USER_SUPPRESSED")'
        suppressed = len(sdk.Profiles.get_profiles(filter=condition).data)
        found.append((done.status, done.completed_count, suppressed))
    assert found == [("complete", 1, 1), ("complete", 1, 0)]


def test_its_retries_get_through_a_429(emulator: Emulator) -> None:
    emulator.inject(Fault("status", status=429, retry_after=0))
    patient = klaviyo_api.KlaviyoAPI(emulator.api_key, max_retries=3, test_host=emulator.url)
    assert patient.Lists.get_lists().data == []
    assert [entry.status for entry in emulator.requests()] == [429, 200]
    patient.api_client.rest_client.pool_manager.clear()
