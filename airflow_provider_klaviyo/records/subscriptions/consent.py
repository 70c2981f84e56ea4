"""What Klaviyo says of somebody's consent to a channel (``subscriptions`` of a profile), read strictly.

Only what is shaped as the schema of 2026-07-15 says counts: what cannot be read never passes for consent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

SUBSCRIBED, UNSUBSCRIBED, NEVER_SUBSCRIBED = "SUBSCRIBED", "UNSUBSCRIBED", "NEVER_SUBSCRIBED"
_KNOWN = (SUBSCRIBED, UNSUBSCRIBED, NEVER_SUBSCRIBED)

CHANNELS = {"email": "email", "sms": "phone_number"}
"""The channels of marketing, and the identifier that each goes by."""

_OVERRULED_BY_NEW_CONSENT = ("UNSUBSCRIBE", "SPAM_COMPLAINT", "USER_SUPPRESSED")
"""Suppressions that are a person's or the account's wish. Others say that the address takes no e-mail."""

_STAYS = ("HARD_BOUNCE", "INVALID_EMAIL")
"""Suppressions that subscribing leaves as they are (OpenAPI 2026-07-15, bulk_subscribe_profiles names the others)."""

_MAPPING = (dict, Mapping)
"""A dict is quick to be told, any other mapping is not."""

_ODD = re.compile(r"[^A-Za-z0-9_ -]")
_LONGEST_WORD = 40


class ConsentUnreadable(Exception):
    """Carries what could not be read."""


class Objection(NamedTuple):
    """Something that stands against subscribing somebody.

    :param since: the moment from which it stands; None when Klaviyo does not tell.
    :param is_overruled_by_newer_consent: whether newer consent may overrule it.
    :param stays: whether it outlasts a subscription.
    """

    what: str
    since: datetime | None
    is_overruled_by_newer_consent: bool
    stays: bool = False

    def is_older_than(self, consented_at: datetime | None) -> bool:
        """Whether consent of a moment overrules it.

        :param consented_at: that moment; None overrules nothing.
        """
        return (
            self.is_overruled_by_newer_consent
            and self.since is not None
            and consented_at is not None
            and self.since < consented_at
        )


class Consent(NamedTuple):
    """Where somebody stands on a channel.

    :param word: Klaviyo's own; a release may not know it.
    :param since: the moment from which that counts; None when Klaviyo does not tell.
    :param objections: what stands against subscribing to this channel.
    :param lifted: suppressions of e-mail that subscribing to this channel lifts too.
    """

    word: str = NEVER_SUBSCRIBED
    since: datetime | None = None
    objections: tuple[Objection, ...] = ()
    lifted: tuple[Objection, ...] = ()

    @property
    def is_subscribed(self) -> bool:
        """Whether consent is in force, suppressions aside."""
        return self.word == SUBSCRIBED

    @property
    def is_known(self) -> bool:
        """Whether it is told in a word that this release knows."""
        return self.word in _KNOWN

    def was_withdrawn_after(self, consented_at: datetime) -> bool:
        """Whether it was withdrawn later than a moment, for which Klaviyo refuses consent.

        :param consented_at: that moment.
        """
        return self.word == UNSUBSCRIBED and self.since is not None and consented_at < self.since


def read_consent(profile: Mapping[str, object], channel: str, list_id: str | None) -> Consent:
    """Somebody's consent to marketing on a channel.

    :param profile: the attributes of a profile.
    :param channel: ``email`` or ``sms``.
    :param list_id: the list whose suppressions count besides.
    :raises ConsentUnreadable: when anything is missing or not shaped as the schema says.
    """
    stated = _mapping(profile.get("subscriptions"), "subscriptions")
    lifted = () if channel == "email" else tuple(_lifted(profile, stated, list_id))
    if _is_null(stated, channel) and (channel == "sms" or not profile.get(CHANNELS[channel])):
        return Consent(lifted=lifted)  # the schema's null, of a profile that has no such address
    marketing = _member(_member(stated, channel), "marketing")
    word = _word(marketing.get("consent"))
    if word is None:
        msg = f"Klaviyo's answer has no consent to {channel} for it"
        raise ConsentUnreadable(msg)
    objections = _suppressions(marketing, list_id, is_email=channel == "email")
    if word == UNSUBSCRIBED:
        objections = (
            Objection("unsubscribed", _latest(marketing), is_overruled_by_newer_consent=True),
            *objections,
        )
    since = _timestamp(marketing.get("consent_timestamp")) or _timestamp(marketing.get("last_updated"))
    return Consent(word, since, objections, lifted)


def _suppressions(
    marketing: Mapping[str, object], list_id: str | None, *, is_email: bool
) -> tuple[Objection, ...]:
    """Suppressions of a channel, and those for the list; the schema knows them for e-mail, where they may not miss."""
    has_any = is_email or marketing.get("suppression") is not None
    has_listed = is_email or marketing.get("list_suppressions") is not None
    everywhere = _entries(marketing, "suppression") if has_any else []
    listed = _entries(marketing, "list_suppressions") if has_listed else []
    if not everywhere and not listed:
        return ()
    of_list = [each for each in listed if _list_of(each) == list_id]
    return (
        *[_objection(each, "suppressed") for each in everywhere],
        *[_objection(each, "suppressed for this list") for each in of_list],
    )


def _lifted(
    profile: Mapping[str, object], stated: Mapping[str, object], list_id: str | None
) -> Iterator[Objection]:
    """Suppressions of e-mail that a subscription to another channel lifts: they are the profile's, no channel's.

    What is not known to stay counts as lifted. Who has no address has none.
    """
    if not profile.get("email") and ("email" not in stated or _is_null(stated, "email")):
        return
    marketing = _member(_member(stated, "email"), "marketing")
    for objection in _suppressions(marketing, list_id, is_email=True):
        if not objection.stays:
            yield objection._replace(what=f"{objection.what} by e-mail, which this would lift")


def _is_null(stated: Mapping[str, object], channel: str) -> bool:
    """Whether a channel, or its marketing, is there and null."""
    if channel not in stated:
        return False
    of_channel = stated[channel]
    return of_channel is None or (
        isinstance(of_channel, _MAPPING) and "marketing" in of_channel and of_channel["marketing"] is None
    )


def _objection(entry: Mapping[str, object], what: str) -> Objection:
    reason = entry.get("reason")
    return Objection(
        f"{what} ({_word(reason) or 'no reason told'})",
        _timestamp(entry.get("timestamp")),
        is_overruled_by_newer_consent=reason in _OVERRULED_BY_NEW_CONSENT,
        stays=reason in _STAYS,
    )


def _list_of(entry: Mapping[str, object]) -> str:
    list_id = entry.get("list_id")
    if not isinstance(list_id, str):
        msg = "its list_suppressions name no list"
        raise ConsentUnreadable(msg)
    return list_id


def _word(value: object) -> str | None:
    """A word of Klaviyo's, fit to be shown; None where there is none."""
    if value in _KNOWN:
        return value
    if not isinstance(value, str) or not value.strip():
        return None
    return _ODD.sub("?", value)[:_LONGEST_WORD]


def _latest(marketing: Mapping[str, object]) -> datetime | None:
    """When somebody unsubscribed: the later of the two moments that Klaviyo keeps; None when one cannot be read."""
    stated = [marketing.get(name) for name in ("consent_timestamp", "last_updated")]
    timestamps = [_timestamp(value) for value in stated if value is not None]
    return (
        None
        if None in timestamps
        else max((timestamp for timestamp in timestamps if timestamp), default=None)
    )


def _timestamp(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        timestamp = datetime.fromisoformat(value)
    except ValueError:
        return None
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)


def _member(parent: Mapping[str, object], name: str) -> Mapping[str, object]:
    return _mapping(parent.get(name), name)


def _mapping(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, _MAPPING):
        msg = f"Klaviyo's answer has no {name} for it"
        raise ConsentUnreadable(msg)
    return value


def _entries(marketing: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """Suppressions. The schema allows null for none: of the global ones that counts where the profile can be mailed."""
    entries = marketing.get(name)
    is_null = name in marketing and entries is None
    if is_null and (name == "list_suppressions" or marketing.get("can_receive_email_marketing") is True):
        return []
    if not isinstance(entries, list):
        msg = f"Klaviyo's answer has no {name} for it"
        raise ConsentUnreadable(msg)
    return [_mapping(entry, name) for entry in entries]
