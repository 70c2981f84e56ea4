"""The pages of a list's members: in the order of joining, narrowed by filters.

Seen on real accounts: `joined_group_at` is shown in whole seconds. Whether Klaviyo orders and filters by more than it
shows is not known, nor in which order those of one instant come; here both are stricter than what clients hope for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from airflow_provider_klaviyo.emulator.account.list_store import Place, Placed, ProfileList
from airflow_provider_klaviyo.emulator.account.list_views import as_member, member_values
from airflow_provider_klaviyo.emulator.api.operations import Answer, Call, timestamp
from airflow_provider_klaviyo.emulator.api.profile_resources import profile_resource
from airflow_provider_klaviyo.emulator.core.errors import not_found
from airflow_provider_klaviyo.emulator.requests.filters import Comparison, Filterable
from airflow_provider_klaviyo.emulator.requests.query import bad_cursor

_NAMING = ("any", "equals")
FILTERS = {
    "email": Filterable(_NAMING),
    "phone_number": Filterable(_NAMING),
    "joined_group_at": Filterable(
        ("greater-or-equal", "greater-than", "less-or-equal", "less-than"), "datetime"
    ),
}
SORTS = ("joined_group_at", "-joined_group_at")


def find_list(call: Call) -> ProfileList:
    """The list that the path names."""
    found = call.account.lists.get(call.path["id"])
    if found is None:
        detail = f"A list with id {call.path['id']} does not exist."
        raise not_found(detail)
    return found


def get_profiles(call: Call) -> Answer:
    """A page of members as profiles."""
    names = call.query.fields.get("profile")
    tells_when = names is None or "joined_group_at" in names

    def resource(member: Placed) -> dict[str, Any]:
        place, profile = member[0], call.account.profiles[member[1]]
        shown = place.joined if call.account.settings.joined_times == "exact" else math.floor(place.joined)
        resource = profile_resource(
            call, profile, {"joined_group_at": timestamp(shown)} if tells_when else None
        )
        return as_member(call.account, profile, resource)

    return Answer(200, _page(call, resource))


def get_profile_ids(call: Call) -> Answer:
    """A page of members' ids."""

    def resource(member: Placed) -> dict[str, Any]:
        return {"type": "profile", "id": call.account.profiles.id_of(call.account.profiles[member[1]])}

    return Answer(200, _page(call, resource))


def _page(call: Call, resource: Callable[[Placed], dict[str, Any]]) -> dict[str, Any]:
    """A page with its links; the cursor is the place of its last member."""
    with call.account.lock:
        call.account.settle()
        found = list(islice(_members(call, find_list(call)), call.query.size + 1))
        shown = found[: call.query.size]
        last = shown[-1][0] if len(found) > len(shown) else None
        following = call.next_link(None if last is None else f"{last.joined!r} {last.turn}")
        links = {"self": call.self_link, "next": following, "prev": None}
        return {"data": list(map(resource, shown)), "links": links}


def _members(call: Call, profile_list: ProfileList) -> Iterator[Placed]:
    """The members behind the cursor that fulfil the filter, in the order that is asked for."""
    times = [each for each in call.query.filter if each.field == "joined_group_at"]
    others = [each for each in call.query.filter if each.field != "joined_group_at"]
    for place, number in _in_order(call, profile_list, times, others):
        profile = call.account.profiles[number]
        if all(each.matches(place.joined) for each in times) and all(
            any(map(each.matches, member_values(call.account, profile, each.field))) for each in others
        ):
            yield place, number


def _in_order(
    call: Call, profile_list: ProfileList, times: Sequence[Comparison], others: Sequence[Comparison]
) -> Iterator[Placed]:
    """The members that may be meant; by an index where they are named."""
    first = max((_bound(each) for each in times if each.operator.startswith("greater")), default=-math.inf)
    last = min((_bound(each) for each in times if each.operator.startswith("less")), default=math.inf)
    after, turns_stay = _cursor(call), call.account.settings.ties == "stay"
    if others and not call.account.settings.member_lag:
        profile_list = _named(call, profile_list, others[0])
    if call.query.sort == "-joined_group_at":
        return profile_list.newest_first(first, last, after, turns_stay=turns_stay)
    return profile_list.oldest_first(first, last, after)


def _named(call: Call, profile_list: ProfileList, condition: Comparison) -> ProfileList:
    """The list as if only those were on it whom a condition names."""
    profiles = call.account.profiles
    named = (profiles.with_identifier(condition.field, str(value)) for value in condition.values)
    return profile_list.only({each.number for each in named if each is not None})


def _bound(condition: Comparison) -> float:
    return float(condition.values[0])


def _cursor(call: Call) -> Place | None:
    if call.query.after is None:
        return None
    joined, _, turn = call.query.after.partition(" ")
    try:
        return Place(float(joined), int(turn))
    except ValueError:
        raise bad_cursor() from None
