"""Klaviyo's endpoints as data; batching, rate limits, retries and the scope table all read them here.

Numbers are Klaviyo's own, from its OpenAPI file of revision 2026-07-15
(``x-klaviyo-ratelimit``, ``x-klaviyo-scopes`` and the descriptions of the operations).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from airflow_provider_klaviyo.client.rate_limit_slots import Rate

MAX_REQUEST_BYTES = 5_000_000
"""5 MB a request, decompressed; larger is 413 (Klaviyo's guide to rate limits)."""

MAX_PROFILE_BYTES = 100_000
"""100 KB a profile (description of ``bulk_import_profiles``)."""

MAX_EVENT_PROFILE_BYTES = 95_000
"""95 KB for the profile inside an event (Klaviyo's guide to events)."""

_LARGEST_PAGE = 100 * 6 * MAX_PROFILE_BYTES
"""Bytes of a page of a hundred profiles with all their properties, where JSON writes every byte in six. A page of a
job's errors repeats as many profiles."""

_SMALL = 2_000_000
"""Bytes of an answer that holds no page of profiles: one resource, a page of lists or jobs, or nothing."""

_PER_REFUSED = 2_000
"""Bytes to say what is wrong with one record: a title, a detail that may repeat a value, a pointer."""


class Lowered(NamedTuple):
    """A parameter of the query with which Klaviyo counts an operation in tighter windows, too."""

    parameter: str
    value: str
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of Klaviyo's API.

    :param name: Klaviyo's operation id, also the name of its rate-limit windows.
    :param rates: the windows that Klaviyo counts the operation in.
    :param is_repeatable: whether it may be sent again when the answer to it was lost.
    :param max_records: how many records one request may hold.
    :param records: JSON pointer of the array of records in the request body.
    :param lowered: what in a query lowers the rates.
    :param largest_answer: bytes that a success may have, unpacked; larger ones are not read to their end.
    """

    name: str
    method: str
    path: str
    scopes: tuple[str, ...]
    rates: tuple[Rate, ...]
    is_repeatable: bool = True
    max_records: int = 1
    records: str = ""
    lowered: tuple[Lowered, ...] = ()
    largest_answer: int = _LARGEST_PAGE

    def __str__(self) -> str:
        return f"{self.name} ({self.method} {self.path})"

    @property
    def largest_refusal(self) -> int:
        """Bytes that any other answer may have: Klaviyo may name every record that it refuses."""
        return _SMALL + self.max_records * _PER_REFUSED

    def asked_with(self, query: Mapping[str, object]) -> Endpoint:
        """The same with the windows that Klaviyo counts a request with this query in."""
        for parameter, value, rates in self.lowered:
            if value in str(query.get(parameter, "")).replace(" ", "").split(","):
                return replace(self, rates=rates)
        return self


def windows(burst: int, steady: int, daily: int | None = None) -> tuple[Rate, ...]:
    """So many requests a second, a minute and, for a few operations, a day."""
    rates = (Rate(burst, 1.0), Rate(steady, 60.0))
    return rates if daily is None else (*rates, Rate(daily, 86_400.0))


_XS, _M, _L = windows(1, 15), windows(10, 150), windows(75, 750)

_PREDICTED = Lowered("additional-fields[profile]", "predictive_analytics", _M)

GET_ACCOUNTS = Endpoint(
    "get_accounts", "GET", "/api/accounts", ("accounts:read",), _XS, largest_answer=_SMALL
)

GET_PROFILES = Endpoint("get_profiles", "GET", "/api/profiles", ("profiles:read",), _L, lowered=(_PREDICTED,))

# An upsert, so that sending it again is harmless.
IMPORT_PROFILE = Endpoint(
    "create_or_update_profile",
    "POST",
    "/api/profile-import",
    ("profiles:write",),
    _L,
    records="/data",
    largest_answer=_SMALL,
)

# An upsert too: a job that was started twice writes the same values twice.
IMPORT_PROFILES = Endpoint(
    "bulk_import_profiles",
    "POST",
    "/api/profile-bulk-import-jobs",
    ("lists:write", "profiles:write"),
    _M,
    max_records=10_000,
    records="/data/attributes/profiles/data",
    largest_answer=_SMALL,
)
GET_IMPORT_JOB = Endpoint(
    "get_bulk_import_profiles_job",
    "GET",
    "/api/profile-bulk-import-jobs/{id}",
    ("lists:read", "profiles:read"),
    _M,
    largest_answer=_SMALL,
)
GET_IMPORT_JOBS = Endpoint(
    "get_bulk_import_profiles_jobs",
    "GET",
    "/api/profile-bulk-import-jobs",
    ("lists:read", "profiles:read"),
    _M,
    largest_answer=_SMALL,
)
GET_IMPORT_ERRORS = Endpoint(
    "get_errors_for_bulk_import_profiles_job",
    "GET",
    "/api/profile-bulk-import-jobs/{id}/import-errors",
    ("profiles:read",),
    _M,
)

# Every event has a unique_id, which counts once, so that sending it again is harmless.
CREATE_EVENTS = Endpoint(
    "bulk_create_events",
    "POST",
    "/api/event-bulk-create-jobs",
    ("events:write",),
    _M,
    max_records=1_000,
    records="/data/attributes/events-bulk-create/data",
    largest_answer=_SMALL,
)

GET_LISTS = Endpoint("get_lists", "GET", "/api/lists", ("lists:read",), _L, largest_answer=_SMALL)
CREATE_LIST = Endpoint(
    "create_list",
    "POST",
    "/api/lists",
    ("lists:write",),
    windows(10, 150, 150),
    is_repeatable=False,
    largest_answer=_SMALL,
)
GET_LIST = Endpoint(
    "get_list",
    "GET",
    "/api/lists/{id}",
    ("lists:read",),
    _L,
    largest_answer=_SMALL,
    lowered=(Lowered("additional-fields[list]", "profile_count", _XS),),
)

_MEMBERSHIP = "/api/lists/{id}/relationships/profiles"

GET_LIST_PROFILES = Endpoint(
    "get_profiles_for_list",
    "GET",
    "/api/lists/{id}/profiles",
    ("lists:read", "profiles:read"),
    _L,
    lowered=(_PREDICTED,),
)

# Who is on the list already stays on it, and who is not on it stays away: sending either again is harmless.
ADD_TO_LIST = Endpoint(
    "add_profiles_to_list",
    "POST",
    _MEMBERSHIP,
    ("lists:write", "profiles:write"),
    _M,
    max_records=1_000,
    records="/data",
    largest_answer=_SMALL,
)
REMOVE_FROM_LIST = Endpoint(
    "remove_profiles_from_list",
    "DELETE",
    _MEMBERSHIP,
    ("lists:write", "profiles:write"),
    _M,
    max_records=1_000,
    records="/data",
    largest_answer=_SMALL,
)

# Whom it asks for a confirmation, it asks again when it is sent again: see SUBSCRIBE_ONCE.
SUBSCRIBE = Endpoint(
    "bulk_subscribe_profiles",
    "POST",
    "/api/profile-subscription-bulk-create-jobs",
    ("lists:write", "profiles:write", "subscriptions:write"),
    _L,
    max_records=1_000,
    records="/data/attributes/profiles/data",
    largest_answer=_SMALL,
)
SUBSCRIBE_ONCE = replace(SUBSCRIBE, is_repeatable=False)

# Its success takes people off the list, and who is not on the list is unsubscribed from everything.
UNSUBSCRIBE = Endpoint(
    "bulk_unsubscribe_profiles",
    "POST",
    "/api/profile-subscription-bulk-delete-jobs",
    ("lists:write", "profiles:write", "subscriptions:write"),
    _L,
    is_repeatable=False,
    max_records=100,
    records="/data/attributes/profiles/data",
    largest_answer=_SMALL,
)

# Without a list it does the same however often it is sent.
UNSUBSCRIBE_GLOBALLY = replace(UNSUBSCRIBE, is_repeatable=True)

ENDPOINTS = (
    GET_ACCOUNTS,
    GET_PROFILES,
    IMPORT_PROFILE,
    IMPORT_PROFILES,
    GET_IMPORT_JOB,
    GET_IMPORT_JOBS,
    GET_IMPORT_ERRORS,
    CREATE_EVENTS,
    GET_LISTS,
    CREATE_LIST,
    GET_LIST,
    GET_LIST_PROFILES,
    ADD_TO_LIST,
    REMOVE_FROM_LIST,
    SUBSCRIBE,
    UNSUBSCRIBE,
)


def scopes_of(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    """Every scope that a key needs for some endpoints, sorted."""
    return tuple(sorted({scope for endpoint in endpoints for scope in endpoint.scopes}))
