"""Bodies of subscribing and unsubscribing: checked, and reduced to what they wish for each person.

Source: OpenAPI 2026-07-15, `SubscriptionCreateJobCreateQuery`, `SubscriptionDeleteJobCreateQuery`, and the guide
"Collect email and SMS consent via API". The account has neither WhatsApp nor push: who names these is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from msgspec import Struct

from airflow_provider_klaviyo.emulator.core.channels import CHANNELS, Consent, group_of
from airflow_provider_klaviyo.emulator.core.errors import ApiError, Problem, pointer_to
from airflow_provider_klaviyo.emulator.core.settings import Settings
from airflow_provider_klaviyo.emulator.requests import documents, identifiers
from airflow_provider_klaviyo.emulator.requests.documents import object_problems
from airflow_provider_klaviyo.emulator.requests.profile_schema import text_problem

PROFILES = "/data/attributes/profiles/data"

#: The identifier that the channels of a group go by.
FIELDS = {"email": "email", "sms": "phone_number"}
#: The group and the purpose of each channel, as a record names them.
PATHS = {
    channel: (group, channel.partition(".")[2] or "marketing")
    for group, channels in CHANNELS.items()
    for channel in channels
}
_ABSENT = ("push", "whatsapp")
_NO_SMS = "SMS configuration is required to subscribe phone number only profiles."
# With an offset: times without one are refused, and so are dates.
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)").fullmatch
_DATE = re.compile(r"\d{4}-\d\d-\d\d").fullmatch


@dataclass(frozen=True, slots=True)
class Form:
    """What sets subscribing and unsubscribing apart."""

    type: str
    consent: Consent
    limit: int
    has_history: bool


SUBSCRIBE = Form("profile-subscription-bulk-create-job", "SUBSCRIBED", 1_000, has_history=True)
UNSUBSCRIBE = Form("profile-subscription-bulk-delete-job", "UNSUBSCRIBED", 100, has_history=False)


class Wish(Struct, frozen=True, gc=False):
    """What a record asks for one person; `channels` maps channels to when consent was given, where that is said."""

    id: str | None
    email: str | None
    phone_number: str | None
    channels: dict[str, float | None]

    def person(self, group: str) -> str:
        """The address or number that a group of channels goes by."""
        return (self.email if group == "email" else self.phone_number) or ""

    def identifiers(self) -> str:
        """All identifiers in one text, for faults to be matched with."""
        return f"{self.id} {self.email} {self.phone_number}"


@dataclass(frozen=True, slots=True)
class Wishes:
    """A request to subscribe or unsubscribe people."""

    records: list[Wish]
    list_id: str | None
    is_historical: bool
    source: str | None


def read_wishes(body: bytes, form: Form, settings: Settings, now: float) -> Wishes:
    """The wishes of a request, or the 400 that names every bad record: one sinks the whole request."""
    data = documents.resource_of(
        documents.decode(body), form.type, required=("type", "attributes"), optional=("relationships",)
    )
    attributes, inside = data["attributes"], "/data/attributes"
    optional = ("custom_source", "historical_import") if form.has_history else ()
    problems = [
        *object_problems(attributes, inside, required=("profiles",), optional=optional, resource=form.type)
    ]
    given = attributes if isinstance(attributes, dict) else {}
    problems += _member_problems(given)
    list_id = relations_of(data, ("list",), problems).get("list")
    is_historical = given.get("historical_import") is True
    checker = _Checker(form, settings, now, is_historical=is_historical)
    resources = documents.members_of(given, inside, "profiles", form.limit, problems)
    records = [checker.wish(resource, index) for index, resource in enumerate(resources)]
    problems += checker.problems
    if problems:
        raise ApiError(400, problems)
    wishes = [record for record in records if record is not None]
    return Wishes(wishes, list_id, is_historical, given.get("custom_source"))


def _member_problems(attributes: Mapping[str, Any]) -> Iterator[Problem]:
    source, history = attributes.get("custom_source"), attributes.get("historical_import")
    if source is not None and not (isinstance(source, str) and "\x00" not in source):
        yield Problem("'custom_source' must be a text.", pointer="/data/attributes/custom_source")
    if history is not None and not isinstance(history, bool):
        yield Problem("'historical_import' must be a boolean.", pointer="/data/attributes/historical_import")


def relations_of(data: Mapping[str, Any], kinds: tuple[str, ...], problems: list[Problem]) -> dict[str, str]:
    """The ids of relationships to one resource each, `relationships.list.data` and its like."""
    relationships, base = data.get("relationships", {}), "/data/relationships"
    problems += object_problems(relationships, base, optional=kinds, resource="relationships")
    ids: dict[str, str] = {}
    for kind in kinds:
        named = documents.data_of(relationships, base, kind, problems)
        if named is None:
            continue
        inside = pointer_to(base, kind, "data")
        found = [*object_problems(named, inside, required=("type", "id"), resource=kind)]
        if not found and named["type"] == kind and isinstance(named["id"], str):
            ids[kind] = named["id"]
        else:
            problems += found or [Problem(f"A {kind} is named by its type and its id.", pointer=inside)]
    return ids


class _Checker:
    """Reads the records of one request; what is wrong with them gathers in `problems`."""

    def __init__(self, form: Form, settings: Settings, now: float, *, is_historical: bool) -> None:
        self.problems: list[Problem] = []
        self._form = form
        self._settings = settings
        self._now = now
        self._is_historical = is_historical
        self._seen: set[str] = set()
        self._plain: dict[tuple[str, ...], dict[str, float | None]] = {}

    def wish(self, resource: Any, index: int) -> Wish | None:
        """What a record wishes, or None for one that has problems."""
        before = len(self.problems)
        pointer = f"{PROFILES}/{index}"
        attributes = self._attributes(resource, pointer)
        if attributes is None:
            return None
        inside = f"{pointer}/attributes"
        email = self._identifier(attributes, "email", inside)
        phone_number = self._identifier(attributes, "phone_number", inside)
        channels = self._channels(attributes, f"{inside}/subscriptions")
        groups = {group_of(channel) for channel in channels}
        self._check_identifiers(attributes, groups, inside)
        if "sms" in groups:
            self._check_sms(phone_number, inside)
        self._check_birth(attributes, inside, is_needed="sms" in groups)
        if len(self.problems) > before:
            return None
        if all(
            given is None for given in channels.values()
        ):  # most wishes are alike, and wait for their turn by the thousand
            channels = self._plain.setdefault(tuple(channels), channels)
        return Wish(resource.get("id"), email, phone_number, channels)

    def _say(self, detail: str, *where: str | int) -> None:
        pointer, *parts = where
        self.problems.append(Problem(detail, pointer=pointer_to(str(pointer), *parts)))

    def _attributes(self, resource: Any, pointer: str) -> dict[str, Any] | None:
        optional = ("id",) if self._form.has_history else ()
        outline = [
            *object_problems(
                resource, pointer, required=("type", "attributes"), optional=optional, resource="profile"
            )
        ]
        if not outline:
            inside = pointer_to(pointer, "attributes")
            members = (
                "email",
                "phone_number",
                *(("age_gated_date_of_birth",) if self._form.has_history else ()),
            )
            outline = [
                *object_problems(
                    resource["attributes"],
                    inside,
                    required=("subscriptions",),
                    optional=members,
                    resource="profile",
                )
            ]
            if resource["type"] != "profile":
                outline.append(Problem("'type' must be 'profile'.", pointer=pointer_to(pointer, "type")))
            profile_id = resource.get("id")
            if profile_id is not None and not (isinstance(profile_id, str) and profile_id):
                outline.append(
                    Problem("'id' must be the id of a profile.", pointer=pointer_to(pointer, "id"))
                )
        self.problems += outline
        return None if outline else resource["attributes"]

    def _identifier(self, attributes: Mapping[str, Any], name: str, inside: str) -> str | None:
        value = attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            self._say(f"'{name}' must be a string.", inside, name)
            return None
        detail = text_problem(name, value, self._settings)
        value = value.lower()
        if detail:
            self._say(detail, inside, name)
        elif value in self._seen:
            # Which of two records of one person counts is not known.
            self._say(f"The {name} occurs more than once in this request.", inside, name)
        self._seen.add(value)
        return value

    def _check_identifiers(self, attributes: Mapping[str, Any], groups: set[str], inside: str) -> None:
        for group in groups:
            name = FIELDS[group]
            if attributes.get(name) is None:
                self._say(f"'{name}' must not be empty when the {group} channel is included", inside, name)

    def _check_sms(self, number: str | None, inside: str) -> None:
        regions = self._settings.sms_regions
        if not self._settings.sms:
            self._say(_NO_SMS, inside, "subscriptions", "sms")
        elif (
            number is not None
            and regions is not None
            and identifiers.is_phone_number(number)
            and not identifiers.is_in_regions(number, regions)
        ):
            self._say(identifiers.BAD_REGION, inside, "phone_number")

    def _check_birth(self, attributes: Mapping[str, Any], inside: str, *, is_needed: bool) -> None:
        name, gate = "age_gated_date_of_birth", self._settings.age_gate
        given = attributes.get(name)
        is_needed = is_needed and gate is not None and self._form.has_history
        if given is None:
            if is_needed:
                self._say(f"'{name}' is required to update SMS consent for this account.", inside, name)
            return
        age = _age(given, self._now)
        if age is None:
            self._say(f"'{name}' must be a date in the past, such as 1990-01-31.", inside, name)
        elif is_needed and gate is not None and age < gate:
            self._say(f"'{name}' does not meet the age requirement of {gate} years.", inside, name)

    # --------------------------------------------------------------------------------------------------------

    def _channels(self, attributes: Mapping[str, Any], pointer: str) -> dict[str, float | None]:
        """The channels that are named, with when consent was given where that is said."""
        given = attributes["subscriptions"]
        outline = [*object_problems(given, pointer, optional=(*CHANNELS, *_ABSENT), resource="subscriptions")]
        self.problems += outline
        if outline:
            return {}
        if not given:
            self._say("At least one channel must be included.", pointer)
        for name in _ABSENT:
            if name in given:
                self._say(f"The {name} channel is not enabled for this account.", pointer, name)
        for group in CHANNELS:
            if group in given:
                self._check_group(given[group], group, f"{pointer}/{group}")
        return {
            channel: self._consented_at(given[group][purpose], channel, f"{pointer}/{group}/{purpose}")
            for channel, (group, purpose) in PATHS.items()
            if isinstance(given.get(group), dict) and purpose in given[group]
        }

    def _check_group(self, members: Any, group: str, pointer: str) -> None:
        purposes = tuple(PATHS[channel][1] for channel in CHANNELS[group])
        self.problems += object_problems(members, pointer, optional=purposes, resource=group)
        if isinstance(members, dict) and not members:
            self._say(f"The {group} channel must name what is consented to.", pointer)

    def _consented_at(self, parameters: Any, channel: str, pointer: str) -> float | None:
        takes_time = self._form.has_history and channel != "email.open_tracking"
        optional = ("consented_at",) if takes_time else ()
        outline = [
            *object_problems(parameters, pointer, required=("consent",), optional=optional, resource=channel)
        ]
        self.problems += outline
        if outline:
            return None
        if parameters["consent"] != self._form.consent:
            self._say(f"'consent' must be '{self._form.consent}'.", pointer, "consent")
        return self._time(parameters.get("consented_at"), channel, pointer) if takes_time else None

    def _time(self, given: Any, channel: str, pointer: str) -> float | None:
        name = "consented_at"
        if given is None:
            if self._is_historical:
                self._say(f"'{name}' is required for each channel of a historical import.", pointer, name)
            return None
        if not self._is_historical:
            self._say(f"'{name}' may only be given when 'historical_import' is true.", pointer, name)
            return None
        instant = _instant(given)
        if instant is None:
            self._say(f"The {channel} channel does not have a valid {name} timestamp", pointer, name)
        elif instant >= self._now:
            self._say(f"'{name}' must be in the past.", pointer, name)
        return instant


def _instant(given: Any) -> float | None:
    if not isinstance(given, str) or not _INSTANT(given):
        return None
    try:
        return datetime.fromisoformat(given.upper()).timestamp()
    except (ValueError, OverflowError):
        return None


def _age(given: Any, now: float) -> int | None:
    """Full years since a date of birth, or None for what is no date in the past."""
    if not isinstance(given, str) or not _DATE(given):
        return None
    try:
        born = date.fromisoformat(given)
    except ValueError:
        return None
    today = datetime.fromtimestamp(now, UTC).date()
    if born >= today:
        return None
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))
