"""The emulator against Klaviyo's OpenAPI file: its table of operations, and every success that it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
import requests

from airflow_provider_klaviyo.emulator import Emulator, ManualClock, Settings
from airflow_provider_klaviyo.emulator.api.dispatch import OPERATIONS
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

# In Klaviyo's file, but not in the part of it that is kept with this project.
ELSEWHERE = {"get_list_ids_for_bulk_import_profiles_job", "get_profile_ids_for_bulk_import_profiles_job"}
DESCRIBED = [operation for operation in OPERATIONS if operation.id not in ELSEWHERE]


def _described(openapi: dict[str, Any], operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = openapi["paths"][operation.path][operation.method.lower()]
    return found


def _parameters(openapi: dict[str, Any], operation: Operation) -> dict[str, dict[str, Any]]:
    described = _described(openapi, operation)["parameters"]
    return {each["name"]: each for each in described if each["in"] == "query"}


@pytest.mark.parametrize("operation", DESCRIBED, ids=lambda operation: operation.id)
class TestTable:
    def test_an_operation_is_where_klaviyo_has_it(
        self, openapi: dict[str, Any], operation: Operation
    ) -> None:
        assert _described(openapi, operation)["operationId"] == operation.id

    def test_it_asks_for_klaviyos_scopes(self, openapi: dict[str, Any], operation: Operation) -> None:
        assert set(operation.scopes) == set(_described(openapi, operation)["x-klaviyo-scopes"])

    def test_it_has_klaviyos_rates(self, openapi: dict[str, Any], operation: Operation) -> None:
        rates = {"burst": f"{operation.rates.burst}/s", "steady": f"{operation.rates.steady}/m"}
        if operation.rates.daily is not None:
            rates["daily"] = f"{operation.rates.daily}/d"
        assert rates == _described(openapi, operation)["x-klaviyo-ratelimit"]

    def test_costly_parameters_lower_the_rates_as_described(
        self, openapi: dict[str, Any], operation: Operation
    ) -> None:
        text = _described(openapi, operation)["description"]
        parameter = r"`([\w-]+(?:\[\w+\])?)=(\w+)` parameter in your API request:"
        pattern = parameter + r"<br>Burst: `(\d+)/s`<br>Steady: `(\d+)/m`"
        described = {
            (name, value.rstrip("s"), int(burst), int(steady))
            for name, value, burst, steady in re.findall(pattern, text)
        }
        ours = {
            (name, value.rstrip("s"), rates.burst, rates.steady) for name, value, rates in operation.lowered
        }
        assert ours <= described
        for name, value, *_ in described - ours:  # not lowered, because not accepted
            assert name not in operation.query.parameters or value == "segment"

    def test_it_understands_no_parameter_that_klaviyo_does_not(
        self, openapi: dict[str, Any], operation: Operation
    ) -> None:
        assert operation.query.parameters <= set(_parameters(openapi, operation))

    def test_its_choices_are_klaviyos(self, openapi: dict[str, Any], operation: Operation) -> None:
        parameters, rules = _parameters(openapi, operation), operation.query
        for kind, names in rules.fields.items():
            assert names <= set(parameters[f"fields[{kind}]"]["schema"]["items"]["enum"])
        for kind, names in rules.additional.items():
            assert names == set(parameters[f"additional-fields[{kind}]"]["schema"]["items"]["enum"])
        if rules.include:
            assert rules.include <= set(parameters["include"]["schema"]["items"]["enum"])
        if rules.sort:
            assert set(rules.sort) <= set(parameters["sort"]["schema"]["enum"])

    def test_its_pages_are_klaviyos(self, openapi: dict[str, Any], operation: Operation) -> None:
        schema = _parameters(openapi, operation).get("page[size]", {}).get("schema")
        page = operation.query.page
        assert (schema is None) is (page is None)
        if page is not None:
            assert (page.default, page.largest) == (schema["default"], schema["maximum"])

    def test_its_filters_are_klaviyos(self, openapi: dict[str, Any], operation: Operation) -> None:
        text = _parameters(openapi, operation).get("filter", {}).get("description", "")
        described = {
            field: set(re.findall(r"`([\w-]+)`", operators))
            for field, operators in re.findall(r"<br>`([\w.]+)`: ((?:`[\w-]+`(?:, )?)+)", text)
        }
        for field, rule in operation.query.filters.items():
            assert set(rule.operators) == described[field]


def test_the_limits_of_a_bulk_import_are_klaviyos(openapi: dict[str, Any]) -> None:
    text = openapi["paths"][JOBS]["post"]["description"]
    assert (MAX_PROFILES, MAX_BODY_BYTES, MAX_PROFILE_BYTES) == (10_000, 5_000_000, 100_000)
    assert "Accepts up to 10,000 profiles" in text
    assert "payload size is 5MB" in text
    assert "per-profile is 100KB" in text


def test_the_limits_of_events_are_klaviyos(openapi: dict[str, Any]) -> None:
    text = openapi["paths"][EVENT_JOBS]["post"]["description"]
    schemas = openapi["components"]["schemas"]
    event = schemas["EventCreateQueryV2ResourceObject"]["properties"]["attributes"]["properties"]
    metric = schemas["MetricCreateQueryResourceObject"]["properties"]["attributes"]["properties"]
    assert f"up to {MAX_EVENTS:,} events per request" in text
    assert "payload size is 5MB" in text
    assert f"string cannot exceed {MAX_TEXT_BYTES // 1_000}KB" in text
    assert f"must not exceed {MAX_PROPERTIES} properties" in event["properties"]["description"]
    assert f"less than {NAME_LIMIT} characters" in metric["name"]["description"]


def test_the_limits_of_consent_are_klaviyos(openapi: dict[str, Any]) -> None:
    limits = {
        ("subscription", "create"): f"submitted for subscription: {SUBSCRIBE.limit}",
        ("subscription", "delete"): f"profiles per call: {UNSUBSCRIBE.limit}",
        ("suppression", "create"): f"per request limit: {MAX_SUPPRESSED}",
        ("suppression", "delete"): f"per request limit: {MAX_SUPPRESSED}",
    }
    for names, words in limits.items():
        assert words in openapi["paths"][CONSENT_JOBS.format(*names)]["post"]["description"]


# ------------------------------------------------------------------------------------------------------------


def _plain(schema: Any, openapi: dict[str, Any]) -> Any:
    """A schema of OpenAPI 3.0 as JSON Schema: references resolved, `nullable` spelt out, unknown members refused."""
    if isinstance(schema, list):
        return [_plain(each, openapi) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return _plain(target | {name: schema[name] for name in schema if name != "$ref"}, openapi)
    if "allOf" in schema:
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            merged = _merged(merged, _plain(part, openapi))
        return merged
    plain = {name: _plain(value, openapi) for name, value in schema.items()}
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


def _schema(openapi: dict[str, Any], operation: Operation, status: int) -> Any:
    content = _described(openapi, operation)["responses"][str(status)].get("content")
    if content is None:
        return None
    schema = _closed(_plain(content["application/vnd.api+json"]["schema"], openapi))
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


@pytest.mark.parametrize("operation", DESCRIBED, ids=lambda operation: operation.id)
def test_every_success_is_one_that_klaviyo_describes(
    openapi: dict[str, Any], world: World, operation: Operation
) -> None:
    for response in CALLS[operation.id](world):
        assert response.status_code < 300, response.text
        schema = _schema(openapi, operation, response.status_code)
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
    openapi: dict[str, Any], world: World, method: str, path: str, status: int
) -> None:
    response = world.send(method, path)
    assert response.status_code == status
    schema = openapi["components"]["responses"]["ClientError"]["content"]["application/vnd.api+json"][
        "schema"
    ]
    jsonschema.Draft202012Validator(_plain(schema, openapi)).validate(response.json())


def test_what_klaviyos_schema_takes_for_a_profile_is_known_to_the_emulator(
    openapi: dict[str, Any], world: World
) -> None:
    schemas = openapi["components"]["schemas"]
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
    openapi: dict[str, Any], world: World, path: str, model: str, body: Any
) -> None:
    """All of it, but for secondary addresses."""
    schema = _closed(_plain(openapi["components"]["schemas"][model], openapi))
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
    openapi: dict[str, Any], world: World, verb: str, model: str, person: Any, more: Any
) -> None:
    """All of it, but for the channels that the emulated account has not."""
    body = world.consent_body("subscription", verb, person, **more)
    schema = _plain(openapi["components"]["schemas"][model], openapi)
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
