"""The query part of a request: which parameters an operation takes, and what they say.

Parameters that the OpenAPI file does not give an operation, values outside their lists, repeated parameters and
page sizes beyond the limit are refused, as JSON:API asks and as Klaviyo does for those on record.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from airflow_provider_klaviyo.emulator.core.errors import ApiError, invalid_parameter
from airflow_provider_klaviyo.emulator.core.settings import Settings
from airflow_provider_klaviyo.emulator.requests.filters import Comparison, Filterable, parse_filter

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Page:
    """Default and largest `page[size]`."""

    default: int
    largest: int


@dataclass(frozen=True, slots=True)
class QueryRules:
    """The query parameters of one operation; `fixed_page` is for those that take a cursor and no page size."""

    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    additional: Mapping[str, frozenset[str]] = field(default_factory=dict)
    include: frozenset[str] = frozenset()
    sort: tuple[str, ...] = ()
    filters: Mapping[str, Filterable] = field(default_factory=dict)
    page: Page | None = None
    fixed_page: int = 0

    @property
    def parameters(self) -> frozenset[str]:
        """The names of all parameters that are understood."""
        names = {f"fields[{kind}]" for kind in self.fields}
        names |= {f"additional-fields[{kind}]" for kind in self.additional}
        names |= {"page[size]", "page[cursor]"} if self.page else set()
        names |= {"page[cursor]"} if self.fixed_page else set()
        optional = {"include": self.include, "sort": self.sort, "filter": self.filters}
        return frozenset(names | {name for name, values in optional.items() if values})


@dataclass(frozen=True, slots=True)
class Query:
    """What a request asked for."""

    given: tuple[tuple[str, str], ...] = ()
    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    additional: frozenset[str] = frozenset()
    include: frozenset[str] = frozenset()
    sort: str | None = None
    filter: tuple[Comparison, ...] = ()
    size: int = 0
    after: str | None = None

    def encoded(self, **changes: str) -> str:
        """The query as text, `changes` replacing or adding parameters (`cursor` stands for `page[cursor]`)."""
        pairs = dict(self.given)
        pairs.update({f"page[{name}]": value for name, value in changes.items()})
        return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs.items())

    def cursor(self, position: str) -> str:
        """An opaque cursor for the page after `position`; it fits this query only."""
        return base64.urlsafe_b64encode(f"{self.fingerprint()}:{position}".encode()).decode().rstrip("=")

    def fingerprint(self) -> str:
        """What must stay the same from page to page."""
        kept = sorted(pair for pair in self.given if pair[0] in ("filter", "sort"))
        return hashlib.sha256(repr(kept).encode()).hexdigest()[:12]


def parse_query(text: str, rules: QueryRules, settings: Settings) -> Query:
    """Read a query string by the rules of its operation."""
    pairs = _pairs(text)
    allowed = rules.parameters
    for name in pairs:
        if name not in allowed:
            detail = f"'{name}' is not a valid query parameter for this endpoint."
            raise invalid_parameter(detail, name)
    sparse = {
        kind: _choices(pairs, f"fields[{kind}]", values)
        for kind, values in rules.fields.items()
        if f"fields[{kind}]" in pairs
    }
    additional = [
        _choices(pairs, f"additional-fields[{kind}]", rules.additional[kind]) for kind in rules.additional
    ]
    partial = Query(
        given=tuple(pairs.items()),
        fields=sparse,
        additional=frozenset().union(*additional),
        include=_choices(pairs, "include", rules.include),
        sort=_sort(pairs, rules),
        filter=_filter(pairs, rules, settings),
        size=_size(pairs, rules.page) or rules.fixed_page,
    )
    return _with_cursor(partial, pairs)


def _pairs(text: str) -> dict[str, str]:
    """Names and values; a raw `+` is a space, which is why an unescaped address matches nobody."""
    pairs: dict[str, str] = {}
    for part in text.split("&") if text else ():
        name, _, value = part.partition("=")
        name, value = _decoded(name), _decoded(value)
        if not name or name in pairs:
            detail = f"Query parameter '{name}' is empty or repeated."
            raise invalid_parameter(detail, name)
        pairs[name] = value
    return pairs


def _decoded(text: str) -> str:
    try:
        if _BAD_ESCAPE.search(text):
            detail = "Malformed percent-encoding in the query string."
            raise invalid_parameter(detail, "query")
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        detail = "The query string is not UTF-8."
        raise invalid_parameter(detail, "query") from None


def _choices(pairs: Mapping[str, str], name: str, allowed: frozenset[str]) -> frozenset[str]:
    if name not in pairs:
        return frozenset()
    chosen = frozenset(pairs[name].split(","))
    for value in sorted(chosen - allowed):
        detail = f"'{value}' is not a valid value for '{name}'."
        raise invalid_parameter(detail, name)
    return chosen


def _sort(pairs: Mapping[str, str], rules: QueryRules) -> str | None:
    value = pairs.get("sort")
    if value is not None and value not in rules.sort:
        detail = f"'{value}' is not a valid sort. Valid sorts are {', '.join(rules.sort)}"
        raise invalid_parameter(detail, "sort")
    return value


def _filter(pairs: Mapping[str, str], rules: QueryRules, settings: Settings) -> tuple[Comparison, ...]:
    if "filter" not in pairs:
        return ()
    return parse_filter(pairs["filter"], rules.filters, max_values=settings.max_any_values)


def _size(pairs: Mapping[str, str], page: Page | None) -> int:
    if page is None:
        return 0
    text = pairs.get("page[size]", str(page.default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= page.largest:
        detail = f"Page size must be an integer between 1 and {page.largest}."
        raise invalid_parameter(detail, "page[size]")
    return int(text)


def _with_cursor(query: Query, pairs: Mapping[str, str]) -> Query:
    if "page[cursor]" not in pairs:
        return query
    text = pairs["page[cursor]"]
    try:
        padded = text + "=" * (-len(text) % 4)
        fingerprint, _, position = base64.b64decode(padded, b"-_", validate=True).decode().partition(":")
    except ValueError:
        raise bad_cursor() from None
    if fingerprint != query.fingerprint():
        raise bad_cursor()
    return Query(
        query.given,
        query.fields,
        query.additional,
        query.include,
        query.sort,
        query.filter,
        query.size,
        position,
    )


def bad_cursor() -> ApiError:
    """The 400 for a cursor that was not handed out for this query."""
    return invalid_parameter("Invalid page cursor.", "page[cursor]")
