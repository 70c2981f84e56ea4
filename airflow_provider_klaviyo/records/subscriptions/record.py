"""People whose consent is to change, as they are sent: on which channels, and since when."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

import msgspec

from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.mapping import (
    CONSENTED_AT,
    DATE_OF_BIRTH,
    SUBSCRIBE,
    UNSUBSCRIBE,
)

PROFILE = "profile"
"""In place of a channel: the whole person, by Klaviyo's own id."""

_ADDRESSES = tuple(CHANNELS.values())

_CONSENT = {SUBSCRIBE: "SUBSCRIBED", UNSUBSCRIBE: "UNSUBSCRIBED"}

_encode = msgspec.json.Encoder().encode


class Address(NamedTuple):
    """An address or number on a channel: what somebody is asked at, or unsubscribed from."""

    channel: str
    value: str


class SubscriptionRecord(Record, gc=False):
    """A person with the channels that are to change; ``identifiers`` are those that are sent, by Klaviyo's names.

    ``matched_by`` is the field that identifies the person, ``spellings`` are forms of the address that Klaviyo may
    have stored, ``consented_at`` is the moment of consent where the row tells it, ``dates`` are moments by channel that
    are sent instead. ``names`` are all identifiers that the row gives, where rows are heard on consent, and ``remarks``
    tell of channels that were left out on the way. ``rows`` are the records that were brought together in this one,
    each with what it asks for here, and ``shares`` is in how many a row was divided.
    """

    mode: str = SUBSCRIBE
    channels: tuple[str, ...] = ()
    identifiers: Mapping[str, str] = {}
    matched_by: str = ""
    spellings: tuple[str, ...] = ()
    consented_at: datetime | None = None
    dates: Mapping[str, datetime] = {}
    is_historical: bool = False
    date_of_birth: str | None = None
    names: Mapping[str, str] = {}
    remarks: tuple[Problem, ...] = ()
    rows: tuple[SubscriptionRecord, ...] = ()
    shares: int = 1

    @property
    def dedup_key(self) -> Hashable:
        """The person, who is subscribed once, or each channel to be unsubscribed somewhere."""
        if self.mode == SUBSCRIBE:
            return self.identity
        return (self.identity, *self.addresses)

    @property
    def originals(self) -> Sequence[SubscriptionRecord]:
        """The records of the rows that this one stands for."""
        return self.rows or (self,)

    @property
    def rows_as_sent(self) -> Sequence[SubscriptionRecord]:
        """The rows of which something is sent, as a state may acknowledge them."""
        if not self.rows:
            return (self,)
        kept = [(row, [channel for channel in row.channels if channel in self.channels]) for row in self.rows]
        return [
            row if len(channels) == len(row.channels) else row.narrowed(channels)
            for row, channels in kept
            if channels
        ]

    @property
    def fingerprinted(self) -> bytes:
        """With the moment of consent, also where Klaviyo is not told of it."""
        return self.body + (str(self.consented_at).encode() if self.consented_at else b"")

    @property
    def addresses(self) -> list[Address]:
        """Where the person is written to, for every channel."""
        addresses = [Address(channel, self.identifiers[CHANNELS[channel]]) for channel in self.channels]
        if (
            self.mode == UNSUBSCRIBE and "klaviyo_id" in self.identifiers
        ):  # who leaves a list leaves it as a whole
            addresses.append(Address(PROFILE, self.identifiers["klaviyo_id"]))
        return addresses

    @property
    def needed(self) -> tuple[str, ...]:
        """The identifiers without which the person is not who it is; an opt-out of one address needs no other."""
        return (self.matched_by,) if self.mode == SUBSCRIBE else ()

    def lookups(self, field: str) -> Sequence[str]:
        """What the person is looked up by: an address in every spelling that Klaviyo may have stored.

        :param field: an identifier; nothing where the person has none of it.
        """
        value = self.identifiers.get(field)
        if value is None:
            return ()
        return self.spellings if field == "email" else (value,)

    def narrowed(self, channels: Sequence[str]) -> SubscriptionRecord:
        """The same person with fewer channels; what is acknowledged of it is not the row as it is.

        :param channels: those that are left.
        """
        needed = {self.matched_by, "klaviyo_id", *(CHANNELS[channel] for channel in channels)}
        fewer = {name: value for name, value in self.identifiers.items() if name in needed}
        date_of_birth = self.date_of_birth if "sms" in channels else None
        return self._with(
            channels=tuple(channels), identifiers=fewer, date_of_birth=date_of_birth, fingerprint=0
        )

    def asking(self, channels: Sequence[str]) -> SubscriptionRecord:
        """The part of the row that is about some of its channels.

        :param channels: some of the record's, or all.
        """
        if len(channels) == len(self.channels):
            return self
        part = self.narrowed(channels)
        part.fingerprint = self.fingerprint
        return part

    def matched_as(self, field: str) -> SubscriptionRecord:
        """The same person, identified by one of the addresses only.

        :param field: the address's, which the record has.
        """
        if field == self.matched_by:
            return self
        named = {name: value for name, value in self.identifiers.items() if name != self.matched_by}
        return self._with(matched_by=field, identifiers=named)

    def without(self, problems: Mapping[str, Problem]) -> SubscriptionRecord:
        """The same person without some channels, and why.

        :param problems: what is wrong with each channel that is left out.
        """
        kept = [channel for channel in self.channels if channel not in problems]
        narrowed = self.narrowed(kept)
        narrowed.remarks = (*self.remarks, *problems.values())
        narrowed.meaning = meaning_of(narrowed) if self.meaning else b""
        return narrowed

    def known_as(self, klaviyo_id: str) -> SubscriptionRecord:
        """The same person, named by Klaviyo's own id."""
        named = {**self.identifiers, "klaviyo_id": klaviyo_id}
        if self.mode == UNSUBSCRIBE:  # whose body names addresses alone
            return msgspec.structs.replace(self, identifiers=named)
        return self._with(identifiers=named)

    def dated(self, dates: Mapping[str, datetime]) -> SubscriptionRecord:
        """The same person in history, with other moments of consent than the row's for some channels.

        :param dates: the moments by channel.
        """
        return self if dates == self.dates else self._with(dates=dates)

    def date_of(self, channel: str) -> datetime | None:
        """The moment of consent to a channel, as exactly as it is sent: in UTC, to the second.

        :param channel: one of the record's.
        """
        timestamp = self.dates.get(channel, self.consented_at)
        return timestamp and timestamp.astimezone(UTC).replace(microsecond=0)

    def _with(self, **changes: object) -> SubscriptionRecord:
        changed: SubscriptionRecord = msgspec.structs.replace(self, **changes)
        changed.body = body_of(changed)
        return changed


def meaning_of(record: SubscriptionRecord) -> bytes:
    """Who is to be asked for what: another row with the same is no change, while newer consent is one.

    :param record: a whole row, or what is left of one.
    :returns: JSON with what is sent in its one spelling.
    """
    consented_at = record.consented_at and record.consented_at.astimezone(UTC).isoformat()
    return _encode(
        {
            "who": [record.matched_by, *sorted(record.identifiers.items())],
            "channels": sorted(record.channels),
            CONSENTED_AT: consented_at,
            DATE_OF_BIRTH: record.date_of_birth,
            "is_historical": record.is_historical,
        }
    )


def body_of(record: SubscriptionRecord) -> bytes:
    """The person as the request names it; an ``external_id`` is none of its members.

    Who is unsubscribed is named by the addresses of the channels alone: Klaviyo takes a number that comes with an
    address for that person's, and would put it in the place of the one that it has.

    :param record: with an identifier for each of its channels.
    :returns: the JSON of a profile for ``bulk_subscribe_profiles`` or ``bulk_unsubscribe_profiles``.
    """
    named = _ADDRESSES if record.mode == SUBSCRIBE else [CHANNELS[channel] for channel in record.channels]
    attributes: dict[str, object] = {
        name: value for name, value in record.identifiers.items() if name in named
    }
    if record.date_of_birth:
        attributes[DATE_OF_BIRTH] = record.date_of_birth
    attributes["subscriptions"] = (
        {channel: {"marketing": _marketing(record, channel)} for channel in record.channels}
        if record.is_historical
        else _undated(record.mode, record.channels)
    )
    resource: dict[str, object] = {"type": "profile", "attributes": attributes}
    if "klaviyo_id" in record.identifiers and record.mode == SUBSCRIBE:
        resource["id"] = record.identifiers["klaviyo_id"]
    return _encode(resource)


@cache
def _undated(mode: str, channels: tuple[str, ...]) -> msgspec.Raw:
    """Consent to some channels without a moment, encoded once for all people."""
    marketing = {"consent": _CONSENT[mode]}
    return msgspec.Raw(_encode({channel: {"marketing": marketing} for channel in channels}))


def _marketing(record: SubscriptionRecord, channel: str) -> dict[str, object]:
    timestamp = record.date_of(channel)
    consent = _CONSENT[record.mode]
    return {"consent": consent, CONSENTED_AT: timestamp.isoformat()} if timestamp else {"consent": consent}
