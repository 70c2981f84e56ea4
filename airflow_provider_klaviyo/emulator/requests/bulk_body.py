"""The body of a bulk import: thousands of profiles at a time.

`check_profile` is the rule. Reading ten thousand profiles by it takes a second, so a body is first read into structs,
and only what is unusual about a profile sends it through the rule. The shortcut passes nothing that the rule refuses.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from airflow_provider_klaviyo.emulator.core.errors import ApiError, Problem, pointer_to
from airflow_provider_klaviyo.emulator.core.settings import Settings
from airflow_provider_klaviyo.emulator.requests import documents, identifiers
from airflow_provider_klaviyo.emulator.requests.documents import INT64, object_problems
from airflow_provider_klaviyo.emulator.requests.profile_schema import (
    BULK,
    Change,
    Form,
    check_profile,
    is_coordinate,
    is_ip_address,
    is_locale,
    is_url,
    phone_problem,
    text_problem,
)

MAX_PROFILES = 10_000
PROFILES = "/data/attributes/profiles/data"

_Text = str | None | UnsetType


class _Location(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    address1: _Text = UNSET
    address2: _Text = UNSET
    city: _Text = UNSET
    country: _Text = UNSET
    latitude: str | float | int | UnsetType | None = UNSET
    longitude: str | float | int | UnsetType | None = UNSET
    region: _Text = UNSET
    zip: _Text = UNSET
    timezone: _Text = UNSET
    ip: _Text = UNSET


class _Attributes(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    email: _Text = UNSET
    phone_number: _Text = UNSET
    external_id: _Text = UNSET
    first_name: _Text = UNSET
    last_name: _Text = UNSET
    organization: _Text = UNSET
    title: _Text = UNSET
    locale: _Text = UNSET
    image: _Text = UNSET
    location: _Location | UnsetType | None = UNSET
    properties: dict[str, Any] | UnsetType | None = UNSET
    kx: _Text = msgspec.field(default=UNSET, name="_kx")


class ProfileResource(Struct, forbid_unknown_fields=True, gc=False):
    """A profile as bulk requests carry it; anything else in it sends the request through the rule."""

    type: Literal["profile"]
    attributes: _Attributes
    id: _Text = UNSET
    meta: Any = UNSET


class _Profiles(Struct, forbid_unknown_fields=True):
    data: list[ProfileResource]


class _JobAttributes(Struct, forbid_unknown_fields=True):
    profiles: _Profiles


class _List(Struct, forbid_unknown_fields=True):
    type: Literal["list"]
    id: str


class _Lists(Struct, forbid_unknown_fields=True):
    data: list[_List]


class _Relationships(Struct, forbid_unknown_fields=True):
    lists: _Lists | UnsetType = UNSET


class _JobData(Struct, forbid_unknown_fields=True):
    type: Literal["profile-bulk-import-job"]
    attributes: _JobAttributes
    relationships: _Relationships | UnsetType = UNSET


class _Job(Struct, forbid_unknown_fields=True):
    data: _JobData


class ImportBody(Struct):
    """A bulk import job as it was asked for."""

    changes: list[Change]
    list_ids: list[str]


_decode_job = msgspec.json.Decoder(_Job).decode
_encode = msgspec.json.Encoder().encode


def read_bulk(body: bytes, settings: Settings) -> ImportBody:
    """The changes of a bulk import, or the 400 that names every bad record: one sinks the whole request."""
    quick = _read_quickly(body, settings)
    return quick if quick is not None else _read_carefully(documents.decode(body), settings)


def _read_quickly(body: bytes, settings: Settings) -> ImportBody | None:
    """The same verdict as `_read_carefully` for a body that has nothing wrong, else None."""
    if b"\\u0000" in body or documents.may_hide_keys(body):
        return None
    try:
        data = _decode_job(body).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    resources = data.attributes.profiles.data
    list_ids = _plain_list_ids(data)
    if not 1 <= len(resources) <= MAX_PROFILES or len(set(list_ids)) < len(list_ids):
        return None
    data.attributes.profiles.data = []
    keys = documents.count_keys(_encode({"data": data}))
    changes: list[Change] = []
    for resource in resources:
        compact = _encode(resource)
        keys += documents.count_keys(compact)
        change = quick_change(resource, compact, BULK, settings)
        if change is None:
            return None
        changes.append(change)
    return ImportBody(changes, list_ids) if keys == documents.count_keys(body) else None


def _plain_list_ids(data: _JobData) -> list[str]:
    if data.relationships is UNSET or data.relationships.lists is UNSET:
        return []
    return [each.id for each in data.relationships.lists.data]


def quick_change(resource: ProfileResource, compact: bytes, form: Form, settings: Settings) -> Change | None:
    """The change of a profile with nothing wrong about it, else None; `compact` is its JSON. Uses the profile up."""
    change = _plain_change(resource, compact, form, settings) or check_profile(
        msgspec.json.decode(compact), "", form, settings
    )
    return change if isinstance(change, Change) else None


def _plain_change(resource: ProfileResource, compact: bytes, form: Form, settings: Settings) -> Change | None:
    """The change of a profile with nothing unusual about it, else None."""
    if len(compact) > form.max_bytes or b"null" in compact or b'"$' in compact or b'"":' in compact:
        return None
    attributes = resource.attributes
    email, phone, external = attributes.email, attributes.phone_number, attributes.external_id
    if (
        resource.id is not UNSET
        or resource.meta is not UNSET
        or (email is UNSET and external is UNSET and (phone is UNSET or not settings.sms))
        or not (email is UNSET or identifiers.is_email(email))  # type: ignore[arg-type]
        or not (external is UNSET or text_problem("external_id", external, settings) is None)  # type: ignore[arg-type]
        or not (phone is UNSET or phone_problem(phone, settings) is None)  # type: ignore[arg-type]
        or not _has_plain_details(attributes)
    ):
        return None
    attributes.email = attributes.phone_number = attributes.external_id = UNSET
    return Change(
        email=None if email is UNSET else email.lower(),  # type: ignore[union-attr]
        phone_number=None if phone is UNSET else phone,  # type: ignore[arg-type]
        external_id=None if external is UNSET else external,  # type: ignore[arg-type]
        details=_encode(attributes),
    )


def _has_plain_details(attributes: _Attributes) -> bool:
    locale, image, location, properties = (
        attributes.locale,
        attributes.image,
        attributes.location,
        attributes.properties,
    )
    if attributes.kx is not UNSET:
        return False
    if locale is not UNSET and not is_locale(locale):  # type: ignore[arg-type]
        return False
    if image is not UNSET and not is_url(image):  # type: ignore[arg-type]
        return False
    if location is not UNSET and not _is_plain_location(location):  # type: ignore[arg-type]
        return False
    return properties is UNSET or are_plain(properties)  # type: ignore[arg-type]


def _is_plain_location(location: _Location) -> bool:
    return (
        (location.latitude is UNSET or is_coordinate(location.latitude, 90.0))
        and (location.longitude is UNSET or is_coordinate(location.longitude, 180.0))
        and (location.ip is UNSET or is_ip_address(location.ip))  # type: ignore[arg-type]
    )


def are_plain(properties: dict[str, Any]) -> bool:
    """Whether there are not too many properties, and each is a text, a truth value or a number of 64 bits."""
    if len(properties) > documents.MAX_PROPERTIES:
        return False
    for value in properties.values():
        kind = type(value)
        if (
            kind is not str
            and kind is not bool
            and kind is not float
            and not (kind is int and -INT64 <= value < INT64)
        ):
            return False
    return True


def _read_carefully(document: Any, settings: Settings) -> ImportBody:
    data = documents.resource_of(
        document, "profile-bulk-import-job", required=("type", "attributes"), optional=("relationships",)
    )
    problems: list[Problem] = []
    list_ids = _list_ids(data.get("relationships", {}), problems)
    changes: list[Change] = []
    attributes, base = data["attributes"], "/data/attributes"
    problems += object_problems(attributes, base, required=("profiles",), resource="profile-bulk-import-job")
    for index, resource in enumerate(
        documents.members_of(attributes, base, "profiles", MAX_PROFILES, problems)
    ):
        change = check_profile(resource, pointer_to(PROFILES, index), BULK, settings)
        if isinstance(change, Change):
            changes.append(change)
        else:
            problems += change
    if problems:
        raise ApiError(400, problems)
    return ImportBody(changes, list_ids)


def _list_ids(relationships: Any, problems: list[Problem]) -> list[str]:
    base = "/data/relationships"
    found = [*object_problems(relationships, base, optional=("lists",), resource="relationships")]
    if found or "lists" not in relationships:
        problems += found
        return []
    lists = relationships["lists"]
    problems += object_problems(lists, f"{base}/lists", required=("data",), resource="lists")
    members = lists.get("data", []) if isinstance(lists, dict) else []
    if not isinstance(members, list):
        problems.append(Problem("'data' must be an array.", pointer=f"{base}/lists/data"))
        return []
    list_ids = []
    for index, member in enumerate(members):
        pointer = pointer_to(f"{base}/lists/data", index)
        outline = [*object_problems(member, pointer, required=("type", "id"), resource="list")]
        if not outline and (
            member["type"] != "list" or not isinstance(member["id"], str) or member["id"] in list_ids
        ):
            outline = [Problem("A list is named by its type and its id, once.", pointer=pointer)]
        problems += outline
        list_ids += [] if outline else [member["id"]]
    return list_ids
