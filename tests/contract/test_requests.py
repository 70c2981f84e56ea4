"""Every request body that the package sends, held against Klaviyo's schemas and against its SDK's models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import jsonschema
import pytest

from airflow_provider_klaviyo.client.endpoints import (
    ADD_TO_LIST,
    CREATE_LIST,
    IMPORT_PROFILE,
    IMPORT_PROFILES,
)
from airflow_provider_klaviyo.client.lists import creation_body, membership_body, profile_reference
from airflow_provider_klaviyo.client.profile_imports import import_body
from airflow_provider_klaviyo.records.lists.member import ListMemberMapper
from airflow_provider_klaviyo.records.mapping import Columns, bind
from airflow_provider_klaviyo.records.profiles.mapper import ProfileMapper, ProfileOptions
from airflow_provider_klaviyo.records.profiles.mapping import FIELDS
from airflow_provider_klaviyo.sync.delivery.single_imports import single_body

ROW: dict[str, object] = {
    "klaviyo_id": "01GDDKASAP8TKDDA2GRZDSVP4H",
    "email": "sarah.mason@klaviyo-demo.com",
    "phone_number": "+14155552671",
    "external_id": 63,
    "first_name": "Sarah",
    "last_name": "Mason",
    "organization": "Example Corporation",
    "title": "Regional Manager",
    "locale": "en-US",
    "image": "https://images.shop.io/sarah.png",
    "location.address1": "89 E 42nd St",
    "location.address2": "1st floor",
    "location.city": "New York",
    "location.country": "United States",
    "location.region": "NY",
    "location.zip": 10017,
    "location.timezone": "America/New_York",
    "location.ip": "127.0.0.1",
    "location.latitude": Decimal("40.7"),
    "location.longitude": "-74.0",
    "Tier": "gold",
    "Spent": Decimal("12.50"),
    "Joined": date(2026, 1, 31),
    "Seen": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "Tags": ["a", "b"],
    "Address": {"zip": 1},
}
NULLS = dict.fromkeys(ROW) | {"email": "sarah.mason@klaviyo-demo.com"}

CASES = {
    "every field": (ROW, False),
    "one identifier": ({"email": "sarah.mason@klaviyo-demo.com"}, False),
    "cleared properties": (NULLS, ["properties.Tier", "properties.Tags"]),
    "cleared fields": (NULLS, True),
}


def profile(row: dict[str, object], clear_nulls: Any) -> bytes:
    fields = bind(Columns(list(row)), None, FIELDS)
    mapper = ProfileMapper(fields, ProfileOptions(max_bytes=100_000, clear_nulls=clear_nulls))
    (record,) = mapper.map([tuple(row.values())], 1).records
    return record.body


def bodies() -> Iterator[Any]:
    for name, (row, clears) in CASES.items():
        body = profile(row, clears)
        yield pytest.param(IMPORT_PROFILE.name, "ProfileUpsertQuery", single_body(body), id=f"single: {name}")
        if clears is not True:
            for list_id in ("", "Y6nRLr"):
                yield pytest.param(
                    IMPORT_PROFILES.name,
                    "ProfileImportJobCreateQuery",
                    import_body([body, body], list_id),
                    id=f"bulk {list_id}: {name}",
                )

    for process in (None, "single_opt_in"):
        yield pytest.param(
            CREATE_LIST.name, "ListCreateQuery", creation_body("VIPs", process), id=f"list {process}"
        )
    row = ("01GDDKASAP8TKDDA2GRZDSVP4H",)
    (record,) = (
        ListMemberMapper(["klaviyo_id"], None, ProfileOptions(max_bytes=100_000)).map([row], 1).records
    )
    for profile_body in (record.body, profile_reference(*row)):
        yield pytest.param(
            ADD_TO_LIST.name,
            "ListMembersAddQuery",
            membership_body([profile_body] * 2),
            id=f"members {len(profile_body)}",
        )


def strict(schema: Any, schemas: dict[str, Any]) -> Any:
    """The schema without references, with ``nullable`` in JSON schema's words, and closed to unknown keys."""
    if isinstance(schema, list):
        return [strict(part, schemas) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return strict(schemas[schema["$ref"]], schemas)
    closed = {key: strict(part, schemas) for key, part in schema.items()}
    if isinstance(closed.get("properties"), dict) and closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    if closed.pop("nullable", False):
        return {"anyOf": [closed, {"type": "null"}]}
    return closed


@pytest.mark.parametrize(("operation", "model", "body"), list(bodies()))
def test_the_body_fits_klaviyos_schema(
    facts: dict[str, Any], operation: str, model: str, body: bytes
) -> None:
    request = facts["operations"][operation]["request"]
    assert request == {"$ref": model}
    jsonschema.validate(json.loads(body), strict(request, facts["schemas"]))


@pytest.mark.parametrize(("operation", "model", "body"), list(bodies()))
def test_the_sdk_reads_the_body_and_would_send_the_same(operation: str, model: str, body: bytes) -> None:
    sdk = pytest.importorskip("openapi_client", reason="Klaviyo's SDK is not installed")
    read = getattr(sdk.models, model).model_validate(json.loads(body))
    assert sdk.ApiClient().sanitize_for_serialization(read) == json.loads(body)
