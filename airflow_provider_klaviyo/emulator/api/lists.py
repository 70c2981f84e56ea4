"""`/api/lists`: lists and who is on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_klaviyo.emulator.account.list_store import OPT_IN_PROCESSES, OptIn, ProfileList
from airflow_provider_klaviyo.emulator.account.profile_store import Profile
from airflow_provider_klaviyo.emulator.api.list_members import (
    FILTERS,
    SORTS,
    find_list,
    get_profile_ids,
    get_profiles,
)
from airflow_provider_klaviyo.emulator.api.operations import XS, Answer, Call, L, M, Operation
from airflow_provider_klaviyo.emulator.api.profile_resources import (
    ADDITIONAL,
    FIELDS,
    LIST_FIELDS,
    LOWERED,
    PAGE,
    list_resource,
)
from airflow_provider_klaviyo.emulator.api.resources import page
from airflow_provider_klaviyo.emulator.core.errors import ApiError, Problem, invalid, pointer_to
from airflow_provider_klaviyo.emulator.core.windows import Rates
from airflow_provider_klaviyo.emulator.requests import documents
from airflow_provider_klaviyo.emulator.requests.documents import object_problems, resource_of
from airflow_provider_klaviyo.emulator.requests.filters import Filterable
from airflow_provider_klaviyo.emulator.requests.query import Page, QueryRules

MAX_MEMBERS = 1_000


def _document(call: Call, profile_list: ProfileList) -> dict[str, Any]:
    return {"data": list_resource(call, profile_list), "links": {"self": call.self_link}}


def _get_lists(call: Call) -> Answer:
    with call.account.lock:
        call.account.settle()
        lists = list(call.account.lists)
        sort = call.query.sort or "created"
        ordered = sorted(
            lists, key=lambda each: getattr(each, sort.lstrip("-")), reverse=sort.startswith("-")
        )
        places = {each.id: place for place, each in enumerate(ordered)}
        rows = [
            each
            for each in ordered
            if all(cond.matches(getattr(each, cond.field)) for cond in call.query.filter)
        ]
        document = page(
            call, rows, resource=lambda each: list_resource(call, each), position=lambda each: places[each.id]
        )
    return Answer(200, document)


def _get_list(call: Call) -> Answer:
    with call.account.lock:
        call.account.settle()
        profile_list = find_list(call)
        document = _document(call, profile_list)
        if "profile_count" in call.query.additional:
            document["data"]["attributes"]["profile_count"] = len(profile_list.members)
    return Answer(200, document)


def _create_list(call: Call) -> Answer:
    data = resource_of(documents.decode(call.body), "list", required=("type", "attributes"))
    attributes = _attributes(data, required=("name",), optional=("opt_in_process",))
    account = call.account
    with account.lock:
        now = account.settle()
        opt_in: OptIn = attributes.get("opt_in_process") or "double_opt_in"
        profile_list = ProfileList(account.ids.list(), attributes["name"], opt_in, now, now)
        account.lists.add(profile_list)
        return Answer(201, _document(call, profile_list), records=1)


def _update_list(call: Call) -> Answer:
    data = resource_of(documents.decode(call.body), "list", required=("type", "id", "attributes"))
    attributes = _attributes(data, optional=("name", "opt_in_process"))
    if data["id"] != call.path["id"]:
        detail = "The id in the body differs from the one in the path."
        raise invalid(detail, "/data/id")
    with call.account.lock:
        now = call.account.settle()
        profile_list = find_list(call)
        profile_list.name = attributes.get("name") or profile_list.name
        profile_list.opt_in_process = attributes.get("opt_in_process") or profile_list.opt_in_process
        profile_list.updated = now
        return Answer(200, _document(call, profile_list), records=1)


def _attributes(data: Mapping[str, Any], **outline: tuple[str, ...]) -> dict[str, Any]:
    pointer = "/data/attributes"
    attributes = data["attributes"]
    problems = [*object_problems(attributes, pointer, resource="list", **outline)]
    if isinstance(attributes, dict):
        problems += _value_problems(
            attributes, pointer, is_name_required="name" in outline.get("required", ())
        )
    if problems:
        raise ApiError(400, problems)
    return dict(attributes)


def _value_problems(attributes: dict[str, Any], pointer: str, *, is_name_required: bool) -> Iterator[Problem]:
    name = attributes.get("name")
    may_be_null = not is_name_required or "name" not in attributes
    if not (name is None and may_be_null) and not (
        isinstance(name, str) and name.strip() and "\x00" not in name
    ):
        yield Problem("'name' must be a text.", pointer=pointer_to(pointer, "name"))
    process = attributes.get("opt_in_process")
    if process is not None and process not in OPT_IN_PROCESSES:
        detail = f"'opt_in_process' must be one of {', '.join(OPT_IN_PROCESSES)}."
        yield Problem(detail, pointer=pointer_to(pointer, "opt_in_process"))


def _delete_list(call: Call) -> Answer:
    with call.account.lock:
        call.account.settle()
        call.account.lists.remove(find_list(call).id)
    return Answer(204, records=1)


# ------------------------------------------------------------------------------------------------------------


def _add_profiles(call: Call) -> Answer:
    with call.account.lock:
        now = call.account.settle()
        profile_list, profiles = find_list(call), _named_profiles(call)
        for profile in profiles:
            call.account.lists.join(profile_list.id, profile, now)
    return Answer(204, records=len(profiles))


def _remove_profiles(call: Call) -> Answer:
    with call.account.lock:
        call.account.settle()
        profile_list, profiles = find_list(call), _named_profiles(call)
        for profile in profiles:
            profile_list.leave(profile.number)
    return Answer(204, records=len(profiles))


def _named_profiles(call: Call) -> list[Profile]:
    """The profiles that a body names by id.

    What Klaviyo does with an unknown or repeated id is not known; here either refuses the request.
    """
    document = documents.decode(call.body)
    problems = [*object_problems(document, "/", required=("data",), resource="document")]
    members = document.get("data") if isinstance(document, dict) else None
    if not problems and (not isinstance(members, list) or not 1 <= len(members) <= MAX_MEMBERS):
        problems.append(Problem(f"'data' must be an array of 1 to {MAX_MEMBERS} profiles.", pointer="/data"))
    if problems or not isinstance(members, list):
        raise ApiError(400, problems)
    profiles: dict[int, Profile] = {}
    for index, member in enumerate(members):
        found = _named_profile(call, member, pointer_to("/data", index))
        if isinstance(found, Profile) and found.number not in profiles:
            profiles[found.number] = found
        elif isinstance(found, Profile):
            problems.append(
                Problem("The profile is named more than once.", pointer=pointer_to("/data", index, "id"))
            )
        else:
            problems += found
    if problems:
        raise ApiError(400, problems)
    return list(profiles.values())


def _named_profile(call: Call, member: Any, pointer: str) -> Profile | list[Problem]:
    problems = [*object_problems(member, pointer, required=("type", "id"), resource="profile")]
    if problems:
        return problems
    if member["type"] != "profile" or not isinstance(member["id"], str):
        return [Problem("A profile is named by its type and its id.", pointer=pointer)]
    profile = call.account.profiles.with_id(member["id"])
    if profile is None:
        return [
            Problem(f"A profile with id {member['id']} does not exist.", pointer=pointer_to(pointer, "id"))
        ]
    return profile


_COUNT = ("additional-fields[list]", "profile_count", XS)
_READS = ("lists:read", "profiles:read")
_MEMBERSHIP = "/api/lists/{id}/relationships/profiles"

OPERATIONS = (
    Operation(
        "get_lists",
        "GET",
        "/api/lists",
        ("lists:read",),
        L,
        _get_lists,
        QueryRules(
            fields={"list": LIST_FIELDS},
            sort=("created", "-created", "id", "-id", "name", "-name", "updated", "-updated"),
            filters={
                "name": Filterable(("any", "equals")),
                "id": Filterable(("any", "equals")),
                "created": Filterable(("greater-than",), "datetime"),
                "updated": Filterable(("greater-than",), "datetime"),
            },
            page=Page(default=10, largest=10),
        ),
    ),
    Operation(
        "get_list",
        "GET",
        "/api/lists/{id}",
        ("lists:read",),
        L,
        _get_list,
        QueryRules(
            fields={"list": LIST_FIELDS | {"profile_count"}},
            additional={"list": frozenset(("profile_count",))},
        ),
        lowered=(_COUNT,),
    ),
    Operation(
        "create_list",
        "POST",
        "/api/lists",
        ("lists:write",),
        Rates(M.burst, M.steady, 150),
        _create_list,
        QueryRules(fields={"list": LIST_FIELDS}),
        has_body=True,
    ),
    Operation(
        "update_list",
        "PATCH",
        "/api/lists/{id}",
        ("lists:write",),
        M,
        _update_list,
        QueryRules(fields={"list": LIST_FIELDS}),
        has_body=True,
    ),
    Operation("delete_list", "DELETE", "/api/lists/{id}", ("lists:write",), M, _delete_list),
    Operation(
        "get_profiles_for_list",
        "GET",
        "/api/lists/{id}/profiles",
        _READS,
        L,
        get_profiles,
        QueryRules(
            fields={"profile": FIELDS | {"joined_group_at"}},
            additional={"profile": ADDITIONAL},
            sort=SORTS,
            filters=FILTERS,
            page=PAGE,
        ),
        lowered=LOWERED,
    ),
    Operation(
        "get_profile_ids_for_list",
        "GET",
        _MEMBERSHIP,
        _READS,
        L,
        get_profile_ids,
        QueryRules(sort=SORTS, filters=FILTERS, page=PAGE),
    ),
    Operation(
        "add_profiles_to_list",
        "POST",
        _MEMBERSHIP,
        ("lists:write", "profiles:write"),
        M,
        _add_profiles,
        has_body=True,
    ),
    Operation(
        "remove_profiles_from_list",
        "DELETE",
        _MEMBERSHIP,
        ("lists:write", "profiles:write"),
        M,
        _remove_profiles,
        has_body=True,
    ),
)
