"""Klaviyo's filter language: `equals(email,"a@x.com"),greater-than(created,2026-01-01T00:00:00Z)`.

Source: the guide "Filtering" and the `filter` parameter of each operation in the OpenAPI file. There is AND
(a comma, or `and(…)`), no OR. What a field or an operator is not described for is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from airflow_provider_klaviyo.emulator.core.errors import ApiError, invalid_parameter

Kind = Literal["string", "datetime", "number"]

_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_BARE = re.compile(r"[^\s,()\[\]\"']+")
_QUOTED = {quote: re.compile(rf"((?:[^{quote}\\]|\\.)*){quote}", re.DOTALL) for quote in "\"'"}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NUMBER = re.compile(r"-?\d+(\.\d+)?$", re.ASCII)
_DATETIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$")


@dataclass(frozen=True, slots=True)
class Filterable:
    """What a field may be filtered by."""

    operators: tuple[str, ...]
    kind: Kind = "string"
    values: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One condition; `values` holds several only for `any`. Instants are seconds since 1970."""

    operator: str
    field: str
    values: tuple[str | float, ...]

    def matches(self, value: str | float | None) -> bool:
        """Whether a stored value fulfils the condition; letter case counts."""
        if value is None:
            return False
        if self.operator in ("equals", "any"):
            return value in self.values
        bound = self.values[0]
        if isinstance(value, str) or isinstance(bound, str):
            return False
        return {
            "greater-than": value > bound,
            "greater-or-equal": value >= bound,
            "less-than": value < bound,
            "less-or-equal": value <= bound,
        }[self.operator]


def parse_filter(text: str, fields: Mapping[str, Filterable], *, max_values: int) -> tuple[Comparison, ...]:
    """Read a filter, or raise the 400 that Klaviyo answers to a malformed one."""
    return _Reader(text, fields, max_values).read()


class _Reader:
    """A cursor over the filter's text."""

    def __init__(self, text: str, fields: Mapping[str, Filterable], max_values: int) -> None:
        self._text = text
        self._at = 0
        self._fields = fields
        self._max_values = max_values

    def read(self) -> tuple[Comparison, ...]:
        found = self._conditions()
        if self._at != len(self._text):
            raise self._malformed()
        return found

    def _conditions(self) -> tuple[Comparison, ...]:
        found = [*self._condition()]
        while self._skip(","):
            found += self._condition()
        return tuple(found)

    def _condition(self) -> tuple[Comparison, ...]:
        operator = self._take(_NAME)
        self._expect("(")
        if operator == "and":
            inner = self._conditions()
            self._expect(")")
            return inner
        field = self._take(_NAME)
        self._expect(",")
        values, is_array = self._values()
        self._expect(")")
        return (self._comparison(operator, field, values, is_array=is_array),)

    def _comparison(
        self, operator: str, field: str, values: list[tuple[str, bool]], *, is_array: bool
    ) -> Comparison:
        rule = self._fields.get(field)
        if rule is None:
            allowed = ", ".join(sorted(self._fields))
            detail = f"'{field}' is not a filterable field. Filterable fields are {allowed}"
            raise invalid_parameter(detail, "filter")
        if operator not in rule.operators:
            allowed = ", ".join(rule.operators)
            detail = f"'{operator}' is not an allowed filter operator for {field}.  Allowed operators are {allowed}"
            raise invalid_parameter(detail, "filter")
        if is_array != (operator == "any") or not 1 <= len(values) <= self._max_values:
            raise self._malformed()
        return Comparison(operator, field, tuple(self._value(rule, *value) for value in values))

    def _value(self, rule: Filterable, text: str, is_quoted: bool) -> str | float:  # noqa: FBT001 - a parsed pair
        if is_quoted != (rule.kind == "string"):
            raise self._malformed()
        if rule.kind == "datetime":
            return parse_instant(text)
        if rule.kind == "number":
            if not _NUMBER.match(text):
                raise self._malformed()
            return float(text)
        if rule.values is not None and text not in rule.values:
            detail = f"'{text}' is not one of {', '.join(sorted(rule.values))}"
            raise invalid_parameter(detail, "filter")
        return text

    def _values(self) -> tuple[list[tuple[str, bool]], bool]:
        if not self._skip("["):
            return [self._scalar()], False
        values = [self._scalar()]
        while self._skip(","):
            values.append(self._scalar())
        self._expect("]")
        return values, True

    def _scalar(self) -> tuple[str, bool]:
        self._blanks()
        if self._at < len(self._text) and self._text[self._at] in "\"'":
            return self._quoted(self._text[self._at]), True
        return self._take(_BARE), False

    def _quoted(self, quote: str) -> str:
        match = _QUOTED[quote].match(self._text, self._at + 1)
        if match is None:
            raise self._malformed()
        self._at = match.end()
        return _ESCAPED.sub(r"\1", match[1])

    def _take(self, pattern: re.Pattern[str]) -> str:
        self._blanks()
        match = pattern.match(self._text, self._at)
        if match is None:
            raise self._malformed()
        self._at = match.end()
        return match.group()

    def _skip(self, character: str) -> bool:
        self._blanks()
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def _expect(self, character: str) -> None:
        if not self._skip(character):
            raise self._malformed()

    def _blanks(self) -> None:
        while self._at < len(self._text) and self._text[self._at] == " ":
            self._at += 1

    def _malformed(self) -> ApiError:
        return invalid_parameter("Invalid filter provided", "filter")


def parse_instant(text: str) -> float:
    """A date or time stamp of a filter in seconds since 1970; without an offset it is UTC."""
    if not _DATETIME.match(text):
        detail = "Invalid filter provided"
        raise invalid_parameter(detail, "filter")
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        detail = "Invalid filter provided"
        raise invalid_parameter(detail, "filter") from None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
