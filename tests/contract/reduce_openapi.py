"""Reduces Klaviyo's OpenAPI file to the facts that the contract tests compare with.

The official file is mostly text for readers. Kept are paths, scopes, rate limits, parameters, fields and their limits,
of the operations that the client or the emulator knows; dropped is every description, title and example. What Klaviyo
says in a sentence only ("up to 1,000 events per request") is read out of it as a number.

To renew the facts for a newer revision:

1. Download https://raw.githubusercontent.com/klaviyo/openapi/main/openapi/stable.json (a branch of that repository
   holds each older revision).
2. Run ``python -m tests.contract.reduce_openapi stable.json`` in the root of the repository. It writes
   ``klaviyo-<revision>.facts.json`` beside this file; delete the older one. It stops at an operation that is gone, and
   at a word of JSON Schema that it does not know: that belongs into ``KEPT`` or ``DROPPED``.
3. Set ``REVISION`` in ``client/config.py``, which also names the facts that the tests read, and ``revisions`` in
   ``emulator/core/settings.py``.
4. Read what has changed (``git diff --word-diff``) and run ``pytest tests/contract``. What fails is what this package
   has to follow: rates, scopes and limits in ``client/endpoints.py`` and in the emulator, and the fields of both. A
   limit that is missing from the new facts is one that Klaviyo tells in other words now (``SENTENCES``).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo.client.endpoints import ENDPOINTS
from airflow_provider_klaviyo.emulator.api.dispatch import OPERATIONS

METHODS = ("get", "post", "patch", "delete")
KNOWN = {endpoint.name for endpoint in ENDPOINTS} | {operation.id for operation in OPERATIONS}
CONTENT_TYPE = "application/vnd.api+json"
WIDTH = 118

#: Words of a schema that state a fact, and those that speak to readers.
KEPT = {
    "$ref", "additionalProperties", "allOf", "anyOf", "default", "enum", "exclusiveMaximum", "exclusiveMinimum",
    "format", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties",
    "minimum", "nullable", "oneOf", "pattern", "properties", "required", "type", "uniqueItems",
}  # fmt: skip
DROPPED = {"deprecated", "description", "example", "examples", "externalDocs", "title"}

#: Limits of an operation, and the sentences of its description that tell them.
SENTENCES = {
    "records": r"([\d,]+) (?:profiles|events) per (?:request|call)"
    r"|(?:for subscription|profiles per call|per request limit): ([\d,]+)",
    "bytes": r"payload size is (\d+[KM]B)",
    "record_bytes": r"payload size per-profile is (\d+[KM]B)",
    "text_bytes": r"string cannot exceed (\d+[KM]B)",
    "page": r"maximum of ([\d,]+) \w+ per (?:page|request)\.",
}
UNITS = {"KB": 1_000, "MB": 1_000_000}
LOWERED = (
    r"`([\w-]+(?:\[\w+\])?=\w+)` parameter in your API request:<br>Burst: `(\d+/s)`<br>Steady: `(\d+/m)`"
)

Json = dict[str, Any]


def reduced(openapi: Json) -> Json:
    """The facts of Klaviyo's file."""
    found = {
        described["operationId"]: _operation(method, path, described)
        for path, methods in openapi["paths"].items()
        for method, described in methods.items()
        if described["operationId"] in KNOWN
    }
    if missing := KNOWN - set(found):
        message = f"Klaviyo's file has no operation {', '.join(sorted(missing))}"
        raise SystemExit(message)
    refusal = openapi["components"]["responses"]["ClientError"]
    facts = {
        "revision": openapi["info"]["version"],
        "operations": dict(sorted(found.items())),
        "scarce": dict(sorted(_scarce(openapi["paths"]))),
        "refusal": _content(refusal),
    }
    return {**facts, "schemas": dict(sorted(_reached(facts, openapi["components"]["schemas"]).items()))}


def _scarce(paths: Json) -> Iterator[tuple[str, Json]]:
    """The rates of other operations that are counted in a day, or permit less than 15 calls a minute."""
    for path, methods in paths.items():
        for method in methods.keys() & set(METHODS):
            described = methods[method]
            rates = described["x-klaviyo-ratelimit"]
            is_scarce = "daily" in rates or int(rates["steady"].removesuffix("/m")) < 15
            if is_scarce and described["operationId"] not in KNOWN and path.startswith("/api/"):
                yield f"{method.upper()} {path}", rates


def _operation(method: str, path: str, described: Json) -> Json:
    text = described["description"]
    lowered = {
        request: {"burst": burst, "steady": steady} for request, burst, steady in re.findall(LOWERED, text)
    }
    body = described.get("requestBody")
    facts = {
        "method": method.upper(),
        "path": path,
        "scopes": described["x-klaviyo-scopes"],
        "rates": described["x-klaviyo-ratelimit"],
        "lowered": lowered,
        "limits": dict(_limits(text)),
        "query": {
            each["name"]: _schema(each["schema"]) for each in described["parameters"] if each["in"] == "query"
        },
        "filters": {
            field: {name: _schema(part) if name == "value" else part for name, part in each.items()}
            for field, each in described.get("x-klaviyo-filters", {}).items()
        },
        "request": body and _content(body),
    }
    successes = {
        status: answer for status, answer in described["responses"].items() if status.startswith("2")
    }
    answers = {status: _content(answer) for status, answer in successes.items()}
    return {name: value for name, value in facts.items() if value} | {"answers": answers}


def _limits(text: str) -> Iterator[tuple[str, int]]:
    for name, pattern in SENTENCES.items():
        for found in re.finditer(pattern, text):
            yield name, _number(next(filter(None, found.groups())))


def _number(text: str) -> int:
    return int(text.rstrip("KMB").replace(",", "")) * UNITS.get(text[-2:], 1)


def _content(described: Json) -> Json | None:
    content = described.get("content")
    return content and _schema(content[CONTENT_TYPE]["schema"])


def _schema(schema: Any) -> Any:
    """A schema without its texts; names of properties are no words of a schema."""
    if isinstance(schema, list):
        return [_schema(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if unknown := set(schema) - KEPT - DROPPED:
        message = f"Not known as a fact nor as a text: {', '.join(sorted(unknown))}"
        raise SystemExit(message)
    facts = {name: _schema(schema[name]) for name in sorted(KEPT & set(schema)) if name != "properties"}
    if "$ref" in facts:
        facts["$ref"] = facts["$ref"].rpartition("/")[2]
    if "properties" in schema:
        facts["properties"] = {name: _schema(each) for name, each in schema["properties"].items()}
    return facts | dict(_told(schema.get("description", "")))


def _told(text: str) -> Iterator[tuple[str, int]]:
    """Limits of a field that only its description tells."""
    if found := re.search(r"must not exceed ([\d,]+) properties", text):
        yield "maxProperties", _number(found[1])
    if found := re.search(r"Must be less than ([\d,]+) characters", text):
        yield "maxLength", _number(found[1]) - 1


def _reached(part: Any, schemas: Json) -> Json:
    """The schemas that a part of the facts names, and those that these name."""
    reached: Json = {}
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            name = part.get("$ref")
            if isinstance(name, str) and name not in reached:
                reached[name] = _schema(schemas[name])
                waiting.append(reached[name])
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return reached


def written(value: Any, levels: int = 4, label: str = "", indent: str = "") -> str:
    """JSON with a line for each parameter of an operation and each member of a schema."""
    flat = f"{indent}{label}{json.dumps(value)}"
    if len(flat) <= WIDTH or not isinstance(value, dict) or not levels:
        return flat
    members = [
        written(each, levels - 1, f"{json.dumps(name)}: ", indent + " ") for name, each in value.items()
    ]
    return "\n".join([f"{indent}{label}{{", ",\n".join(members), f"{indent}}}"])


if __name__ == "__main__":
    facts = reduced(json.loads(Path(sys.argv[1]).read_bytes()))
    target = Path(__file__).with_name(f"klaviyo-{facts['revision']}.facts.json")
    target.write_text(written(facts) + "\n")
    sys.stdout.write(
        f"{target.name}: {len(facts['operations'])} operations, {len(facts['schemas'])} schemas\n"
    )
