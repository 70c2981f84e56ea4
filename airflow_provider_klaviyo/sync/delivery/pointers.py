"""What the pointers of Klaviyo's errors mean: a record of the request, and a field of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from airflow_provider_klaviyo.exceptions import ApiError
from airflow_provider_klaviyo.records.events.mapping import FIELDS as EVENT_FIELDS
from airflow_provider_klaviyo.records.profiles.mapping import FIELDS as PROFILE_FIELDS
from airflow_provider_klaviyo.records.subscriptions.mapping import FIELDS as SUBSCRIPTION_FIELDS

FieldPath = tuple[str, ...]
"""The way to a field from a record's attributes on, such as ``("location", "city")``; empty for the record itself."""

WHOLE = "profile"
"""Stands for a field where a pointer means a record and no field of it."""

_STEP = re.compile(r"[^#/.\[\]]+")
_ELSEWHERE = {"relationships", "headers", "header", "revision", "page", "filter", "sort", "fields"}
_FIELDS = (
    *PROFILE_FIELDS,
    *EVENT_FIELDS,
    *SUBSCRIPTION_FIELDS["subscribe"],
    "properties",
    "subscriptions",
    "id",
)
_OF_RECORDS = {(name.partition(".")[0],) for name in _FIELDS}
"""What a pointer may name without saying of which record."""

_ABOUT_THE_LIST = re.compile(
    r"\blist\b.*\b(not found|not be found|not exist|n't exist|deleted|archived)|\b(unknown|no such|invalid) list\b"
    r"|\blist id\b",
    re.IGNORECASE | re.DOTALL,
)


class Pointed(NamedTuple):
    """What a pointer means: ``record_index`` is the record's in the request, None where the pointer has none."""

    record_index: int | None
    path: FieldPath


def pointed_at(pointer: str, prefix: Sequence[str]) -> Pointed:
    """The record and the field that an error points at.

    Spellings are Klaviyo's own, JSON pointers as fragments (``#/…``), dotted and bracketed ones, pointers that leave
    out a step on the way to the records, and the bare name of a field, which says of no record whose it is.

    :param prefix: the way to the records in the request.
    """
    steps = list(_STEP.finditer(pointer))
    names = [step.group() for step in steps]
    for number, name in enumerate(names):
        if name.isdecimal() and set(names[:number]) <= set(prefix):
            return Pointed(int(name), _path(pointer, steps[number].end()))
        if name.isdecimal():
            break
    is_exact = names[: len(prefix)] == list(prefix)
    rest = (
        len(prefix)
        if is_exact
        else next((n for n, name in enumerate(names) if name not in prefix), len(names))
    )
    path = _path(pointer, steps[rest].start()) if rest < len(steps) else ()
    return Pointed(None, path if is_exact or path[:1] in _OF_RECORDS else ())


def field_name(path: FieldPath) -> str:
    """The field that a path means, as a mapping names it."""
    return ".".join(path) or WHOLE


def is_elsewhere(error: ApiError) -> bool:
    """Whether an error is plainly not about records: about a relationship, a header, a parameter, the type, the list.

    An unknown list is pointed at as ``/data`` by bulk imports (seen on real accounts), so that its words have to tell.
    """
    steps = _STEP.findall(error.pointer)
    first = steps[1:2] if steps[:1] == ["data"] else steps[:1]
    is_of_request = not _ELSEWHERE.isdisjoint(first) or steps == ["data", "type"]
    return is_of_request or (steps in ([], ["data"]) and bool(_ABOUT_THE_LIST.search(error.message)))


def _path(pointer: str, start: int) -> FieldPath:
    """The rest of a pointer; a name may hold dots in one with slashes, and slashes where they are escaped."""
    rest = pointer[start:].lstrip("]")
    steps = [_unescaped(step) for step in rest.split("/")] if "/" in rest else _STEP.findall(rest)
    steps = [unquote(step) for step in steps] if pointer.startswith("#") else steps
    return within(tuple(step for step in steps if step))


def within(steps: FieldPath) -> FieldPath:
    """The steps inside the attributes of what they begin at."""
    return steps[1:] if steps[:1] == ("attributes",) else steps


def _unescaped(step: str) -> str:
    """A step as RFC 6901 writes it."""
    return step.replace("~1", "/").replace("~0", "~")
