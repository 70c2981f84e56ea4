"""Rows to people whose consent is to change: who, on which channels, since when."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal
from typing import NamedTuple

import msgspec

from airflow_provider_klaviyo.identity import Identity, comparable
from airflow_provider_klaviyo.records.contacts.phone import PhoneNumbers
from airflow_provider_klaviyo.records.mapping import IDENTIFIERS, MappingError, choose_identifier
from airflow_provider_klaviyo.records.profiles.fields import Values, reader
from airflow_provider_klaviyo.records.profiles.mapper import PHONE_REGION
from airflow_provider_klaviyo.records.record import Flawed, Mapped, Problem, Record, Row
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.consent_word import Word
from airflow_provider_klaviyo.records.values.plain_types import plain
from airflow_provider_klaviyo.records.values.times import EventTimes, Times
from airflow_provider_klaviyo.records.values.truth import FALSE, TRUE
from airflow_provider_klaviyo.records.values.unsendable import Unsendable

SUBSCRIBE, UNSUBSCRIBE = "subscribe", "unsubscribe"

CONSENTED_AT, BORN = "consented_at", "age_gated_date_of_birth"
_WISHES = tuple(f"consent.{channel}" for channel in CHANNELS)

FIELDS = {
    SUBSCRIBE: (*IDENTIFIERS, PHONE_REGION, *_WISHES, CONSENTED_AT, BORN),
    UNSUBSCRIBE: ("email", "phone_number", PHONE_REGION, *_WISHES),
}
"""What a mapping knows, by mode; Klaviyo takes people by address and number alone where they unsubscribe."""

_CONSENT = {SUBSCRIBE: "SUBSCRIBED", UNSUBSCRIBE: "UNSUBSCRIBED"}
_NOT_A_BOOLEAN = "neither true nor false: no consent is read from it"
_NO_DATE = "not a date of birth: write it as 1990-01-31, or use the database's own type"
_NOT_PAST = "not in the past: consent that is still to come cannot be imported"
_NO_CONSENTED_AT = "empty, and a historical import needs the moment of consent for every row"

_encode = msgspec.json.Encoder().encode


PROFILE = "profile"
"""In place of a channel: the whole person, by Klaviyo's own id."""


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
    born: str | None = None
    names: Mapping[str, str] = {}
    remarks: tuple[Problem, ...] = ()
    rows: tuple[SubscriptionRecord, ...] = ()
    shares: int = 1

    @property
    def once(self) -> Hashable:
        """The person, who is subscribed once, or each wish to be unsubscribed somewhere."""
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
    def sent(self) -> bytes:
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
        """What the person is looked up by: an address in every spelling that Klaviyo may have stored."""
        value = self.identifiers.get(field)
        if value is None:
            return ()
        return self.spellings if field == "email" else (value,)

    def narrowed(self, channels: Sequence[str]) -> SubscriptionRecord:
        """The same person with fewer channels; what is acknowledged of it is not the row as it is."""
        needed = {self.matched_by, "klaviyo_id", *(CHANNELS[channel] for channel in channels)}
        fewer = {name: value for name, value in self.identifiers.items() if name in needed}
        born = self.born if "sms" in channels else None
        return self._with(channels=tuple(channels), identifiers=fewer, born=born, fingerprint=0)

    def asking(self, channels: Sequence[str]) -> SubscriptionRecord:
        """The part of the row that is about some of its channels."""
        if len(channels) == len(self.channels):
            return self
        part = self.narrowed(channels)
        part.fingerprint = self.fingerprint
        return part

    def matched_as(self, field: str) -> SubscriptionRecord:
        """The same person, identified by one of the addresses only."""
        if field == self.matched_by:
            return self
        named = {name: value for name, value in self.identifiers.items() if name != self.matched_by}
        return self._with(matched_by=field, identifiers=named)

    def without(self, problems: Mapping[str, Problem]) -> SubscriptionRecord:
        """The same person without some channels, and why."""
        kept = [channel for channel in self.channels if channel not in problems]
        narrowed = self.narrowed(kept)
        narrowed.remarks = (*self.remarks, *problems.values())
        narrowed.meaning = meaning_of(narrowed) if self.meaning else b""
        return narrowed

    def known_as(self, klaviyo_id: str) -> SubscriptionRecord:
        """The same person, named by Klaviyo's own id."""
        return self._with(identifiers={**self.identifiers, "klaviyo_id": klaviyo_id})

    def dated(self, dates: Mapping[str, datetime]) -> SubscriptionRecord:
        """The same person in history, with other moments of consent than the row's for some channels."""
        return self if dates == self.dates else self._with(dates=dates)

    def date_of(self, channel: str) -> datetime | None:
        """The moment of consent to a channel, as exactly as it is sent."""
        moment = self.dates.get(channel, self.consented_at)
        return moment and moment.astimezone(UTC).replace(microsecond=0)

    def _with(self, **changes: object) -> SubscriptionRecord:
        changed: SubscriptionRecord = msgspec.structs.replace(self, **changes)
        changed.body = body_of(changed)
        return changed


def meaning_of(record: SubscriptionRecord) -> bytes:
    """Who is to be asked for what: another row with the same is no change, while newer consent is one."""
    consented_at = record.consented_at and record.consented_at.astimezone(UTC).isoformat()
    return _encode(
        {
            "who": [record.matched_by, *sorted(record.identifiers.items())],
            "channels": sorted(record.channels),
            CONSENTED_AT: consented_at,
            BORN: record.born,
            "is_historical": record.is_historical,
        }
    )


def body_of(record: SubscriptionRecord) -> bytes:
    """The person as the request names it; an ``external_id`` is none of its members.

    Who is unsubscribed is named by the addresses of the channels alone: Klaviyo takes a number that comes with an
    address for that person's, and would put it in the place of the one that it has.
    """
    named = [CHANNELS[channel] for channel in record.channels]
    attributes: dict[str, object] = {
        name: value
        for name, value in record.identifiers.items()
        if name in named or (record.mode == SUBSCRIBE and name in CHANNELS.values())
    }
    if record.born:
        attributes[BORN] = record.born
    attributes["subscriptions"] = {
        channel: {"marketing": _wish(record, channel)} for channel in record.channels
    }
    resource: dict[str, object] = {"type": "profile", "attributes": attributes}
    if "klaviyo_id" in record.identifiers and record.mode == SUBSCRIBE:
        resource["id"] = record.identifiers["klaviyo_id"]
    return _encode(resource)


def _wish(record: SubscriptionRecord, channel: str) -> dict[str, object]:
    moment = record.date_of(channel) if record.is_historical else None
    consent = _CONSENT[record.mode]
    return {"consent": consent, CONSENTED_AT: moment.isoformat()} if moment else {"consent": consent}


@dataclass(frozen=True, slots=True)
class SubscriptionOptions:
    """How rows become people; the names are those of the operator's parameters.

    :param now: moments of consent lie before it.
    :param is_historical: whether the moment of consent is sent, so that a row without it is rejected.
    """

    mode: str
    channels: Sequence[str]
    now: datetime
    match_by: str | None = None
    phone_region: str | None = None
    timezone: tzinfo = UTC
    drop_invalid: bool = True
    is_historical: bool = False


@dataclass(slots=True)
class _Chunk:
    values: dict[str, Values]
    spelled: Sequence[object]
    problems: dict[int, list[Problem]] = field(default_factory=dict)

    def note(self, place: int, name: str, reason: str) -> None:
        self.problems.setdefault(place, []).append(Problem(name, reason))

    def has_problem(self, place: int, names: Sequence[str]) -> bool:
        return any(problem.field in names for problem in self.problems.get(place, ()))


class SubscriptionMapper:
    """Compiled once per run from the bound fields; ``speaks_of`` are the channels that rows have a boolean for.

    :raises MappingError: when a channel has no identifier, or fields and options do not fit together.
    """

    def __init__(self, fields: Mapping[str, int], options: SubscriptionOptions) -> None:
        self._fields = dict(fields)
        self._options = options
        named = [name for name in IDENTIFIERS if name in fields]
        self.identifier = choose_identifier(named, options.match_by)
        self._fallbacks = [self.identifier] if options.match_by else named
        self._named = named
        self.speaks_of = tuple(channel for channel in options.channels if f"consent.{channel}" in fields)
        self._check_channels()
        try:
            self._phones = PhoneNumbers(options.phone_region)
        except ValueError as error:
            msg = f"phone_region: {error}"
            raise MappingError(msg) from error
        self._readers = {name: reader(name, options.timezone) for name in (*named, PHONE_REGION)}
        self._tells_meanings = False

    @property
    def key_columns(self) -> Sequence[int]:
        """The column that names a row where no primary key is given: the identifier's."""
        return (self._fields[self.identifier],)

    def _check_channels(self) -> None:
        for channel in self._options.channels:
            name = CHANNELS[channel]
            if name not in self._fields:
                msg = (
                    f"channels has {channel!r}, which goes by {name}, and nothing is mapped to {name}: map a column "
                    "to it, or leave the channel out."
                )
                raise MappingError(msg)

    def tell_meanings(self) -> None:
        """Have records tell what they mean, for a state to compare."""
        self._tells_meanings = True

    def map(self, rows: Sequence[Row], first: int) -> Mapped:
        """Map rows, the first of which is number ``first`` of the result."""
        return self.heard(rows, first)[0]

    def heard(self, rows: Sequence[Row], first: int) -> tuple[Mapped, list[Word]]:
        """Map rows, and hear what each says of its person's consent, be it sent or not."""
        chunk = self._read(list(zip(*rows, strict=True)), len(rows))
        mapped = Mapped([], [], [])
        skipped: list[Flawed] = []
        for place, row in enumerate(rows):
            self._sort(mapped, skipped, chunk, place, row, first + place)
        words = self._words(chunk, first, mapped.records) if self.speaks_of else []
        return mapped._replace(skipped=skipped), words

    def _words(self, chunk: _Chunk, first: int, records: Sequence[Record]) -> list[Word]:
        sent = {record.number for record in records}
        wishes = {channel: chunk.values[f"consent.{channel}"] for channel in self.speaks_of}
        words = []
        for place in range(len(chunk.spelled)):
            names = self._names(chunk, place)
            matched_by = next((name for name in self._fallbacks if name in names), "")
            yes = [channel for channel, wish in wishes.items() if wish[place]]
            no = [channel for channel in self.speaks_of if channel not in yes]
            words.append(Word(first + place, matched_by, names, yes, no, first + place in sent))
        return words

    def _names(self, chunk: _Chunk, place: int) -> dict[str, str]:
        return {name: value for name in self._named if (value := chunk.values[name][place]) is not None}

    def _sort(
        self, mapped: Mapped, skipped: list[Flawed], chunk: _Chunk, place: int, row: Row, number: int
    ) -> None:
        """Put a row where it belongs; what is missing narrows it, what is invalid may reject it."""
        wanted = self._wanted(chunk, place)
        is_invalid = place in chunk.problems
        if not wanted and not chunk.has_problem(place, _WISHES):
            skipped.append(Flawed(number, row, (self._no_consent(),)))
            return
        record = self._record(chunk, place, row, number, wanted)
        problems = tuple(chunk.problems.get(place, ()))
        if record is None or (is_invalid and not self._options.drop_invalid):
            mapped.rejected.append(Flawed(number, row, problems))
            return
        mapped.records.append(record)
        if problems:
            mapped.warned.append(Flawed(number, row, problems))

    def _wanted(self, chunk: _Chunk, place: int) -> list[str]:
        """The channels that the row's booleans leave."""
        wishes = {channel: chunk.values.get(f"consent.{channel}") for channel in self._options.channels}
        return [channel for channel, wish in wishes.items() if wish is None or wish[place]]

    def _no_consent(self) -> Problem:
        mapped = [name for name in _WISHES if name in self._fields]
        return Problem(
            ", ".join(mapped), f"no_consent: {' and '.join(mapped)} leave no channel (false or NULL)"
        )

    def _record(
        self, chunk: _Chunk, place: int, row: Row, number: int, wanted: Sequence[str]
    ) -> SubscriptionRecord | None:
        values = chunk.values
        matched_by = next((name for name in self._fallbacks if values[name][place] is not None), None)
        channels = tuple(channel for channel in wanted if values[CHANNELS[channel]][place] is not None)
        self._note_what_is_missing(chunk, place, matched_by, wanted)
        if matched_by is None or not channels or chunk.has_problem(place, [CONSENTED_AT]):
            return None
        sent = {matched_by, *(CHANNELS[channel] for channel in channels)}
        value = values[matched_by][place]
        email = values["email"][place] if "email" in sent else None
        record = SubscriptionRecord(
            number,
            row,
            value if matched_by == self.identifier else Identity(matched_by, value).text,
            b"",
            mode=self._options.mode,
            channels=channels,
            identifiers={name: values[name][place] for name in IDENTIFIERS if name in sent},
            matched_by=matched_by,
            spellings=_spellings(email, chunk.spelled[place]) if email else (),
            consented_at=values[CONSENTED_AT][place] if CONSENTED_AT in values else None,
            is_historical=self._options.is_historical,
            born=values[BORN][place] if BORN in values and "sms" in channels else None,
            names=self._names(chunk, place) if self.speaks_of else {},
        )
        record.body = body_of(record)
        record.meaning = meaning_of(record) if self._tells_meanings else b""
        return record

    def _note_what_is_missing(
        self, chunk: _Chunk, place: int, matched_by: str | None, wanted: Sequence[str]
    ) -> None:
        if matched_by is None and not chunk.has_problem(place, self._fallbacks):
            chunk.note(
                place, self.identifier, f"empty, and nothing else identifies this person: {self._match()}"
            )
        for channel in wanted:
            name = CHANNELS[channel]
            if chunk.values[name][place] is None and not chunk.has_problem(place, [name]):
                chunk.note(place, name, f"empty, so nothing is sent for {channel}")

    def _match(self) -> str:
        return "match_by names it" if self._options.match_by else f"mapped are {', '.join(self._fallbacks)}"

    # --- columns ----------------------------------------------------------------------------------------------

    def _read(self, columns: Sequence[Sequence[object]], size: int) -> _Chunk:
        email = self._fields.get("email")
        chunk = _Chunk({}, columns[email] if email is not None else [None] * size)
        for name in self._fields:
            if name not in ("phone_number", PHONE_REGION):
                self._note(chunk, name, *self._column(name, columns))
        if "phone_number" in self._fields:
            numbers = self._note(chunk, "phone_number", *self._column("phone_number", columns))
            regions = self._column(PHONE_REGION, columns)[0] if PHONE_REGION in self._fields else None
            self._note(chunk, "phone_number", *self._phones.check(numbers, regions))
        return chunk

    def _column(self, name: str, columns: Sequence[Sequence[object]]) -> tuple[Values, dict[int, str]]:
        column = columns[self._fields[name]]
        if name in self._readers:
            return self._readers[name](column)
        if name in _WISHES:
            return _each(column, _boolean)
        if name == BORN:
            return _each(column, lambda value: _born(value, self._options.now.date()))
        return self._moments(column)

    def _note(self, chunk: _Chunk, name: str, values: Values, reasons: Mapping[int, str]) -> Values:
        for place, reason in reasons.items():
            chunk.note(place, name, reason)
        chunk.values[name] = values
        return values

    def _moments(self, column: Sequence[object]) -> Times:
        """Moments of consent; one without an offset, and a date, are read in the sync's time zone."""
        moments, reasons = EventTimes(self._options.timezone, self._options.now).read(column)
        for place, value in enumerate(column):
            if value is None or (isinstance(value, str) and not value.strip()):
                reasons.pop(place, None)
                if self._options.is_historical:
                    reasons[place] = _NO_CONSENTED_AT
            elif (moment := moments[place]) and moment >= self._options.now:
                moments[place], reasons[place] = None, _NOT_PAST
        return moments, reasons


def _each(column: Sequence[object], convert: Callable[[object], object]) -> tuple[Values, dict[int, str]]:
    values: Values = []
    reasons: dict[int, str] = {}
    for place, given in enumerate(column):
        try:
            value = plain(given)
            is_empty = value is None or (isinstance(value, str) and not value.strip())
            values.append(None if is_empty else convert(value))
        except Unsendable as refusal:
            values.append(None)
            reasons[place] = str(refusal)
    return values, reasons


def _boolean(value: object) -> bool:
    """True or false as databases give them; SQLite's and MySQL's are numbers."""
    if isinstance(value, (bool, int, float, Decimal)) and value in (0, 1):
        return bool(value)
    word = str(value).strip().lower()
    if word not in TRUE | FALSE:
        raise Unsendable(_NOT_A_BOOLEAN)
    return word in TRUE


def _born(value: object, today: date) -> str:
    try:
        born = _date_of(value.strip()) if isinstance(value, str) else value
    except ValueError:
        raise Unsendable(_NO_DATE) from None
    day = born.date() if isinstance(born, datetime) else born
    if not isinstance(day, date) or day >= today:
        raise Unsendable(_NO_DATE)
    return day.isoformat()


def _date_of(text: str) -> date:
    """A date, which some databases write as the midnight that it begins with.

    :raises ValueError: for anything else.
    """
    moment = datetime.fromisoformat(text)
    if moment.time() != time.min:
        raise ValueError(text)
    return moment.date()


def _spellings(email: str, given: object) -> tuple[str, ...]:
    """The address as it is sent and as the row has it, in the row's letters and in lower case."""
    text = str(given).strip()
    return tuple(dict.fromkeys((email, text, comparable("email", text))))
