"""Refusals that repeat what they refuse, as Klaviyo's do of some values: where its words go, people's values go too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from airflow_provider_klaviyo.emulator.core.errors import ApiError, Problem
from airflow_provider_klaviyo.emulator.requests.documents import value_at


def with_values(error: ApiError, body: bytes) -> ApiError:
    """A refusal whose words repeat the values that it points at."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return error
    problems = [
        replace(each, detail=repeating(each.detail, _meant(each, document))) for each in error.problems
    ]
    return ApiError(error.status, problems, headers=error.headers)


def repeating(detail: str, values: object) -> str:
    """Words that repeat a value in quotes, or every text of a record without them."""
    if isinstance(values, Mapping):
        return f"{detail} It has {', '.join(str(value) for value in _texts(values))}."
    return f"{detail} It is '{values}'." if values is not None else detail


def _meant(problem: Problem, document: Any) -> Any:
    return value_at(document, problem.pointer) if problem.pointer else None


def _texts(values: Mapping[str, Any]) -> list[str]:
    found = []
    for value in values.values():
        found += _texts(value) if isinstance(value, Mapping) else [str(value)]
    return found
