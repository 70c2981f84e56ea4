"""`/api/profiles` and `/api/profile-import`: one profile at a time, and reading them."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.account.profile_store import Conflict, Profile
from airflow_provider_klaviyo.emulator.api.operations import XS, Answer, Call, L, Operation
from airflow_provider_klaviyo.emulator.api.profile_resources import (
    ADDITIONAL,
    FIELDS,
    LIST_FIELDS,
    LOWERED,
    PAGE,
    list_resource,
    profile_resource,
)
from airflow_provider_klaviyo.emulator.api.resources import links_of
from airflow_provider_klaviyo.emulator.api.suppression_filters import FILTERS, SuppressionFilter
from airflow_provider_klaviyo.emulator.core.errors import (
    ApiError,
    Problem,
    duplicate_profile,
    invalid,
    invalid_parameter,
    not_found,
)
from airflow_provider_klaviyo.emulator.requests import documents
from airflow_provider_klaviyo.emulator.requests.filters import Comparison, Filterable
from airflow_provider_klaviyo.emulator.requests.profile_schema import (
    CREATE,
    IMPORT,
    MAX_PROFILE_BYTES,
    UPDATE,
    Change,
    Form,
    check_profile,
)
from airflow_provider_klaviyo.emulator.requests.query import QueryRules, bad_cursor

_ANY = ("any", "equals")
_FILTERS = {
    "id": Filterable(_ANY),
    "email": Filterable(_ANY),
    "phone_number": Filterable(_ANY),
    "external_id": Filterable(_ANY),
    "created": Filterable(("greater-than", "less-than"), "datetime"),
    "updated": Filterable(("greater-than", "less-than"), "datetime"),
    **FILTERS,
}
_ID = re.compile("[0-9A-Z]{26}")
_IN_ORDER = ("id", "created")
_SORTS = ("created", "-created", "email", "-email", "id", "-id", "updated", "-updated")


# ------------------------------------------------------------------------------------------------------------


def _get_profiles(call: Call) -> Answer:
    account = call.account
    with account.lock:
        account.settle()
        if account.settings.checks_ids:
            _check_ids(call.query.filter)
        sort = call.query.sort or "id"
        after = _cursor(call)
        # In the order of creation what lies before the cursor need not be looked at.
        first = after[1] + 1 if after is not None and sort in _IN_ORDER else 0
        found = _ordered(_matching(account, call.query.filter, first), sort, after, call.query.size + 1)
        shown = found[: call.query.size]
        last = msgspec.json.encode(_key(sort)(shown[-1])).decode() if len(found) > len(shown) else None
        links = {"self": call.self_link, "next": call.next_link(last), "prev": None}
        return Answer(200, {"data": [profile_resource(call, profile) for profile in shown], "links": links})


def _check_ids(conditions: Iterable[Comparison]) -> None:
    values = [str(value) for each in conditions if each.field == "id" for value in each.values]
    if not all(map(_ID.fullmatch, values)):
        detail = "Invalid filter provided"
        raise invalid_parameter(detail, "filter")


def _cursor(call: Call) -> tuple[Any, int] | None:
    if call.query.after is None:
        return None
    try:
        return msgspec.json.decode(call.query.after, type=tuple[str | float, int])
    except msgspec.DecodeError:
        raise bad_cursor() from None


def _matching(account: Account, conditions: tuple[Comparison, ...], first: int) -> Iterator[Profile]:
    """Profiles that fulfil all conditions, in the order of creation; by an index where identifiers are named."""
    suppression = SuppressionFilter(conditions)
    conditions = tuple(each for each in conditions if each.field not in FILTERS)
    indexed = next((each for each in conditions if each.operator in _ANY), None)
    candidates: Iterable[Profile] = account.profiles.since(first)
    if suppression:
        candidates = (account.profiles[each] for each in suppression.candidates(account.consents))
    if indexed is not None:
        named = (account.profiles.with_identifier(indexed.field, str(value)) for value in indexed.values)
        numbers = {profile.number for profile in named if profile is not None}
        candidates = [account.profiles[number] for number in sorted(numbers)]
    for profile in candidates:
        if suppression and not suppression.matches(account.consents, profile.number):
            continue
        if all(any(map(each.matches, account.profiles.values(profile, each.field))) for each in conditions):
            yield profile


def _key(sort: str) -> Callable[[Profile], tuple[Any, int]]:
    """The place of a profile in an order; numbers rise with ids and creation."""
    field = sort.lstrip("-")
    if field in ("id", "created"):
        return lambda profile: (0, profile.number)
    if field == "email":
        return lambda profile: (profile.email or "", profile.number)
    return lambda profile: (profile.updated, profile.number)


def _ordered(
    profiles: Iterable[Profile], sort: str, after: tuple[Any, int] | None, count: int
) -> list[Profile]:
    key = _key(sort)
    if sort in _IN_ORDER:
        return list(islice((each for each in profiles if after is None or key(each) > after), count))
    if sort.startswith("-"):
        return heapq.nlargest(
            count, (each for each in profiles if after is None or key(each) < after), key=key
        )
    return heapq.nsmallest(count, (each for each in profiles if after is None or key(each) > after), key=key)


def find(call: Call, profile_id: str) -> Profile:
    """A profile by its Klaviyo id, or the 404."""
    profile = call.account.profiles.with_id(profile_id)
    if profile is None:
        detail = f"A profile with id {profile_id} does not exist."
        raise not_found(detail)
    return profile


def _get_profile(call: Call) -> Answer:
    account = call.account
    with account.lock:
        account.settle()
        profile = find(call, call.path["id"])
        resource = profile_resource(call, profile)
        document: dict[str, Any] = {"data": resource, "links": {"self": call.self_link}}
        if "lists" in call.query.include:
            lists = [each for each in account.lists if profile.number in each.members]
            relation = links_of(call.root, f"/api/profiles/{resource['id']}", "lists")
            data = [{"type": "list", "id": each.id} for each in lists]
            resource.setdefault("relationships", {})["lists"] = {"data": data, **relation}
            document["included"] = [list_resource(call, each) for each in lists]
        return Answer(200, document)


# ------------------------------------------------------------------------------------------------------------


def _checked(call: Call, form: Form) -> Change:
    document = documents.decode(call.body)
    if len(msgspec.json.encode(document)) > MAX_PROFILE_BYTES:
        detail = "The maximum allowed payload size is 100KB."
        raise ApiError(
            413, [Problem(detail, pointer="/data", code="payload_too_large", title="Payload too large.")]
        )
    outline = [*documents.object_problems(document, "/", required=("data",), resource="document")]
    if outline:
        raise ApiError(400, outline)
    change = check_profile(document["data"], "/data", form, call.account.settings)
    if not isinstance(change, Change):
        raise ApiError(400, change)
    return change


def _written(call: Call, status: int, profile: Profile) -> Answer:
    document = {"data": profile_resource(call, profile), "links": {"self": call.self_link}}
    return Answer(status, document, records=1)


def _refused(call: Call, conflict: Conflict) -> ApiError:
    if conflict.profile is not None:
        return duplicate_profile(call.account.profiles.id_of(conflict.profile))
    if conflict.field == "id":
        return not_found(conflict.detail)
    return invalid(conflict.detail, "/data/attributes")


def _create_profile(call: Call) -> Answer:
    change = _checked(call, CREATE)
    with call.account.lock:
        now = call.account.settle()
        try:
            owner = call.account.profiles.owner(change)
        except Conflict as conflict:
            raise _refused(call, conflict) from None
        if owner is not None:
            raise duplicate_profile(call.account.profiles.id_of(owner))
        return _written(call, 201, call.account.profiles.create(change, now))


def _import_profile(call: Call) -> Answer:
    change = _checked(call, IMPORT)
    profiles = call.account.profiles
    with call.account.lock:
        now = call.account.settle()
        try:
            owner = profiles.owner(change)
            if owner is None:
                return _written(call, 201, profiles.create(change, now))
            profiles.update(owner, change, now)
        except Conflict as conflict:
            raise _refused(call, conflict) from None
        return _written(call, 200, owner)


def _update_profile(call: Call) -> Answer:
    change = _checked(call, UPDATE)
    if change.id != call.path["id"]:
        detail = "The id in the body differs from the one in the path."
        raise invalid(detail, "/data/id")
    with call.account.lock:
        now = call.account.settle()
        try:
            profile = find(call, call.path["id"])
            call.account.profiles.owner(change)
            call.account.profiles.update(profile, change, now)
        except Conflict as conflict:
            raise _refused(call, conflict) from None
        return _written(call, 200, profile)


_WRITE = QueryRules(fields={"profile": FIELDS}, additional={"profile": ADDITIONAL})
_READ, _WRITES = ("profiles:read",), ("profiles:write",)

OPERATIONS = (
    Operation(
        "get_profiles",
        "GET",
        "/api/profiles",
        _READ,
        L,
        _get_profiles,
        QueryRules(
            fields={"profile": FIELDS},
            additional={"profile": ADDITIONAL},
            sort=_SORTS,
            filters=_FILTERS,
            page=PAGE,
        ),
        lowered=LOWERED,
    ),
    Operation(
        "get_profile",
        "GET",
        "/api/profiles/{id}",
        _READ,
        L,
        _get_profile,
        QueryRules(
            fields={"profile": FIELDS, "list": LIST_FIELDS},
            additional={"profile": ADDITIONAL},
            include=frozenset(("lists",)),
        ),
        lowered=(("include", "lists", XS),),
    ),
    Operation("create_profile", "POST", "/api/profiles", _WRITES, L, _create_profile, _WRITE, has_body=True),
    Operation(
        "update_profile", "PATCH", "/api/profiles/{id}", _WRITES, L, _update_profile, _WRITE, has_body=True
    ),
    Operation(
        "create_or_update_profile",
        "POST",
        "/api/profile-import",
        _WRITES,
        L,
        _import_profile,
        _WRITE,
        has_body=True,
    ),
)
