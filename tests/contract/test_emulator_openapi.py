"""The emulator against the facts of Klaviyo's OpenAPI file: its table of operations, and every success it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
import requests

from airflow_provider_klaviyo.emulator import Emulator, ManualClock, Settings
from airflow_provider_klaviyo.emulator.api.dispatch import OPERATIONS
from airflow_provider_klaviyo.emulator.api.lists import MAX_MEMBERS
from airflow_provider_klaviyo.emulator.api.operations import MAX_BODY_BYTES, Operation
from airflow_provider_klaviyo.emulator.api.suppressions import MAX_PROFILES as MAX_SUPPRESSED
from airflow_provider_klaviyo.emulator.requests.bulk_body import MAX_PROFILES
from airflow_provider_klaviyo.emulator.requests.documents import MAX_PROPERTIES, MAX_TEXT_BYTES
from airflow_provider_klaviyo.emulator.requests.event_body import MAX_EVENTS
from airflow_provider_klaviyo.emulator.requests.event_schema import NAME_LIMIT
from airflow_provider_klaviyo.emulator.requests.profile_schema import LOCATION, MAX_PROFILE_BYTES
from airflow_provider_klaviyo.emulator.requests.subscription_schema import SUBSCRIBE, UNSUBSCRIBE

JOBS = "/api/profile-bulk-import-jobs"
EVENT_JOBS = "/api/event-bulk-create-jobs"
CONSENT_JOBS = "/api/profile-{}-bulk-{}-jobs"


def _described(facts: dict[str, Any], operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = facts["operations"][operation.id]
    return described


def _parameters(facts: dict[str, Any], operation: Operation) -> dict[str, dict[str, Any]]:
    parameters: dict[str, dict[str, Any]] = _described(facts, operation).get("query", {})
    return parameters


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
class TestTable:
    def test_an_operation_is_where_klaviyo_has_it(self, facts: dict[str, Any], operation: Operation) -> None:
        described = _described(facts, operation)
        assert (operation.method, operation.path) == (described["method"], described["path"])

    def test_it_asks_for_klaviyos_scopes(self, facts: dict[str, Any], operation: Operation) -> None:
        assert set(operation.scopes) == set(_described(facts, operation)["scopes"])

    def test_it_has_klaviyos_rates(self, facts: dict[str, Any], operation: Operation) -> None:
        rates = {"burst": f"{operation.rates.burst}/s", "steady": f"{operation.rates.steady}/m"}
        if operation.rates.daily is not None:
            rates["daily"] = f"{operation.rates.daily}/d"
        assert rates == _described(facts, operation)["rates"]

    def test_costly_parameters_lower_the_rates_as_described(
        self, facts: dict[str, Any], operation: Operation
    ) -> None:
        lowered = _described(facts, operation).get("lowered", {})  # says `list` where the value is `lists`
        described = {
            (parameter.rstrip("s"), rates["burst"], rates["steady"]) for parameter, rates in lowered.items()
        }
        ours = {
            (f"{name}={value}".rstrip("s"), f"{rates.burst}/s", f"{rates.steady}/m")
            for name, value, rates in operation.lowered
        }
        assert ours <= described
        for parameter, *_ in described - ours:  # not lowered, because not accepted
            name, _, value = parameter.partition("=")
            assert name not in operation.query.parameters or value == "segment"

    def test_it_understands_no_parameter_that_klaviyo_does_not(
        self, facts: dict[str, Any], operation: Operation
    ) -> None:
        assert operation.query.parameters <= set(_parameters(facts, operation))

    def test_its_choices_are_klaviyos(self, facts: dict[str, Any], operation: Operation) -> None:
        parameters, rules = _parameters(facts, operation), operation.query
        for kind, names in rules.fields.items():
            assert names <= set(parameters[f"fields[{kind}]"]["items"]["enum"])
        for kind, names in rules.additional.items():
            assert names == set(parameters[f"additional-fields[{kind}]"]["items"]["enum"])
        if rules.include:
            assert rules.include <= set(parameters["include"]["items"]["enum"])
        if rules.sort:
            assert set(rules.sort) <= set(parameters["sort"]["enum"])

    def test_its_pages_are_klaviyos(self, facts: dict[str, Any], operation: Operation) -> None:
        schema = _parameters(facts, operation).get("page[size]")
        page = operation.query.page
        assert (schema is None) is (page is None)
        if page is not None:
            assert (page.default, page.largest) == (schema["default"], schema["maximum"])
        told = _described(facts, operation).get("limits", {}).get("page")
        if operation.query.fixed_page and told is not None:
            assert operation.query.fixed_page == told

    def test_its_filters_are_klaviyos(self, facts: dict[str, Any], operation: Operation) -> None:
        described = _described(facts, operation).get("filters", {})
        for field, rule in operation.query.filters.items():
            assert set(rule.operators) == set().union(*described[field]["operators"].values())


def test_the_limits_of_profiles_are_klaviyos(facts: dict[str, Any]) -> None:
    operations = facts["operations"]
    told = {"records": MAX_PROFILES, "bytes": MAX_BODY_BYTES, "record_bytes": MAX_PROFILE_BYTES}
    assert operations["bulk_import_profiles"]["limits"] == told
    for one in ("create_profile", "update_profile", "create_or_update_profile"):
        assert operations[one]["limits"] == {"bytes": MAX_PROFILE_BYTES}


def test_the_limits_of_lists_are_klaviyos(facts: dict[str, Any]) -> None:
    for change in ("add_profiles_to_list", "remove_profiles_from_list"):
        assert facts["operations"][change]["limits"] == {"records": MAX_MEMBERS}


def test_the_limits_of_events_are_klaviyos(facts: dict[str, Any]) -> None:
    told = {"records": MAX_EVENTS, "bytes": MAX_BODY_BYTES, "text_bytes": MAX_TEXT_BYTES}
    schemas = facts["schemas"]
    event = schemas["EventCreateQueryV2ResourceObject"]["properties"]["attributes"]["properties"]
    metric = schemas["MetricCreateQueryResourceObject"]["properties"]["attributes"]["properties"]
    assert facts["operations"]["bulk_create_events"]["limits"] == told
    assert event["properties"]["maxProperties"] == MAX_PROPERTIES
    assert metric["name"]["maxLength"] == NAME_LIMIT - 1


def test_the_limits_of_consent_are_klaviyos(facts: dict[str, Any]) -> None:
    limits = {
        "bulk_subscribe_profiles": SUBSCRIBE.limit,
        "bulk_unsubscribe_profiles": UNSUBSCRIBE.limit,
        "bulk_suppress_profiles": MAX_SUPPRESSED,
        "bulk_unsuppress_profiles": MAX_SUPPRESSED,
    }
    for name, limit in limits.items():
        assert facts["operations"][name]["limits"] == {"records": limit}


# ------------------------------------------------------------------------------------------------------------


def _plain(schema: Any, schemas: dict[str, Any]) -> Any:
    """A schema in OpenAPI's words as JSON Schema: references resolved, `nullable` spelt out."""
    if isinstance(schema, list):
        return [_plain(each, schemas) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = schemas[schema["$ref"]]
        return _plain(target | {name: schema[name] for name in schema if name != "$ref"}, schemas)
    if "allOf" in schema:
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            merged = _merged(merged, _plain(part, schemas))
        return merged
    plain = {name: _plain(value, schemas) for name, value in schema.items()}
    if plain.get("nullable") is True:
        plain = {"anyOf": [{"type": "null"}, plain]}
    return plain


def _merged(first: Any, second: Any) -> Any:
    if isinstance(first, dict) and isinstance(second, dict):
        return first | {
            name: _merged(first[name], second[name]) if name in first else second[name] for name in second
        }
    return second


def _closed(schema: Any) -> Any:
    """The schema with members that it does not name refused."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        closed["additionalProperties"] = False
    return closed


def _schema(facts: dict[str, Any], operation: Operation, status: int) -> Any:
    answer = _described(facts, operation)["answers"][str(status)]
    if answer is None:
        return None
    schema = _closed(_plain(answer, facts["schemas"]))
    for name in ("next", "prev"):  # null on the wire, as recorded from live answers; the file says text only
        links = schema["properties"].get("links", {}).get("properties", {})
        if name in links:
            links[name] = {"anyOf": [{"type": "null"}, links[name]]}
    return schema


class World:
    """An account with something of everything, and a client."""

    def __init__(self, emulator: Emulator, clock: ManualClock) -> None:
        self.emulator = emulator
        self.clock = clock
        self._session = requests.Session()
        self.person = {
            "email": "ann@mail.com",
            "phone_number": "+12025550123",
            "external_id": "c1",
            "first_name": "Ann",
            "locale": "en-US",
            "image": "https://mail.com/ann.png",
            "location": {"city": "Kiel", "latitude": 54.3, "longitude": "10.1", "ip": "127.0.0.1"},
            "properties": {"tier": "gold", "tags": ["a"], "nested": {"a": None}},
        }
        self.ann, self.bob = emulator.add_profiles([self.person, {"external_id": "c2"}])
        self.vip = emulator.add_list("VIP", [self.ann])
        self.job = self.import_job()
        clock.advance(60)

    def import_job(self) -> str:
        people = [{"type": "profile", "attributes": {"external_id": each}} for each in ("c3", "c3", "c4")]
        return str(self.send("POST", JOBS, self.bulk(people)).json()["data"]["id"])

    def consent_body(self, subject: str, verb: str, *people: Any, **more: Any) -> Any:
        kind = f"profile-{subject}-bulk-{verb}-job"
        resources = [{"type": "profile", "attributes": person} for person in people]
        attributes = {"profiles": {"data": resources}} | more if people else {}
        relationships = {"list": {"data": {"type": "list", "id": self.vip}}}
        by_list = subject == "subscription" or not people
        data = {"type": kind, "attributes": attributes} | (
            {"relationships": relationships} if by_list else {}
        )
        return {"data": data}

    def consent_job(self, subject: str, verb: str, *people: Any, **more: Any) -> requests.Response:
        return self.send(
            "POST", CONSENT_JOBS.format(subject, verb), self.consent_body(subject, verb, *people, **more)
        )

    def suppression_job(self, verb: str) -> str:
        path = CONSENT_JOBS.format("suppression", verb)
        return f"{path}/{self.consent_job('suppression', verb, ANN).json()['data']['id']}"

    def with_consents(self) -> World:
        """Somebody who has everything that `subscriptions` can show."""
        for channel in ("email", "email.open_tracking", "sms", "sms.transactional"):
            self.emulator.set_consent(self.ann, channel, "SUBSCRIBED", source="Shop")
        self.emulator.suppress(self.ann, "HARD_BOUNCE")
        self.emulator.suppress(self.ann, "UNSUBSCRIBE", self.vip)
        return self

    def with_events(self) -> World:
        """Two events, one of which says little."""
        self.send("POST", EVENT_JOBS, _event_job())
        little = _event()
        little["data"]["attributes"] |= dict.fromkeys(("value", "value_currency", "unique_id"))
        self.send("POST", "/api/events", little)
        return self

    def bulk(self, people: list[Any]) -> Any:
        return {
            "data": {
                "type": "profile-bulk-import-job",
                "attributes": {"profiles": {"data": people}},
                "relationships": {"lists": {"data": [{"type": "list", "id": self.vip}]}},
            }
        }

    def send(self, method: str, path: str, document: Any = None, **parameters: str) -> requests.Response:
        headers = {"Authorization": f"Klaviyo-API-Key {self.emulator.api_key}", "revision": "2026-07-15"}
        options: dict[str, Any] = {"params": parameters or None}
        if document is not None:
            options["json"] = document
        return self._session.request(method, self.emulator.url + path, headers=headers, timeout=30, **options)

    def close(self) -> None:
        self._session.close()


@pytest.fixture
def world() -> Iterator[World]:
    clock = ManualClock()
    with Emulator(Settings(job_seconds=5.0), clock=clock) as emulator:
        world = World(emulator, clock)
        yield world
        world.close()


def _profile(profile_id: str | None = None, **attributes: Any) -> Any:
    data = {"type": "profile", "attributes": attributes} | ({"id": profile_id} if profile_id else {})
    return {"data": data}


ANN = {"email": "ann@mail.com"}
CONSENTED = {"consent": "SUBSCRIBED", "consented_at": "2025-01-31T10:00:00+01:00"}
#: Everything that may be said about a person who subscribes; unsubscribing says less.
EVERYTHING = {
    **ANN,
    "phone_number": "+12025550123",
    "age_gated_date_of_birth": "1990-01-31",
    "subscriptions": {
        "email": {"marketing": CONSENTED, "open_tracking": {"consent": "SUBSCRIBED"}},
        "sms": {"marketing": CONSENTED, "transactional": CONSENTED},
    },
}
GONE = {"consent": "UNSUBSCRIBED"}
NOTHING = {
    **ANN,
    "phone_number": "+12025550123",
    "subscriptions": {
        "email": {"marketing": GONE, "open_tracking": GONE},
        "sms": {"marketing": GONE, "transactional": GONE},
    },
}
HISTORY = {"historical_import": True, "custom_source": "Shop"}
PERSON = {
    **ANN,
    "phone_number": "+12025550123",
    "external_id": "c1",
    "first_name": "Ann",
    "last_name": "Lee",
    "organization": "Lee",
    "title": "Dr.",
    "locale": "en-US",
    "image": "https://mail.com/ann.png",
    "location": {"city": "Kiel"},
    "properties": {"tier": "gold"},
    "_kx": None,
    "anonymous_id": None,
}
PATCH = {"patch_properties": {"append": {"tags": "a"}, "unappend": {"tags": ["b"]}, "unset": "old"}}
EVENT = {
    "properties": {"sku": "A1", "lines": [{"sku": "A1"}]},
    "metric": {"data": {"type": "metric", "attributes": {"name": "Placed Order", "service": "api"}}},
    "time": "2026-07-01T10:00:00+00:00",
    "value": 9.99,
    "value_currency": "USD",
    "unique_id": "o1",
    "backfill": False,
}


def _event() -> Any:
    """An event that says everything that may be said."""
    profile = {"type": "profile", "id": None, "attributes": {**PERSON, "meta": PATCH}}
    return {"data": {"type": "event", "attributes": {**EVENT, "profile": {"data": profile}}}}


def _event_job() -> Any:
    profile = {"type": "profile", "id": None, "attributes": PERSON, "meta": PATCH}
    group = {
        "backfill": True,
        "profile": {"data": profile},
        "events": {"data": [{"type": "event", "attributes": EVENT}]},
    }
    groups = [{"type": "event-bulk-create", "attributes": group}]
    return {"data": {"type": "event-bulk-create-job", "attributes": {"events-bulk-create": {"data": groups}}}}


MORE = {"additional-fields[profile]": "subscriptions,predictive_analytics"}
CALLS: dict[str, Callable[[World], list[requests.Response]]] = {
    "get_accounts": lambda w: [w.send("GET", "/api/accounts")],
    "get_account": lambda w: [w.send("GET", f"/api/accounts/{w.emulator.account_id}")],
    "get_profiles": lambda w: [
        w.with_consents().send("GET", "/api/profiles", **MORE),
        w.send("GET", "/api/profiles", **{"page[size]": "1"}),
        w.send("GET", "/api/profiles", filter='equals(email,"nobody")'),
    ],
    "get_profile": lambda w: [
        w.send("GET", f"/api/profiles/{w.ann}", **MORE),
        w.send("GET", f"/api/profiles/{w.ann}", include="lists"),
    ],
    "create_profile": lambda w: [w.send("POST", "/api/profiles", _profile(email="new@mail.com"), **MORE)],
    "update_profile": lambda w: [w.send("PATCH", f"/api/profiles/{w.ann}", _profile(w.ann, title="Dr."))],
    "create_or_update_profile": lambda w: [
        w.send("POST", "/api/profile-import", _profile(email="new@mail.com")),
        w.send("POST", "/api/profile-import", _profile(email="ann@mail.com"), **MORE),
    ],
    "bulk_import_profiles": lambda w: [
        w.send("POST", JOBS, w.bulk([{"type": "profile", "attributes": {"external_id": "c9"}}]))
    ],
    "get_bulk_import_profiles_jobs": lambda w: [w.send("GET", JOBS), w.send("GET", JOBS, sort="-created_at")],
    "get_bulk_import_profiles_job": lambda w: [
        w.send("GET", f"{JOBS}/{w.job}", include="lists"),
        w.send("GET", f"{JOBS}/{w.import_job()}"),
    ],
    "get_errors_for_bulk_import_profiles_job": lambda w: [w.send("GET", f"{JOBS}/{w.job}/import-errors")],
    "get_list_for_bulk_import_profiles_job": lambda w: [w.send("GET", f"{JOBS}/{w.job}/lists")],
    "get_list_ids_for_bulk_import_profiles_job": lambda w: [
        w.send("GET", f"{JOBS}/{w.job}/relationships/lists")
    ],
    "get_profile_ids_for_bulk_import_profiles_job": lambda w: [
        w.send("GET", f"{JOBS}/{w.job}/relationships/profiles")
    ],
    "get_profiles_for_bulk_import_profiles_job": lambda w: [
        w.send("GET", f"{JOBS}/{w.job}/profiles", **MORE)
    ],
    "get_lists": lambda w: [w.send("GET", "/api/lists")],
    "get_list": lambda w: [
        w.send("GET", f"/api/lists/{w.vip}", **{"additional-fields[list]": "profile_count"}),
        w.send("GET", f"/api/lists/{w.vip}"),
    ],
    "create_list": lambda w: [
        w.send("POST", "/api/lists", {"data": {"type": "list", "attributes": {"name": "x"}}})
    ],
    "update_list": lambda w: [
        w.send(
            "PATCH",
            f"/api/lists/{w.vip}",
            {"data": {"type": "list", "id": w.vip, "attributes": {"name": "x"}}},
        )
    ],
    "delete_list": lambda w: [w.send("DELETE", f"/api/lists/{w.vip}")],
    "get_profiles_for_list": lambda w: [w.send("GET", f"/api/lists/{w.vip}/profiles", **MORE)],
    "get_profile_ids_for_list": lambda w: [w.send("GET", f"/api/lists/{w.vip}/relationships/profiles")],
    "add_profiles_to_list": lambda w: [
        w.send(
            "POST", f"/api/lists/{w.vip}/relationships/profiles", {"data": [{"type": "profile", "id": w.bob}]}
        )
    ],
    "remove_profiles_from_list": lambda w: [
        w.send(
            "DELETE",
            f"/api/lists/{w.vip}/relationships/profiles",
            {"data": [{"type": "profile", "id": w.ann}]},
        )
    ],
    "create_event": lambda w: [w.send("POST", "/api/events", _event())],
    "bulk_create_events": lambda w: [w.send("POST", EVENT_JOBS, _event_job())],
    "get_events": lambda w: [
        w.send("GET", "/api/events"),
        w.with_events().send("GET", "/api/events", include="metric,profile"),
        w.send("GET", "/api/events", **{"page[size]": "1"}, sort="-datetime"),
    ],
    "get_metrics": lambda w: [
        w.send("GET", "/api/metrics"),
        w.with_events().send("GET", "/api/metrics", include="flow-triggers"),
    ],
    "bulk_subscribe_profiles": lambda w: [w.consent_job("subscription", "create", EVERYTHING, **HISTORY)],
    "bulk_unsubscribe_profiles": lambda w: [w.consent_job("subscription", "delete", NOTHING)],
    "bulk_suppress_profiles": lambda w: [
        w.consent_job("suppression", "create", ANN),
        w.consent_job("suppression", "create"),
    ],
    "bulk_unsuppress_profiles": lambda w: [
        w.consent_job("suppression", "delete", ANN),
        w.consent_job("suppression", "delete"),
    ],
    "get_bulk_suppress_profiles_jobs": lambda w: [
        w.send("GET", w.suppression_job("create").rpartition("/")[0])
    ],
    "get_bulk_unsuppress_profiles_jobs": lambda w: [
        w.send("GET", w.suppression_job("delete").rpartition("/")[0])
    ],
    "get_bulk_suppress_profiles_job": lambda w: [w.send("GET", w.suppression_job("create"))],
    "get_bulk_unsuppress_profiles_job": lambda w: [w.send("GET", w.suppression_job("delete"))],
}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_every_success_is_one_that_klaviyo_describes(
    facts: dict[str, Any], world: World, operation: Operation
) -> None:
    for response in CALLS[operation.id](world):
        assert response.status_code < 300, response.text
        schema = _schema(facts, operation, response.status_code)
        if schema is None:
            assert response.content == b""
        else:
            jsonschema.Draft202012Validator(schema).validate(response.json())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/profiles/none", 404),
        ("GET", "/api/profiles?sort=age", 400),
        ("PUT", "/api/profiles", 405),
        ("POST", "/api/profiles", 415),
        ("GET", "/api/nowhere", 404),
    ],
)
def test_every_refusal_is_one_that_klaviyo_describes(
    facts: dict[str, Any], world: World, method: str, path: str, status: int
) -> None:
    response = world.send(method, path)
    assert response.status_code == status
    schema = _plain(facts["refusal"], facts["schemas"])
    jsonschema.Draft202012Validator(schema).validate(response.json())


def test_what_klaviyos_schema_takes_for_a_profile_is_known_to_the_emulator(
    facts: dict[str, Any], world: World
) -> None:
    schemas = facts["schemas"]
    attributes = set(schemas["ProfileUpsertQueryResourceObject"]["properties"]["attributes"]["properties"])
    location = dict.fromkeys(schemas["ProfileLocation"]["properties"])
    document = _profile(
        email="new@mail.com", **dict.fromkeys(attributes - {"email", "location"}), location=location
    )
    assert world.send("POST", "/api/profile-import", document).status_code == 201


@pytest.mark.parametrize(
    ("path", "model", "body"),
    [
        ("/api/events", "EventCreateQueryV2", _event()),
        (EVENT_JOBS, "EventsBulkCreateJob", _event_job()),
    ],
)
def test_what_klaviyos_schema_takes_for_an_event_is_known_to_the_emulator(
    facts: dict[str, Any], world: World, path: str, model: str, body: Any
) -> None:
    """All of it, but for secondary addresses."""
    schema = _closed(_plain(facts["schemas"][model], facts["schemas"]))
    jsonschema.Draft202012Validator(schema).validate(body)
    assert _unsaid(schema, body) <= {"patch_identifiers", *LOCATION}
    assert world.send("POST", path, body).status_code == 202


def _unsaid(schema: Any, value: Any) -> set[str]:
    """What a schema names and a body does not."""
    schema = schema["anyOf"][1] if "anyOf" in schema else schema
    if isinstance(value, list):
        return set().union(*(_unsaid(schema["items"], each) for each in value))
    if not isinstance(value, dict) or "properties" not in schema:
        return set()
    members = schema["properties"]
    return (set(members) - set(value)).union(*(_unsaid(members[name], value[name]) for name in value))


@pytest.mark.parametrize(
    ("verb", "model", "person", "more"),
    [
        ("create", "SubscriptionCreateJobCreateQuery", EVERYTHING, HISTORY),
        ("delete", "SubscriptionDeleteJobCreateQuery", NOTHING, {}),
    ],
)
def test_what_klaviyos_schema_takes_for_consent_is_known_to_the_emulator(
    facts: dict[str, Any], world: World, verb: str, model: str, person: Any, more: Any
) -> None:
    """All of it, but for the channels that the emulated account has not."""
    body = world.consent_body("subscription", verb, person, **more)
    schema = _plain(facts["schemas"][model], facts["schemas"])
    jsonschema.Draft202012Validator(_closed(schema)).validate(body)
    attributes = schema["properties"]["data"]["properties"]["attributes"]["properties"]
    assert set(body["data"]["attributes"]) == set(attributes)
    record = attributes["profiles"]["properties"]["data"]["items"]["properties"]["attributes"]
    assert set(person) == set(record["properties"])
    channels = record["properties"]["subscriptions"]["properties"]
    assert set(channels) - set(person["subscriptions"]) == {"push", "whatsapp"}
    for name, purposes in person["subscriptions"].items():
        channel = channels[name]["anyOf"][1] if "anyOf" in channels[name] else channels[name]
        assert set(purposes) == set(channel["properties"])
    assert world.consent_job("subscription", verb, person, **more).status_code == 202
