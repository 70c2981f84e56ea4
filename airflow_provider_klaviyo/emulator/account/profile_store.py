"""The account's profiles: stored compactly, found and merged by identifier.

A profile is found by its Klaviyo id, e-mail address, phone number or external id. Identifiers that belong to two
profiles are a conflict; nothing is merged on their strength, unless the account lets one take over the other's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from airflow_provider_klaviyo.emulator.core.ids import Ids
from airflow_provider_klaviyo.emulator.requests.profile_schema import (
    IDENTIFIERS,
    NO_IDENTIFIER,
    Change,
    Patch,
)

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Profile(msgspec.Struct, gc=False):
    """A stored profile; `details` is the JSON of everything but the identifiers."""

    number: int
    email: str | None
    phone_number: str | None
    external_id: str | None
    details: bytes
    created: float
    updated: float

    def attributes(self) -> dict[str, Any]:
        """The attributes that are set, identifiers included."""
        identifiers = {name: getattr(self, name) for name in IDENTIFIERS if getattr(self, name) is not None}
        return identifiers | _decode(self.details)


class Conflict(Exception):
    """A change that cannot be made; says why and, where it is another profile's fault, which one's."""

    def __init__(self, detail: str, field: str = "", profile: Profile | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.profile = profile


class ProfileStore:
    """Profiles by number, in the order of their creation, and the indexes of their identifiers."""

    def __init__(
        self,
        ids: Ids,
        on_created: Callable[[Profile], None] = lambda _: None,
        *,
        takes_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ids = ids
        self._on_created = on_created
        self.takes_over = takes_over
        self._profiles: list[Profile] = []
        self._by_email: dict[str, int] = {}
        self._by_phone_number: dict[str, int] = {}
        self._by_external_id: dict[str, int] = {}
        self._odd_case: dict[str, int] = {}
        self._further_emails: dict[str, int] = {}
        self._former: dict[tuple[int, str], list[tuple[float, str | None]]] = {}

    def __len__(self) -> int:
        return len(self._profiles)

    def __getitem__(self, number: int) -> Profile:
        return self._profiles[number]

    def since(self, number: int) -> Iterator[Profile]:
        """Profiles from a number on."""
        for at in range(number, len(self._profiles)):
            yield self._profiles[at]

    def id_of(self, profile: Profile) -> str:
        """Klaviyo's id of a profile."""
        return self._ids.profile(profile.number, profile.created)

    def with_id(self, profile_id: str) -> Profile | None:
        """The profile with a Klaviyo id."""
        number = self._ids.number_of(profile_id)
        if number is None or not 0 <= number < len(self._profiles):
            return None
        profile = self._profiles[number]
        return profile if self.id_of(profile) == profile_id else None

    def with_identifier(self, field: str, value: str) -> Profile | None:
        """The profile that an identifier belongs to, letter case included."""
        if field == "id":
            return self.with_id(value)
        number = self._index(field).get(value)
        if number is None and field == "email":
            number = self._further_emails.get(value)
        return None if number is None else self._profiles[number]

    def add_email(self, profile: Profile, email: str) -> None:
        """Give a profile a further address: it is found by it, and goes on showing its main one."""
        self._further_emails[email] = profile.number

    def emails(self, profile: Profile) -> list[str]:
        """All addresses of a profile, the one that it shows first."""
        further = [email for email, number in self._further_emails.items() if number == profile.number]
        return further if profile.email is None else [profile.email, *further]

    def values(self, profile: Profile, field: str) -> Sequence[str | float | None]:
        """What a filter compares of a profile; any of them will do."""
        if field == "id":
            return (self.id_of(profile),)
        return self.emails(profile) if field == "email" else (getattr(profile, field),)

    def value_at(self, profile: Profile, field: str, moment: float) -> str | None:
        """What an identifier was at a moment."""
        if profile.created > moment:
            return None
        changes = self._former.get((profile.number, field), ())
        current: str | None = getattr(profile, field)
        return next((before for changed, before in changes if changed > moment), current)

    def holder(self, field: str, value: str) -> Profile | None:
        """The profile that a write with an identifier is about: there the letter case of addresses does not count."""
        if field != "email":
            return self.with_identifier(field, value)
        low = value.lower()
        number = self._by_email.get(low, self._odd_case.get(low, self._further_emails.get(low)))
        return None if number is None else self._profiles[number]

    def owner(self, change: Change) -> Profile | None:
        """The profile that a change is about, or None for a new one; the first where it takes over what others have.

        Raises `Conflict` when there is no profile with its id, or its identifiers belong to several.
        """
        found: Profile | None = None
        if change.id is not None:
            found = self.with_id(change.id)
            if found is None:
                detail = f"A profile with id {change.id} does not exist."
                raise Conflict(detail, "id")
        indexes = (self._by_email, self._odd_case, self._further_emails)
        emails = next((index for index in indexes if change.email in index), self._by_email)
        for index, value in (
            (emails, change.email),
            (self._by_phone_number, change.phone_number),
            (self._by_external_id, change.external_id),
        ):
            number = index.get(value) if value is not None else None
            if number is None:
                continue
            if found is not None and self.takes_over():
                continue
            if found is not None and found.number != number:
                detail = "A profile already exists with one of these identifiers."
                raise Conflict(detail, profile=self._profiles[number])
            found = self._profiles[number]
        return found

    def create(self, change: Change, now: float) -> Profile:
        """Store a new profile; the change names no identifier that another one has."""
        details = change.details if change.patch is None else merged(b"{}", change)
        profile = Profile(
            len(self._profiles), change.email, change.phone_number, change.external_id, details, now, now
        )
        self._profiles.append(profile)
        if change.email is not None:
            self._by_email[change.email] = profile.number
            self._note_case(None, change.email, profile.number)
        if change.phone_number is not None:
            self._by_phone_number[change.phone_number] = profile.number
        if change.external_id is not None:
            self._by_external_id[change.external_id] = profile.number
        self._on_created(profile)
        return profile

    def update(self, profile: Profile, change: Change, now: float) -> None:
        """Apply a change to the profile that it is about; all of it or, with a `Conflict`, nothing."""
        values = {name: _value_after(profile, change, name) for name in IDENTIFIERS}
        if values["email"] in self._further_emails:
            values["email"] = profile.email
        if not any(values.values()):
            raise Conflict(NO_IDENTIFIER)
        details = merged(profile.details, change)
        for name, value in values.items():
            if (before := getattr(profile, name)) != value:
                self._former.setdefault((profile.number, name), []).append((now, before))
            self._reindex(profile, name, value)
        profile.details = details
        profile.updated = now

    def _reindex(self, profile: Profile, field: str, value: str | None) -> None:
        before = getattr(profile, field)
        if before == value:
            return
        index = self._index(field)
        if before is not None:
            del index[before]
        if value is not None:
            if value in index:
                self._reindex(self._profiles[index[value]], field, None)
            index[value] = profile.number
        if field == "email":
            self._note_case(before, value, profile.number)
        setattr(profile, field, value)

    def _note_case(self, before: str | None, after: str | None, number: int) -> None:
        """Keep the index of addresses with capitals; Klaviyo stores none, but tests may."""
        if before is not None and self._odd_case:
            self._odd_case.pop(before.lower(), None)
        if after is not None and after != after.lower():
            self._odd_case[after.lower()] = number

    def _index(self, field: str) -> dict[str, int]:
        return {
            "email": self._by_email,
            "phone_number": self._by_phone_number,
            "external_id": self._by_external_id,
        }[field]


def _value_after(profile: Profile, change: Change, field: str) -> str | None:
    if field in change.cleared:
        return None
    value: str | None = getattr(change, field)
    return getattr(profile, field) if value is None else value


def merged(details: bytes, change: Change) -> bytes:
    """Stored details after a change: given members replace, others stay, custom properties merge key by key."""
    if change.details == b"{}" and not change.cleared and change.patch is None:
        return details
    after, given = _decode(details), _decode(change.details)
    for name in ("location", "properties"):
        if name in given:
            after[name] = after.get(name, {}) | given.pop(name)
    after |= given
    for path in change.cleared:
        _clear(after, path)
    if change.patch is not None:
        after["properties"] = patched(after.get("properties", {}), change.patch)
    return _encode(after)


def _clear(details: dict[str, Any], path: str) -> None:
    name, dot, member = path.partition(".")
    if dot:
        details.get(name, {}).pop(member, None)
    else:
        details.pop(name, None)


def patched(properties: dict[str, Any], patch: Patch) -> dict[str, Any]:
    """Properties after `meta.patch_properties`."""
    after = dict(properties)
    for name, value in patch.append.items():
        after[name] = [*_array(after, name), *_array({name: value}, name)]
    for name, value in patch.unappend.items():
        gone = _array({name: value}, name)
        if name in after:
            after[name] = [member for member in _array(after, name) if member not in gone]
    for name in patch.unset:
        after.pop(name, None)
    return after


def _array(properties: dict[str, Any], name: str) -> list[Any]:
    value = properties.get(name, [])
    return value if isinstance(value, list) else [value]
