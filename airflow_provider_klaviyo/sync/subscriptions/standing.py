"""Where people stand on channels, judged by what Klaviyo knows of them: pure, and closed to whatever is doubtful."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import NamedTuple

from airflow_provider_klaviyo.client.responses import Document, attributes_of
from airflow_provider_klaviyo.records.subscriptions.consent import (
    CHANNELS,
    Consent,
    ConsentUnreadable,
    Objection,
    read_consent,
)
from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord
from airflow_provider_klaviyo.sync.subscriptions.agreement import Resubscribe

Profiles = dict[str, Document]
"""Profiles by their id."""


class Standing(Enum):
    """Where somebody stands on a channel, as far as subscribing goes."""

    FREE = auto()
    DONE = auto()
    OPTED_OUT = auto()
    NEW_WORD = auto()
    ASKED = auto()
    UNREADABLE = auto()
    UNKNOWN = auto()


class Finding(NamedTuple):
    """A standing, and why."""

    standing: Standing
    reason: str = ""


Findings = dict[str, Finding]
"""By channel."""

FREE = Finding(Standing.FREE)
_DONE = Finding(Standing.DONE)
_WITHDRAWN = Finding(
    Standing.OPTED_OUT,
    "opted_out: unsubscribed later than consented_at, and Klaviyo takes no consent from before",
)
_UNKNOWN = Finding(
    Standing.UNKNOWN,
    "Klaviyo does not know this person, and stores nobody new without a list: name a list, or import the person first",
)


class Judged(NamedTuple):
    """A person with what was found; the record names the profile where Klaviyo could not find it itself.

    :param stands: where the person would stand if sent.
    :param owners: the profiles that have the addresses of channels, where there is one of each.
    :param done: the channels on which there is nothing to be sent.
    """

    record: SubscriptionRecord
    stands: Findings
    owners: Mapping[str, str] = {}
    done: Collection[str] = ()

    @property
    def findings(self) -> Findings:
        """Where the person stands on every channel."""
        return self.stands | dict.fromkeys(self.done, _DONE)

    def contact(self, channel: str) -> str:
        """The identifier to look for the owner of a channel's address by; one serves both where they have one owner."""
        is_same = self.owners.get("email") == self.owners[channel]
        return "email" if is_same else CHANNELS[channel]

    def among(self, members: Mapping[str, Collection[str]]) -> Judged:
        """The same where whoever is subscribed and not on the list is still to be put on it.

        :param members: the profiles on the list, by the identifier that found them.
        """
        if not self.done:
            return self
        return self._replace(done=[c for c in self.done if self.owners[c] in members[self.contact(c)]])


class Rules:
    """What lets people through.

    :param list_id: the list to subscribe to; its suppressions count besides.
    :param needs_profile: whether only people whom Klaviyo knows can be subscribed.
    """

    def __init__(self, list_id: str | None, resubscribe: Resubscribe, *, needs_profile: bool) -> None:
        self._list_id = list_id
        self._resubscribe = resubscribe
        self._needs_profile = needs_profile

    def must_know(self, record: SubscriptionRecord) -> bool:
        """Whether anything of a person has to be known; of history its date, whoever may be subscribed."""
        return (
            self._resubscribe is not Resubscribe.ALWAYS
            or self._needs_profile
            or record.is_historical
            or record.matched_by == "external_id"
        )

    def judge(self, record: SubscriptionRecord, found: Mapping[str, Profiles]) -> Judged:
        """What was found of a person.

        :param found: the profiles that each identifier of the person found.
        """
        everybody = {key: profile for profiles in found.values() for key, profile in profiles.items()}
        named = found.get("external_id", {})
        if len(named) > 1:
            return all_channels(record, _unreadable("several profiles have this external_id"))
        if named:
            record = record.known_as(next(iter(named)))
        if self._needs_profile and not everybody:
            return all_channels(record, _UNKNOWN)
        stands: Findings = {}
        done: list[str] = []
        dates: dict[str, datetime] = {}
        owners = {channel: owner for channel in record.channels if (owner := _owner(found, channel))}
        for channel in record.channels:
            try:
                consents = self._read(everybody, channel)
            except ConsentUnreadable as problem:
                is_free = self._resubscribe is Resubscribe.ALWAYS
                stands[channel] = FREE if is_free else _unreadable(str(problem))
                continue
            stands[channel] = self._stands(record, channel, list(consents.values()))
            if self._is_done(consents, owners.get(channel, "")):
                done.append(channel)
            if date := _earlier(record, consents.values()):
                dates[channel] = date
        return Judged(record.dated(dates), stands, owners, done)

    def _read(self, everybody: Profiles, channel: str) -> dict[str, Consent]:
        """The consent of every profile that a person may be."""
        return {
            key: read_consent(attributes_of(profile), channel, self._list_id)
            for key, profile in everybody.items()
        }

    def _stands(self, record: SubscriptionRecord, channel: str, consents: Sequence[Consent]) -> Finding:
        """One profile that objects is enough: it is not known which profile Klaviyo will take the identifiers for."""
        if self._resubscribe is Resubscribe.ALWAYS:
            return _WITHDRAWN if _is_withdrawn(record, channel, consents) else FREE
        objecting = [consent for consent in consents if consent.objections or consent.lifted]
        objections = [each for consent in objecting for each in (*consent.objections, *consent.lifted)]
        if standing := [each for each in objections if not self._is_overruled(each, record)]:
            reasons = ", ".join(dict.fromkeys(each.what for each in standing))
            return Finding(Standing.OPTED_OUT, f"opted_out: {reasons}")
        if words := [consent.word for consent in consents if not consent.is_known]:
            return Finding(Standing.NEW_WORD, _new_word(", ".join(dict.fromkeys(words)), channel))
        return FREE

    def _is_overruled(self, objection: Objection, record: SubscriptionRecord) -> bool:
        return self._resubscribe is Resubscribe.NEWER_CONSENT and objection.is_older_than(record.consented_at)

    def _is_done(self, consents: Mapping[str, Consent], owner: str) -> bool:
        """Whether somebody is subscribed, and no profile that they may be says otherwise."""
        return (
            self._resubscribe is not Resubscribe.ALWAYS
            and owner in consents
            and consents[owner].is_subscribed
            and not any(each.objections or not each.is_known for each in consents.values())
        )


def _owner(found: Mapping[str, Profiles], channel: str) -> str:
    """The profile that has the address of a channel, when no identifier says that it is somebody else's."""
    owners = list(found[CHANNELS[channel]])
    if len(owners) != 1:
        return ""
    is_one = all(list(found[name]) == owners for name in ("klaviyo_id", "external_id") if name in found)
    return owners[0] if is_one else ""


def _is_withdrawn(record: SubscriptionRecord, channel: str, consents: Sequence[Consent]) -> bool:
    """Whether the consent that history tells of was withdrawn since: Klaviyo refuses it."""
    date = record.date_of(channel) if record.is_historical else None
    return date is not None and any(consent.was_withdrawn_after(date) for consent in consents)


def _earlier(record: SubscriptionRecord, consents: Collection[Consent]) -> datetime | None:
    """Since when somebody is subscribed, where history tells of a later moment, which Klaviyo refuses."""
    if not record.is_historical or record.consented_at is None:
        return None
    since = [consent.since for consent in consents if consent.is_subscribed and consent.since]
    earliest = min(since, default=record.consented_at)
    return earliest if earliest < record.consented_at else None


def all_channels(record: SubscriptionRecord, finding: Finding) -> Judged:
    """One finding for a person that is the same on every channel."""
    return Judged(record, dict.fromkeys(record.channels, finding))


def _unreadable(reason: str) -> Finding:
    return Finding(Standing.UNREADABLE, f"not sent, since consent could not be read: {reason}")


def _new_word(words: str, channel: str) -> str:
    return (
        f"new_word: Klaviyo says {words} of consent to {channel}, which this release does not know: not sent"
    )
