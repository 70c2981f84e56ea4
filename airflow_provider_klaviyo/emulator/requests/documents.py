"""JSON bodies, read strictly: what Klaviyo ignores in silence is refused here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import msgspec

from airflow_provider_klaviyo.emulator.core.errors import ApiError, Problem, invalid, pointer_to

INT64 = 2**63
#: Limits that Klaviyo states for event properties; for profiles it states none.
MAX_PROPERTIES = 400
MAX_DEPTH = 10
MAX_LIST = 4_000
MAX_TEXT_BYTES = 100_000

# Spellings of a quote, colon or backslash, and blanks before a colon, that make counting keys by text unsafe.
_ODD_ESCAPES = (b"\\u0022", b"\\u003a", b"\\u003A", b"\\u005c", b"\\u005C")
_ODD_BLANKS = (b'" :', b'"\n:', b'"\t:', b'"\r:')


def decode(body: bytes) -> Any:
    """The document in a request body.

    Refuses, as a 400: what is not JSON in UTF-8, NaN and infinities, keys that occur twice, nesting beyond reason.
    """
    try:
        document = msgspec.json.decode(body)
        json.loads(body, object_pairs_hook=_unique, parse_constant=_constant)
    except ApiError:
        raise
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ApiError(
            400, [Problem("The request body is not valid JSON.", pointer="/data", code="parse_error")]
        ) from None
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        detail = f"The key '{twice}' occurs more than once in one object."
        raise invalid(detail)
    return members


def _constant(name: str) -> NoReturn:
    raise ValueError(name)


def value_at(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) means in a document; None where it means nothing."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and name in document:
            document = document[name]
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document


def is_there(document: Any, pointer: str) -> bool:
    """Whether a JSON pointer means anything in a document, if only a null."""
    before, _, name = pointer.rpartition("/")
    name = name.replace("~1", "/").replace("~0", "~")
    around = value_at(document, before)
    return (isinstance(around, dict) and name in around) or value_at(document, pointer) is not None


def count_keys(compact: bytes) -> int:
    """How many object keys a compact JSON text holds (text in strings that looks like one counts too)."""
    return compact.count(b'":')


def may_hide_keys(body: bytes) -> bool:
    """Whether `count_keys` of this body could miss a repeated key."""
    odd = (*_ODD_BLANKS, *(_ODD_ESCAPES if b"\\u00" in body else ()))
    return any(spelling in body for spelling in odd)


def object_problems(
    value: Any, pointer: str, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = (), resource: str
) -> Iterator[Problem]:
    """Problems of an object's outline: not an object, members missing, members that are not known."""
    if not isinstance(value, dict):
        yield Problem(f"'{resource}' must be an object.", pointer=pointer)
        return
    for name in required:
        if name not in value:
            yield Problem(
                f"'{name}' is a required field for the resource '{resource}'.",
                pointer=pointer_to(pointer, name),
            )
    for name in value:
        if name not in required and name not in optional:
            detail = f"'{name}' is not a valid field for the resource '{resource}'."
            yield Problem(detail, pointer=pointer_to(pointer, name))


def value_problems(value: Any, pointer: str, depth: int = 1) -> Iterator[Problem]:
    """Problems of a free JSON value: numbers beyond 64 bits, NUL characters, too deep, too long or too large."""
    if depth > MAX_DEPTH:
        yield Problem(f"Values may be nested {MAX_DEPTH} levels deep.", pointer=pointer)
    elif isinstance(value, str):
        yield from _text_problems(value, pointer)
    elif isinstance(value, int) and not -INT64 <= value < INT64:
        yield Problem("Integers must fit into 64 bits.", pointer=pointer)
    elif isinstance(value, list):
        if len(value) > MAX_LIST:
            yield Problem(f"Lists may hold {MAX_LIST} values.", pointer=pointer)
        for index, member in enumerate(value):
            yield from value_problems(member, pointer_to(pointer, index), depth + 1)
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from value_problems(name, pointer_to(pointer, name), depth)
            yield from value_problems(member, pointer_to(pointer, name), depth + 1)


def resource_problems(value: Any, pointer: str, kind: str) -> Iterator[Problem]:
    """Problems of the outline of a resource that has a type and attributes."""
    yield from object_problems(value, pointer, required=("type", "attributes"), resource=kind)
    if isinstance(value, dict) and value.get("type", kind) != kind:
        yield Problem(f"'type' must be '{kind}'.", pointer=pointer_to(pointer, "type"))


def property_problems(
    properties: Any, pointer: str, *, resource: str, reserved_but: tuple[str, ...] = ()
) -> Iterator[Problem]:
    """Problems of the custom properties of a resource; `reserved_but` are names with a `$` that may be used."""
    if not isinstance(properties, dict):
        yield Problem("'properties' must be an object.", pointer=pointer)
        return
    if len(properties) > MAX_PROPERTIES:
        yield Problem(f"The {resource} has more than {MAX_PROPERTIES} properties.", pointer=pointer)
    for name in properties:
        if not name or (name.startswith("$") and name not in reserved_but):
            yield Problem(f"'{name}' is a reserved property name.", pointer=pointer_to(pointer, name))
    yield from value_problems(properties, pointer, depth=0)


def _text_problems(text: str, pointer: str) -> Iterator[Problem]:
    if "\x00" in text:
        yield Problem("Text must not contain NUL characters.", pointer=pointer)
    if len(text) > MAX_TEXT_BYTES // 4 and len(text.encode()) > MAX_TEXT_BYTES:
        yield Problem(f"Text may have {MAX_TEXT_BYTES // 1_000} KB.", pointer=pointer)


def data_of(holder: Any, pointer: str, name: str, problems: list[Problem]) -> Any:
    """What `{"data": …}` under the name `name` holds, or None with a problem; that the name is missing is not one."""
    if not isinstance(holder, dict) or name not in holder:
        return None
    inside = pointer_to(pointer, name)
    found = [*object_problems(holder[name], inside, required=("data",), resource=name)]
    if not found and holder[name]["data"] is None:
        found = [Problem("'data' must not be null.", pointer=pointer_to(inside, "data"))]
    problems += found
    return None if found else holder[name]["data"]


def members_of(holder: Any, pointer: str, name: str, most: int, problems: list[Problem]) -> list[Any]:
    """The array of 1 to `most` members in `{"data": […]}` under the name `name`, or none with a problem."""
    before = len(problems)
    members = data_of(holder, pointer, name, problems)
    if isinstance(members, list) and 1 <= len(members) <= most:
        return members
    if len(problems) == before and isinstance(holder, dict) and name in holder:
        detail = f"'{name}' takes an array of 1 to {most}."
        problems.append(Problem(detail, pointer=pointer_to(pointer, name, "data")))
    return []


def resource_of(document: Any, kind: str, **outline: tuple[str, ...]) -> Mapping[str, Any]:
    """`data` of a request document whose outline is right, or the 400 that says what is wrong with it."""
    problems = [*object_problems(document, "/", required=("data",), resource="document")]
    if not problems:
        problems = [*object_problems(document["data"], "/data", resource=kind, **outline)]
    if not problems and document["data"].get("type") != kind:
        problems = [Problem(f"'type' must be '{kind}'.", pointer="/data/type")]
    if problems:
        raise ApiError(400, problems)
    data: Mapping[str, Any] = document["data"]
    return data
