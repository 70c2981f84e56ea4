"""Profiles as requests carry them: checked, and reduced to the change they ask for.

Source: OpenAPI 2026-07-15, `ProfileUpsertQuery`, `ProfileCreateQuery`, `ProfilePartialUpdateQuery`,
`ProfileImportJobCreateQuery`.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import Struct

from airflow_provider_klaviyo.emulator.core.errors import Problem, pointer_to
from airflow_provider_klaviyo.emulator.core.settings import Settings
from airflow_provider_klaviyo.emulator.requests import identifiers
from airflow_provider_klaviyo.emulator.requests.documents import object_problems, property_problems

MAX_PROFILE_BYTES = 100_000

IDENTIFIERS = ("email", "phone_number", "external_id")
TEXTS = ("first_name", "last_name", "organization", "title", "locale", "image")
LOCATION = (
    "address1",
    "address2",
    "city",
    "country",
    "latitude",
    "longitude",
    "region",
    "zip",
    "timezone",
    "ip",
)
_MEMBERS = (*IDENTIFIERS, *TEXTS, "location", "properties")
# Identifiers that browsers are given; nobody in this account has one.
_FOREIGN = ("_kx", "anonymous_id")
_COORDINATES = {"latitude": 90.0, "longitude": 180.0}

is_locale = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?").fullmatch
is_url = re.compile(r"https?://[^\s/?#]+\.?[^\s]*").fullmatch

NO_IDENTIFIER = "One or more identifiers is required"


class Patch(Struct, frozen=True, gc=False):
    """`meta.patch_properties` of a profile."""

    append: dict[str, Any] = {}
    unappend: dict[str, Any] = {}
    unset: tuple[str, ...] = ()


class Change(Struct, gc=False):
    """What a request asks to be done to one profile.

    `details` is the JSON of the attributes that are set, without identifiers; `cleared` names those to be emptied,
    with a dot for members of `location` and `properties`.
    """

    id: str | None = None
    email: str | None = None
    phone_number: str | None = None
    external_id: str | None = None
    details: bytes = b"{}"
    cleared: tuple[str, ...] = ()
    patch: Patch | None = None

    def payload(self) -> dict[str, Any]:
        """The profile as it was sent, as far as it was kept."""
        given = {name: getattr(self, name) for name in IDENTIFIERS if getattr(self, name) is not None}
        resource: dict[str, Any] = {
            "type": "profile",
            "attributes": given | msgspec.json.decode(self.details),
        }
        return resource if self.id is None else resource | {"id": self.id}


@dataclass(frozen=True, slots=True)
class Form:
    """What an operation lets a profile contain."""

    id: Literal["none", "optional", "required"] = "optional"
    meta: Literal["none", "beside attributes", "among attributes"] = "beside attributes"
    exchange_id: bool = True
    anonymous_id: bool = False
    nulls: Literal["clear", "ignore"] = "clear"
    needs_identifier: bool = True
    may_drop_phones: bool = False
    max_bytes: int = MAX_PROFILE_BYTES

    @property
    def members(self) -> tuple[str, ...]:
        """What the attributes may be called."""
        special = {
            "_kx": self.exchange_id,
            "anonymous_id": self.anonymous_id,
            "meta": self.meta == "among attributes",
        }
        return (*_MEMBERS, *(name for name, is_known in special.items() if is_known))


IMPORT = Form()
BULK = Form(nulls="ignore", may_drop_phones=True)
CREATE = Form(id="none", meta="none", exchange_id=False)
UPDATE = Form(id="required", exchange_id=False, needs_identifier=False)
# What a null does to the profile of an event is not known; nobody may rely on it to clear anything.
EVENT = Form(meta="among attributes", anonymous_id=True, nulls="ignore", max_bytes=95_000)
EVENT_BULK = Form(anonymous_id=True, nulls="ignore", max_bytes=95_000)


def check_profile(resource: Any, pointer: str, form: Form, settings: Settings) -> Change | list[Problem]:
    """The change that a profile resource asks for, or everything that is wrong with it."""
    if form.may_drop_phones and settings.bulk_phones == "dropped":
        resource = _without_bad_phone(resource, settings)
    problems = list(_problems(resource, pointer, form, settings))
    return problems or _change(resource, form)


def _without_bad_phone(resource: Any, settings: Settings) -> Any:
    """A profile as a bulk import stores it: an invalid number is left out, and nothing says so."""
    attributes = resource.get("attributes") if isinstance(resource, dict) else None
    if not isinstance(attributes, dict):
        return resource
    number = attributes.get("phone_number")
    if not isinstance(number, str) or not text_problem("phone_number", number, settings):
        return resource
    kept = {name: value for name, value in attributes.items() if name != "phone_number"}
    return resource | {"attributes": kept}


def _problems(resource: Any, pointer: str, form: Form, settings: Settings) -> Iterator[Problem]:
    required = ("type", "attributes", *(("id",) if form.id == "required" else ()))
    optional = (
        *(("id",) if form.id == "optional" else ()),
        *(("meta",) if form.meta == "beside attributes" else ()),
    )
    outline = list(
        object_problems(resource, pointer, required=required, optional=optional, resource="profile")
    )
    yield from outline
    if not isinstance(resource, dict):
        return
    if resource.get("type", "profile") != "profile":
        yield Problem("'type' must be 'profile'.", pointer=pointer_to(pointer, "type"))
    if len(msgspec.json.encode(resource)) > form.max_bytes:
        detail = f"The profile is larger than {form.max_bytes // 1_000} KB."
        yield Problem(detail, pointer=pointer, code="payload_too_large")
    yield from _id_problems(resource, pointer, form)
    yield from _meta_problems(resource.get("meta"), pointer_to(pointer, "meta"))
    if "attributes" not in resource:
        return
    inside = pointer_to(pointer, "attributes")
    attributes = resource["attributes"]
    members = form.members
    yield from object_problems(attributes, inside, optional=members, resource="profile")
    if isinstance(attributes, dict):
        if form.meta == "among attributes":
            yield from _meta_problems(attributes.get("meta"), pointer_to(inside, "meta"))
        yield from _attribute_problems(attributes, inside, members, settings)
        if form.needs_identifier and not _is_identified(resource, attributes, settings):
            yield Problem(NO_IDENTIFIER, pointer=inside)


def _id_problems(resource: dict[str, Any], pointer: str, form: Form) -> Iterator[Problem]:
    profile_id = resource.get("id")
    may_be_null = form.id == "optional" or "id" not in resource
    if not (isinstance(profile_id, str) and profile_id) and not (profile_id is None and may_be_null):
        yield Problem("'id' must be the id of a profile.", pointer=pointer_to(pointer, "id"))


def _is_identified(resource: dict[str, Any], attributes: dict[str, Any], settings: Settings) -> bool:
    names = ("email", "external_id", "phone_number") if settings.sms else ("email", "external_id")
    return resource.get("id") is not None or any(attributes.get(name) is not None for name in names)


def _attribute_problems(
    attributes: dict[str, Any], pointer: str, members: tuple[str, ...], settings: Settings
) -> Iterator[Problem]:
    foreign = [name for name in _FOREIGN if name in members]
    for name in (*IDENTIFIERS, *TEXTS, *foreign):
        value = attributes.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            yield Problem(f"'{name}' must be a string.", pointer=pointer_to(pointer, name))
        elif detail := text_problem(name, value, settings):
            yield Problem(detail, pointer=pointer_to(pointer, name))
    if attributes.get("location") is not None:
        yield from _location_problems(attributes["location"], pointer_to(pointer, "location"))
    if attributes.get("properties") is not None:
        inside = pointer_to(pointer, "properties")
        yield from property_problems(attributes["properties"], inside, resource="profile")


def text_problem(name: str, value: str, settings: Settings) -> str | None:
    """What is wrong with the text of an attribute, in Klaviyo's words where they are known."""
    if "\x00" in value:
        return "Text must not contain NUL characters."
    match name:
        case "email":
            return None if identifiers.is_email(value) else identifiers.BAD_EMAIL
        case "phone_number":
            return phone_problem(value, settings)
        case "external_id":
            is_fine = value.strip() == value and 0 < len(value) <= identifiers.MAX_EXTERNAL_ID
            return None if is_fine else "'external_id' must have 1 to 255 characters and no blanks around it."
        case "locale":
            return None if is_locale(value) else "'locale' must be a BCP 47 language tag such as en-US."
        case "image":
            return None if is_url(value) else "'image' must be a URL."
        case "_kx" | "anonymous_id":
            return f"The '{name}' is not known to this account."
    return None


def phone_problem(value: str, settings: Settings) -> str | None:
    if not identifiers.is_phone_number(value):
        return identifiers.BAD_PHONE
    if settings.phone_regions is not None and not identifiers.is_in_regions(value, settings.phone_regions):
        return identifiers.BAD_REGION
    return None


def _location_problems(location: Any, pointer: str) -> Iterator[Problem]:
    yield from object_problems(location, pointer, optional=LOCATION, resource="location")
    if not isinstance(location, dict):
        return
    for name, value in location.items():
        detail = location_problem(name, value) if name in LOCATION and value is not None else None
        if detail:
            yield Problem(detail, pointer=pointer_to(pointer, name))


def location_problem(name: str, value: Any) -> str | None:
    """What is wrong with a member of `location`."""
    if name in _COORDINATES:
        return None if is_coordinate(value, _COORDINATES[name]) else f"'{name}' must be a coordinate."
    if not isinstance(value, str):
        return f"'{name}' must be a string."
    if name == "ip" and not is_ip_address(value):
        return "'ip' must be an IP address."
    return "Text must not contain NUL characters." if "\x00" in value else None


def is_coordinate(value: Any, largest: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return False
    return math.isfinite(number) and abs(number) <= largest


def is_ip_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _meta_problems(meta: Any, pointer: str) -> Iterator[Problem]:
    if meta is None:
        return
    # `patch_identifiers` is in Klaviyo's schema; secondary addresses are not emulated.
    yield from object_problems(meta, pointer, optional=("patch_properties",), resource="meta")
    patch = meta.get("patch_properties") if isinstance(meta, dict) else None
    if patch is None:
        return
    inside = pointer_to(pointer, "patch_properties")
    names = ("append", "unappend", "unset")
    yield from object_problems(patch, inside, optional=names, resource="patch_properties")
    for name in names if isinstance(patch, dict) else ():
        if patch.get(name) is not None:
            yield from _patch_problems(name, patch[name], pointer_to(inside, name))


def _patch_problems(name: str, value: Any, pointer: str) -> Iterator[Problem]:
    if name == "unset":
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(each, str) and each for each in names):
            yield Problem("'unset' must be a string or an array of strings.", pointer=pointer)
    elif not isinstance(value, dict):
        yield Problem(f"'{name}' must be an object.", pointer=pointer)
    else:
        for key, member in value.items():
            simple = member if isinstance(member, list) else [member]
            if any(each is None or isinstance(each, dict | list) for each in simple):
                yield Problem("Only simple values can be appended.", pointer=pointer_to(pointer, key))
        yield from property_problems(value, pointer, resource="profile")


def _change(resource: Mapping[str, Any], form: Form) -> Change:
    attributes = resource["attributes"]
    holder = attributes if form.meta == "among attributes" else resource
    given = {name: value for name, value in attributes.items() if name in _MEMBERS}
    cleared = tuple(_nulls(given)) if form.nulls == "clear" else ()
    details = _without_nulls({name: value for name, value in given.items() if name not in IDENTIFIERS})
    email = given.get("email")
    return Change(
        id=resource.get("id"),
        email=email.lower() if email else None,
        phone_number=given.get("phone_number"),
        external_id=given.get("external_id"),
        details=msgspec.json.encode(details),
        cleared=cleared,
        patch=_patch(holder.get("meta") or {}),
    )


def _nulls(attributes: Mapping[str, Any]) -> Iterator[str]:
    for name, value in attributes.items():
        if value is None:
            yield name
        elif name in ("location", "properties"):
            yield from (f"{name}.{member}" for member, inner in value.items() if inner is None)


def _without_nulls(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that say something; nulls deeper inside a property are part of its value."""
    kept = {name: value for name, value in attributes.items() if value is not None}
    for name in ("location", "properties"):
        if name in kept:
            kept[name] = {member: value for member, value in kept[name].items() if value is not None}
    return kept


def _patch(meta: Mapping[str, Any]) -> Patch | None:
    patch = meta.get("patch_properties")
    if not patch:
        return None
    unset = patch.get("unset") or ()
    return Patch(
        append=patch.get("append") or {},
        unappend=patch.get("unappend") or {},
        unset=(unset,) if isinstance(unset, str) else tuple(unset),
    )
