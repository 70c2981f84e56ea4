"""The facts that are read out of a file such as Klaviyo's, and what is left behind."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.contract.reduce_openapi import KNOWN, reduced, written

TEXT = "A sentence for readers."


def content(name: str) -> Any:
    return {"application/vnd.api+json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def operation(name: str) -> Any:
    return {
        "operationId": name,
        "summary": TEXT,
        "description": TEXT,
        "tags": [TEXT],
        "parameters": [],
        "responses": {"204": {"description": TEXT}, "4XX": {"$ref": "#/components/responses/ClientError"}},
        "x-klaviyo-ratelimit": {"burst": "1/s", "steady": "15/m"},
        "x-klaviyo-scopes": ["lists:read"],
    }


CREATE_LIST = {
    "description": "Accepts up to 10,000 profiles per request. The maximum allowed payload size is 5MB."
    "<br>Rate limits when using the `include=list` parameter in your API request:<br>Burst: `3/s`<br>Steady: `60/m`",
    "parameters": [
        {"name": "revision", "in": "header", "schema": {"type": "string"}},
        {"name": "sort", "in": "query", "description": TEXT, "schema": {"type": "string", "enum": ["id"]}},
    ],
    "x-klaviyo-filters": {
        "id": {"operators": {"single": ["equals"]}, "value": {"type": "string", "example": TEXT}}
    },
    "requestBody": {"description": TEXT, "content": content("List")},
    "responses": {"201": {"description": TEXT, "content": content("Answer")}},
}
SCHEMAS = {
    "List": {
        "type": "object",
        "title": TEXT,
        "required": ["title"],
        "properties": {
            "title": {"type": "string", "nullable": True, "description": "Must be less than 128 characters."},
            "description": {"type": "array", "maxItems": 2, "items": {"oneOf": [{"$ref": "#/x/Name"}]}},
            "properties": {
                "type": "object",
                "additionalProperties": True,
                "description": "They must not exceed 400 properties.",
            },
        },
    },
    "Name": {"type": "string", "format": "date", "example": TEXT},
    "Answer": {"type": "object", "description": TEXT},
    "Unused": {"type": "string"},
}


@pytest.fixture
def openapi() -> Any:
    paths = {f"/api/{name}": {"get": operation(name)} for name in KNOWN | {"get_forms"}}
    paths["/api/create_list"]["get"] |= copy.deepcopy(CREATE_LIST)
    components = {
        "responses": {"ClientError": {"content": content("Answer")}},
        "schemas": copy.deepcopy(SCHEMAS),
    }
    return {"info": {"version": "2027-01-15"}, "paths": paths, "components": components}


def test_the_facts_of_an_operation(openapi: Any) -> None:
    facts = reduced(openapi)
    assert set(facts["operations"]) == KNOWN
    assert facts["operations"]["create_list"] == {
        "method": "GET",
        "path": "/api/create_list",
        "scopes": ["lists:read"],
        "rates": {"burst": "1/s", "steady": "15/m"},
        "lowered": {"include=list": {"burst": "3/s", "steady": "60/m"}},
        "limits": {"records": 10_000, "bytes": 5_000_000},
        "query": {"sort": {"type": "string", "enum": ["id"]}},
        "filters": {"id": {"operators": {"single": ["equals"]}, "value": {"type": "string"}}},
        "request": {"$ref": "List"},
        "answers": {"201": {"$ref": "Answer"}},
    }
    assert facts["operations"]["get_lists"]["answers"] == {"204": None}


def test_the_facts_of_other_operations_that_are_scarce(openapi: Any) -> None:
    assert reduced(openapi)["scarce"] == {}
    rates = {"burst": "1/s", "steady": "2/m", "daily": "225/d"}
    openapi["paths"]["/api/form-values-reports"] = {
        "post": operation("query_form_values") | {"x-klaviyo-ratelimit": rates}
    }
    assert reduced(openapi)["scarce"] == {"POST /api/form-values-reports": rates}


def test_the_facts_of_the_schemas_that_operations_lead_to(openapi: Any) -> None:
    assert reduced(openapi)["schemas"] == {
        "Answer": {"type": "object"},
        "List": {
            "type": "object",
            "required": ["title"],
            "properties": {
                "title": {"type": "string", "nullable": True, "maxLength": 127},
                "description": {"type": "array", "maxItems": 2, "items": {"oneOf": [{"$ref": "Name"}]}},
                "properties": {"type": "object", "additionalProperties": True, "maxProperties": 400},
            },
        },
        "Name": {"type": "string", "format": "date"},
    }


def test_what_is_written_is_json_and_says_nothing_to_readers(openapi: Any) -> None:
    facts = reduced(openapi)
    assert json.loads(written(facts)) == facts
    assert TEXT not in written(facts)


def test_an_unknown_word_stops_it(openapi: Any) -> None:
    openapi["components"]["schemas"]["Name"]["not"] = {}
    with pytest.raises(SystemExit, match="not"):
        reduced(openapi)


def test_an_operation_that_is_gone_stops_it(openapi: Any) -> None:
    del openapi["paths"]["/api/get_lists"]
    with pytest.raises(SystemExit, match="get_lists"):
        reduced(openapi)
