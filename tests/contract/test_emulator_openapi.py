"""The emulator against Klaviyo's OpenAPI file: its table of operations, and every success that it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
import requests

from airflow_provider_klaviyo.emulator import Emulator, ManualClock, Settings
from airflow_provider_klaviyo.emulator.api import OPERATIONS
from airflow_provider_klaviyo.emulator.bulk_body import MAX_PROFILES
from airflow_provider_klaviyo.emulator.operations import MAX_BODY_BYTES, Operation
from airflow_provider_klaviyo.emulator.profile_schema import MAX_PROFILE_BYTES

JOBS = "/api/profile-bulk-import-jobs"

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


MORE = {"additional-fields[profile]": "subscriptions,predictive_analytics"}
CALLS: dict[str, Callable[[World], list[requests.Response]]] = {
    "get_accounts": lambda w: [w.send("GET", "/api/accounts")],
    "get_account": lambda w: [w.send("GET", f"/api/accounts/{w.emulator.account_id}")],
    "get_profiles": lambda w: [
        w.send("GET", "/api/profiles", **MORE),
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
