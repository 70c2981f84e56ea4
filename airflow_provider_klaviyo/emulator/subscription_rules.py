"""What becomes of people when a request to subscribe or unsubscribe them is worked off, and when they confirm.

Sources: OpenAPI 2026-07-15, descriptions of bulk_subscribe_profiles and bulk_unsubscribe_profiles; the guide "Collect
email and SMS consent via API". Where they are silent the reading that hurts a careless client more is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from msgspec import Struct, structs

from airflow_provider_klaviyo.emulator.account import Account
from airflow_provider_klaviyo.emulator.consent_audit import IncidentKind, Question
from airflow_provider_klaviyo.emulator.consent_store import (
    LIFTED,
    MARKETING,
    ListSuppression,
    Standing,
    group_of,
)
from airflow_provider_klaviyo.emulator.profile_schema import Change
from airflow_provider_klaviyo.emulator.profile_store import Profile
from airflow_provider_klaviyo.emulator.subscription_schema import FIELDS, Wish, Wishes


class _Part(Struct, frozen=True, gc=False):
    """The channels of one wish that go by one identifier, and the profile that holds it."""

    group: str
    person: str
    channels: tuple[str, ...]
    profile: Profile | None


def _parts(account: Account, wish: Wish) -> list[_Part]:
    """A wish by identifier. Two identifiers of two profiles are two people; one that nobody holds joins the other."""
    email, sms = _holder(account, wish, "email"), _holder(account, wish, "sms")
    known = {"email": email or sms, "sms": sms or email}
    return [
        _Part(group, wish.person(group), channels, known[group])
        for group, channels in _grouped(tuple(wish.channels))
    ]


@cache
def _grouped(channels: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    groups = dict.fromkeys(map(group_of, channels))
    return tuple((group, tuple(each for each in channels if group_of(each) == group)) for group in groups)


def _holder(account: Account, wish: Wish, group: str) -> Profile | None:
    if wish.id is not None:
        return account.profiles.with_id(wish.id)
    person = wish.person(group)
    return account.profiles.holder(FIELDS[group], person) if person else None


def _created(account: Account, wish: Wish, parts: list[_Part], at: float) -> list[_Part]:
    """The parts of a wish about somebody new, who is stored now."""
    profile = account.profiles.create(Change(email=wish.email, phone_number=wish.phone_number), at)
    return [structs.replace(part, profile=profile) for part in parts]


def _identify(account: Account, wish: Wish, parts: list[_Part], at: float) -> None:
    """Set the identifiers of a wish on the one profile that it is about; those that others hold stay theirs."""
    numbers = {part.profile.number: part.profile for part in parts if part.profile is not None}
    if len(numbers) != 1:
        return
    (profile,) = numbers.values()
    given = {"email": wish.email, "phone_number": wish.phone_number}
    new = {
        field: value
        for field, value in given.items()
        if value not in (None, getattr(profile, field))
        and account.profiles.holder(field, value or "") in (None, profile)
    }
    if new:
        change = Change(email=new.get("email"), phone_number=new.get("phone_number"))
        account.profiles.update(profile, change, at)


# ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subscribing:
    """A request to subscribe people, as it is worked off.

    :param asks: whether people are asked first (double opt-in).
    """

    account: Account
    wishes: Wishes
    asks: bool

    def work_off(self, records: list[Wish], at: float) -> None:
        """Subscribe people, or ask them."""
        plain = Standing("SUBSCRIBED", at, at, source=self.wishes.source)
        for wish in records:
            if not self.account.is_fake(wish.email):
                self._subscribe(wish, plain, at)

    def _subscribe(self, wish: Wish, plain: Standing, at: float) -> None:
        parts = self._effective(_parts(self.account, wish), at)
        if self.asks:
            for part in parts:
                self._ask(part, at)
            return
        if parts and all(part.profile is None for part in parts):
            if self.wishes.list_id is None and not self.wishes.is_historical:
                for part in parts:
                    self._note(IncidentKind.NEVER_STORED, part, at)
                return
            parts = _created(self.account, wish, parts, at)
        else:
            _identify(self.account, wish, parts, at)
        for part in parts:
            for channel in part.channels:
                given = wish.channels[channel]
                standing = plain if given is None else Standing("SUBSCRIBED", given, at, source=plain.source)
                self._grant(part, channel, standing, at)

    def _effective(self, parts: list[_Part], at: float) -> list[_Part]:
        """Without what is ignored because it would turn a subscription a third time within half an hour."""
        within = self.account.settings.toggle_seconds
        if not self.account.consents.has_turns:
            return parts
        kept = []
        for part in parts:
            profile = part.profile
            ignored = {
                channel
                for channel in part.channels
                if profile is not None
                and self.account.consents.turns_too_often(profile.number, channel, at, within)
            }
            if ignored:
                self._note(IncidentKind.TURNED_TOO_OFTEN, part, at)
            channels = tuple(channel for channel in part.channels if channel not in ignored)
            if channels:
                kept.append(structs.replace(part, channels=channels))
        return kept

    def _ask(self, part: _Part, at: float) -> None:
        list_id, profile = self.wishes.list_id, part.profile
        if profile is not None and self._has_all(part, profile):
            return
        if profile is not None and (
            self._objects(profile, part.group) or self._objects_to_list(profile, part)
        ):
            self._note(IncidentKind.ASKED, part, at)
        question = self.account.audit.question(part.person, part.group, list_id)
        question.messages += 1
        question.channels = part.channels
        question.source = self.wishes.source
        question.profile = None if profile is None else profile.number

    def _has_all(self, part: _Part, profile: Profile) -> bool:
        """Whether there is nothing to ask somebody for."""
        found = None if self.wishes.list_id is None else self.account.lists.get(self.wishes.list_id)
        return (found is None or profile.number in found.members) and all(
            self.account.consents.is_subscribed(profile.number, channel) for channel in part.channels
        )

    def _grant(self, part: _Part, channel: str, standing: Standing, at: float) -> None:
        profile = part.profile
        if profile is None:
            return
        if channel in MARKETING:
            if self._objects(profile, channel):
                self._note(IncidentKind.RESUBSCRIBED, part, at)
            if self._objects_to_list(profile, part):
                self._note(IncidentKind.RESUBSCRIBED_ON_LIST, part, at)
        grant(self.account, profile, channel, self.wishes.list_id, standing)

    def _objects(self, profile: Profile, channel: str) -> bool:
        return self.account.consents.objects(profile.number, channel)

    def _objects_to_list(self, profile: Profile, part: _Part) -> bool:
        return self.wishes.list_id in self.account.consents.list_suppressions(profile.number, part.group)

    def _note(self, kind: IncidentKind, part: _Part, at: float) -> None:
        self.account.audit.note(kind, part.person, part.group, self.wishes.list_id, at)


def grant(account: Account, profile: Profile, channel: str, list_id: str | None, standing: Standing) -> None:
    """Subscribe somebody to a channel: lift what stands against it, and join the list."""
    consents, number = account.consents, profile.number
    consents.put(number, channel, standing)
    if channel == "email":
        consents.lift(number, LIFTED)
    if list_id is not None:
        if channel in MARKETING:
            consents.lift_on(number, channel, list_id)
        account.lists.join(list_id, profile, standing.updated)
    profile.updated = standing.updated


def confirm(
    account: Account, *, email: str | None, phone_number: str | None, list_id: str | None, at: float
) -> int:
    """Let somebody say yes to what they were asked, for one list or for any; says to how many questions."""
    people = {("email", email.lower() if email else None), ("sms", phone_number)}
    asked = [
        question
        for question in account.audit.questions.values()
        if (question.channel, question.person) in people and list_id in (None, question.list_id)
    ]
    return sum(_confirm(account, question, at) for question in asked)


def _confirm(account: Account, question: Question, at: float) -> bool:
    """Take somebody's yes; False when there is nothing (more) to say yes to."""
    if question.channels is None:
        return False
    profile = account.profiles.holder(FIELDS[question.channel], question.person) or _newly_known(
        account, question, at
    )
    standing = Standing("SUBSCRIBED", at, at, source=question.source, is_confirmed=True)
    for channel in question.channels:
        grant(account, profile, channel, question.list_id, standing)
    question.channels = None
    return True


def _newly_known(account: Account, question: Question, at: float) -> Profile:
    """The profile that is now known by the identifier of a question: one that it was asked of, or a new one."""
    is_email = question.channel == "email"
    change = Change(
        email=question.person if is_email else None, phone_number=None if is_email else question.person
    )
    if question.profile is None:
        return account.profiles.create(change, at)
    profile = account.profiles[question.profile]
    account.profiles.update(profile, change, at)
    return profile


# ------------------------------------------------------------------------------------------------------------


def unsubscribe(account: Account, wishes: Wishes, records: list[Wish], at: float) -> None:
    """Unsubscribe people: members of the named list from it, everybody else from everything."""
    for wish in records:
        if account.is_fake(wish.email):
            continue
        parts = _parts(account, wish)
        if all(part.profile is None for part in parts):
            parts = _created(account, wish, parts, at)
        else:
            _identify(account, wish, parts, at)
        members = _members(account, wishes.list_id, parts)
        for part in parts:
            _withdraw(account, wishes.list_id, part, at, is_member=part.group in members)
        _leave(account, wishes.list_id, parts)


def _members(account: Account, list_id: str | None, parts: list[_Part]) -> set[str]:
    """The parts, by group, whose profiles are on the list before anybody leaves it."""
    found = None if list_id is None else account.lists.get(list_id)
    if found is None:
        return set()
    return {part.group for part in parts if part.profile is not None and part.profile.number in found.members}


def _withdraw(account: Account, list_id: str | None, part: _Part, at: float, *, is_member: bool) -> None:
    if part.profile is None:
        return
    number, consents = part.profile.number, account.consents
    if list_id is not None and not is_member and part.group in part.channels:
        account.audit.note(IncidentKind.UNSUBSCRIBED_GLOBALLY, part.person, part.group, list_id, at)
    for channel in part.channels:
        consents.note_turn(number, channel, at, account.settings.toggle_seconds)
        if is_member and list_id is not None and channel in MARKETING:
            consents.suppress_on(number, channel, list_id, ListSuppression("UNSUBSCRIBE", at))
            if not account.settings.list_unsubscribes_are_global:
                continue
        consents.put(number, channel, Standing("UNSUBSCRIBED", at, at))
        if channel == "email":
            consents.suppress(number, "UNSUBSCRIBE", at)
    part.profile.updated = at


def _leave(account: Account, list_id: str | None, parts: list[_Part]) -> None:
    found = None if list_id is None else account.lists.get(list_id)
    if found is not None:
        for part in parts:
            if part.profile is not None:
                found.members.pop(part.profile.number, None)
