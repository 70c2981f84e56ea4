"""What Klaviyo says of somebody's consent to a channel (``subscriptions`` of a profile), read strictly.

Only what is shaped as the schema of 2026-07-15 says counts: what cannot be read never passes for consent.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

SUBSCRIBED, UNSUBSCRIBED, NEVER_SUBSCRIBED = "SUBSCRIBED", "UNSUBSCRIBED", "NEVER_SUBSCRIBED"

CHANNELS = {"email": "email", "sms": "phone_number"}
"""The channels of marketing, and the identifier that each goes by."""

_OVERRULED_BY_NEW_CONSENT = ("UNSUBSCRIBE", "SPAM_COMPLAINT", "USER_SUPPRESSED")
"""Suppressions that are a person's or the account's wish. Others say that the address takes no e-mail."""


class ConsentUnreadable(Exception):
    """Carries what could not be read."""


class Objection(NamedTuple):
    """Something that stands against subscribing somebody.

    :param since: the moment from which it stands; None when Klaviyo does not tell.
    :param is_a_wish: whether newer consent may overrule it.
    """

    what: str
    since: datetime | None
    is_a_wish: bool

    def is_older_than(self, consented_at: datetime | None) -> bool:
        """Whether consent of that moment overrules it."""
        return (
            self.is_a_wish
            and self.since is not None
            and consented_at is not None
            and self.since < consented_at
        )


class Consent(NamedTuple):
    """Where somebody stands on a channel."""

    is_subscribed: bool
    objections: tuple[Objection, ...]


_NOTHING_TOLD = Consent(is_subscribed=False, objections=())


def read_consent(profile: Mapping[str, object], channel: str, list_id: str | None) -> Consent:
    """Somebody's consent to marketing on a channel.

    :param profile: the attributes of a profile.
    :param list_id: the list whose suppressions count besides.
    :raises ConsentUnreadable: when anything is missing or not shaped as the schema says.
    """
    told = _mapping(profile.get("subscriptions"), "subscriptions")
    if _is_null(told, channel) and (channel == "sms" or not profile.get(CHANNELS[channel])):
        return _NOTHING_TOLD  # the schema's null, of a profile that has no such address
    marketing = _member(_member(told, channel), "marketing")
    consent = marketing.get("consent")
    if consent not in (SUBSCRIBED, UNSUBSCRIBED, NEVER_SUBSCRIBED):
        msg = f"its consent to {channel} is no word that this release knows"
        raise ConsentUnreadable(msg)
    objections = []
    if consent == UNSUBSCRIBED:
        objections.append(Objection("unsubscribed", _latest(marketing), is_a_wish=True))
    if channel == "email" or marketing.get("suppression") is not None:
        objections += [_objection(entry, "suppressed") for entry in _entries(marketing, "suppression")]
    if channel == "email" or marketing.get("list_suppressions") is not None:
        objections += [
            _objection(entry, "suppressed for this list")
            for entry in _entries(marketing, "list_suppressions")
            if _list_of(entry) == list_id
        ]
    return Consent(consent == SUBSCRIBED, tuple(objections))


def _is_null(told: Mapping[str, object], channel: str) -> bool:
    """Whether a channel, or its marketing, is there and null."""
    if channel not in told:
        return False
    of_channel = told[channel]
    return of_channel is None or (
        isinstance(of_channel, Mapping) and "marketing" in of_channel and of_channel["marketing"] is None
    )


def _objection(entry: Mapping[str, object], what: str) -> Objection:
    reason = entry.get("reason")
    told = reason if isinstance(reason, str) else "no reason told"
    return Objection(f"{what} ({told})", _moment(entry.get("timestamp")), reason in _OVERRULED_BY_NEW_CONSENT)


def _list_of(entry: Mapping[str, object]) -> str:
    list_id = entry.get("list_id")
    if not isinstance(list_id, str):
        msg = "its list_suppressions name no list"
        raise ConsentUnreadable(msg)
    return list_id


def _latest(marketing: Mapping[str, object]) -> datetime | None:
    """When somebody unsubscribed: the later of the two moments that Klaviyo keeps; None when one cannot be read."""
    told = [marketing.get(name) for name in ("consent_timestamp", "last_updated")]
    moments = [_moment(value) for value in told if value is not None]
    return None if None in moments else max((moment for moment in moments if moment), default=None)


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _member(parent: Mapping[str, object], name: str) -> Mapping[str, object]:
    return _mapping(parent.get(name), name)


def _mapping(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
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
