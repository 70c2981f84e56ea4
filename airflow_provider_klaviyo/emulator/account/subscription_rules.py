"""What becomes of people when a request to subscribe them is worked off, and when they confirm.

Sources: OpenAPI 2026-07-15, description of bulk_subscribe_profiles; the guide "Collect email and SMS consent via
API". Where they are silent the reading that hurts a careless client more is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from msgspec import Struct, structs

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.account.consent_audit import IncidentKind, Question
from airflow_provider_klaviyo.emulator.account.consent_store import LIFTED, Standing
from airflow_provider_klaviyo.emulator.account.profile_store import Profile
from airflow_provider_klaviyo.emulator.core.channels import MARKETING, group_of
from airflow_provider_klaviyo.emulator.requests.profile_schema import Change
from airflow_provider_klaviyo.emulator.requests.subscription_schema import FIELDS, Wish, Wishes


class Part(Struct, frozen=True, gc=False):
    """The channels of one wish that go by one identifier, and the profile that holds it."""

    group: str
    person: str
    channels: tuple[str, ...]
    profile: Profile | None


def parts_of(account: Account, wish: Wish) -> list[Part]:
    """A wish by identifier. Two identifiers of two profiles are two people; one that nobody holds joins the other."""
    email, sms = _holder(account, wish, "email"), _holder(account, wish, "sms")
    known = {"email": email or sms, "sms": sms or email}
    return [
        Part(group, wish.person(group), channels, known[group])
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


def created(account: Account, wish: Wish, parts: list[Part], at: float) -> list[Part]:
    """The parts of a wish about somebody new, who is stored now."""
    profile = account.profiles.create(Change(email=wish.email, phone_number=wish.phone_number), at)
    return [structs.replace(part, profile=profile) for part in parts]


def identify(account: Account, wish: Wish, parts: list[Part], at: float) -> None:
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
                self._subscribe(wish, plain)

    def _subscribe(self, wish: Wish, plain: Standing) -> None:
        at = plain.updated
        parts = self._effective(parts_of(self.account, wish), at)
        if self.asks:
            for part in parts:
                self._ask(part, at)
            return
        if parts and all(part.profile is None for part in parts):
            if self.wishes.list_id is None and not self.wishes.is_historical:
                for part in parts:
                    self._note(IncidentKind.NEVER_STORED, part, at)
                return
            parts = created(self.account, wish, parts, at)
        else:
            identify(self.account, wish, parts, at)
        for part in parts:
            for channel in part.channels:
                standing = self._standing(part, channel, wish.channels[channel], plain)
                if standing is not None:
                    self._grant(part, channel, standing, at)

    def _standing(self, part: Part, channel: str, given: float | None, plain: Standing) -> Standing | None:
        """Where somebody stands from now on; None where they withdrew consent after they gave it.

        Who was subscribed already keeps the date of that, whatever history says.
        """
        if given is None:
            return plain
        number = None if part.profile is None else part.profile.number
        held = None if number is None else self.account.consents.standing(number, channel)
        if held is not None and held.consent == "UNSUBSCRIBED" and given < held.at:
            return None
        is_subscribed = held is not None and held.consent == "SUBSCRIBED"
        return held if is_subscribed else structs.replace(plain, at=given)

    def _effective(self, parts: list[Part], at: float) -> list[Part]:
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

    def _ask(self, part: Part, at: float) -> None:
        list_id, profile = self.wishes.list_id, part.profile
        if profile is not None and self._has_all(part, profile):
            return
        if profile is not None and (
            self._objections(profile, part.group) or self._list_objections(profile, part.group)
        ):
            self._note(IncidentKind.ASKED, part, at)
        question = self.account.audit.question(part.person, part.group, list_id)
        question.messages += 1
        question.channels = part.channels
        question.source = self.wishes.source
        question.profile = None if profile is None else profile.number

    def _has_all(self, part: Part, profile: Profile) -> bool:
        """Whether there is nothing to ask somebody for."""
        found = None if self.wishes.list_id is None else self.account.lists.get(self.wishes.list_id)
        return (found is None or profile.number in found.members) and all(
            self.account.consents.is_subscribed(profile.number, channel) for channel in part.channels
        )

    def _grant(self, part: Part, channel: str, standing: Standing, at: float) -> None:
        profile = part.profile
        if profile is None:
            return
        for group in self._objections(profile, channel):
            self._note(IncidentKind.RESUBSCRIBED, part, at, group)
        for group in self._list_objections(profile, channel):
            self._note(IncidentKind.RESUBSCRIBED_ON_LIST, part, at, group)
        grant(self.account, profile, channel, self.wishes.list_id, standing, at)

    def _objections(self, profile: Profile, channel: str) -> list[str]:
        """The channels on which somebody has opted out or is suppressed, of those that a subscription changes."""
        consents, number = self.account.consents, profile.number
        own = [channel] if channel in MARKETING and consents.objects(number, channel) else []
        is_mailed_again = channel != "email" and consents.is_liftable(number)
        return [*own, "email"] if is_mailed_again else own

    def _list_objections(self, profile: Profile, channel: str) -> list[str]:
        """The same for suppressions of the list."""
        changed = dict.fromkeys((channel, "email")) if channel in MARKETING else ()
        suppressions = self.account.consents.list_suppressions
        return [each for each in changed if self.wishes.list_id in suppressions(profile.number, each)]

    def _note(self, kind: IncidentKind, part: Part, at: float, group: str | None = None) -> None:
        group = group or part.group
        email = None if part.profile is None else part.profile.email
        person = (email or part.person) if group != part.group else part.person
        self.account.audit.note(kind, person, group, self.wishes.list_id, at)


def grant(
    account: Account, profile: Profile, channel: str, list_id: str | None, standing: Standing, at: float
) -> None:
    """Subscribe somebody to a channel: lift what stands against it, and join the list.

    Suppressions of e-mail are lifted whatever the channel: the schema has them removed from the profile, and excepts no
    channel.
    """
    consents, number = account.consents, profile.number
    consents.put(number, channel, standing)
    consents.lift(number, LIFTED)
    if list_id is not None:
        for each in {"email", channel} if channel in MARKETING else ():
            consents.lift_on(number, each, list_id)
        account.lists.join(list_id, profile, at)
    profile.updated = at


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
        grant(account, profile, channel, question.list_id, standing, at)
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
