"""The shape of an operation: its place, what it costs, what it asks of a key, and who answers it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.core.faults import Fault
from airflow_provider_klaviyo.emulator.core.windows import Rates
from airflow_provider_klaviyo.emulator.requests.query import Query, QueryRules

#: Klaviyo's tiers (guide "Rate limits, status codes, and errors").
XS, S, M, L, XL = Rates(1, 15), Rates(3, 60), Rates(10, 150), Rates(75, 750), Rates(350, 3_500)

MAX_BODY_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has passed authentication, rate limits and the outline of its parameters."""

    account: Account
    path: Mapping[str, str]
    query: Query
    body: bytes
    root: str
    target: str
    faults: tuple[Fault, ...] = ()

    @property
    def self_link(self) -> str:
        """The address of what was asked for."""
        query = self.query.encoded()
        return f"{self.root}{self.target}" + (f"?{query}" if query else "")

    def next_link(self, position: str | None) -> str | None:
        """The address of the page after `position`."""
        if position is None:
            return None
        return f"{self.root}{self.target}?{self.query.encoded(cursor=self.query.cursor(position))}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A success; `records` is how many records the request carried."""

    status: int
    document: dict[str, Any] | None = None
    records: int = 0


@lru_cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "/?")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, as the OpenAPI file describes it.

    `lowered` are the narrower rates of requests that use a costly parameter value: (parameter, value, rates).
    """

    id: str
    method: str
    path: str
    scopes: tuple[str, ...]
    rates: Rates
    answer: Callable[[Call], Answer]
    query: QueryRules = field(default_factory=QueryRules)
    has_body: bool = False
    lowered: tuple[tuple[str, str, Rates], ...] = ()

    def match(self, path: str) -> dict[str, str] | None:
        """The path's parameters, or None for another path."""
        found = _pattern(self.path).fullmatch(path)
        return None if found is None else found.groupdict()

    def rates_for(self, pairs: Mapping[str, str]) -> tuple[Rates, ...]:
        """The windows that a request with these parameters draws on."""
        narrower = [rates for name, value, rates in self.lowered if value in pairs.get(name, "").split(",")]
        return (self.rates, *dict.fromkeys(narrower))


def timestamp(seconds: float | None) -> str | None:
    """An instant as Klaviyo writes it."""
    return None if seconds is None else datetime.fromtimestamp(round(seconds, 6), UTC).isoformat()
