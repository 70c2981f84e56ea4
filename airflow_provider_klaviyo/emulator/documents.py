"""JSON bodies, read strictly: what Klaviyo ignores in silence is refused here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import msgspec

from airflow_provider_klaviyo.emulator.errors import ApiError, Problem, invalid, pointer_to

INT64 = 2**63
#: Limits that Klaviyo states for event properties; for profiles it states none.
MAX_PROPERTIES = 400
MAX_DEPTH = 10
MAX_LIST = 4_000

# Spellings of a quote, colon or backslash, and blanks before a colon, that make counting keys by text unsafe.
_ODD = (b"\\u0022", b"\\u003a", b"\\u003A", b"\\u005c", b"\\u005C", b'" :', b'"\n:', b'"\t:', b'"\r:')


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


def count_keys(compact: bytes) -> int:
    """How many object keys a compact JSON text holds (text in strings that looks like one counts too)."""
    return compact.count(b'":')


def may_hide_keys(body: bytes) -> bool:
    """Whether `count_keys` of this body could miss a repeated key."""
    return any(spelling in body for spelling in _ODD)


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
    """Problems of a free JSON value: numbers beyond 64 bits, NUL characters, too deep or too long."""
    if depth > MAX_DEPTH:
        yield Problem(f"Values may be nested {MAX_DEPTH} levels deep.", pointer=pointer)
    elif isinstance(value, str):
        if "\x00" in value:
            yield Problem("Text must not contain NUL characters.", pointer=pointer)
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
