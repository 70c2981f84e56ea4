"""Rows to people whose consent is to change: who, on which channels, since when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from airflow_provider_klaviyo.identity import Identity, comparable
from airflow_provider_klaviyo.records.contacts.phone import PhoneNumbers
from airflow_provider_klaviyo.records.mapping import IDENTIFIERS, MappingError, choose_identifier
from airflow_provider_klaviyo.records.profiles.fields import Read, Values, reader
from airflow_provider_klaviyo.records.profiles.mapping import PHONE_REGION
from airflow_provider_klaviyo.records.record import Flawed, Mapped, Problem, Record, Row
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.consent_word import Word
from airflow_provider_klaviyo.records.subscriptions.mapping import (
    CONSENT_FLAGS,
    CONSENTED_AT,
    DATE_OF_BIRTH,
    check_channels,
    identifiers_of,
)
from airflow_provider_klaviyo.records.subscriptions.record import (
    SubscriptionRecord,
    body_of,
    meaning_of,
)
from airflow_provider_klaviyo.records.subscriptions.values import (
    read_consent_flags,
    read_dates_of_birth,
    read_timestamps,
)


@dataclass(frozen=True, slots=True)
class SubscriptionOptions:
    """How rows become people; the names are those of the operator's parameters.

    :param is_historical: whether the moment of consent is sent, so that a row without it is rejected.
    """

    mode: str
    channels: Sequence[str]
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

    def note(self, index: int, name: str, reason: str) -> None:
        self.problems.setdefault(index, []).append(Problem(name, reason))

    def has_problem(self, index: int, names: Sequence[str]) -> bool:
        return any(problem.field in names for problem in self.problems.get(index, ()))


class SubscriptionMapper:
    """Compiled once per run from the bound fields; ``speaks_of`` are the channels that rows have a boolean for.

    :param now: Klaviyo's time: consent was given, and people were born, before it.
    :raises MappingError: when a channel has no identifier, or fields and options do not fit together.
    """

    def __init__(self, fields: Mapping[str, int], options: SubscriptionOptions, now: datetime) -> None:
        self._fields = dict(fields)
        self._options = options
        self._now = now
        named = [name for name in IDENTIFIERS if name in fields]
        self.identifier = choose_identifier(named, options.match_by, identifiers_of(options.mode))
        self._fallbacks = [self.identifier] if options.match_by else named
        self._named = named
        self.speaks_of = tuple(channel for channel in options.channels if f"consent.{channel}" in fields)
        check_channels(fields, options.channels)
        try:
            self._phones = PhoneNumbers(options.phone_region)
        except ValueError as error:
            msg = f"phone_region: {error}"
            raise MappingError(msg) from error
        self._readers = {name: reader(name, options.timezone) for name in (*named, PHONE_REGION)}
        self._keeps_meanings = False

    @property
    def time_columns(self) -> Sequence[int]:
        """The column of when people consented, where one is mapped."""
        return (self._fields[CONSENTED_AT],) if CONSENTED_AT in self._fields else ()

    @property
    def key_columns(self) -> Sequence[int]:
        """The column that names a row where no primary key is given: the identifier's."""
        return (self._fields[self.identifier],)

    @property
    def fields(self) -> Mapping[str, int]:
        """The column of each field."""
        return self._fields

    def keep_meanings(self) -> None:
        """Have records tell what they mean, for a state to compare."""
        self._keeps_meanings = True

    def map(self, rows: Sequence[Row], first: int) -> Mapped:
        """Map rows.

        :param rows: a chunk, at least one.
        :param first: the number of its first row in the query's result, from 1.
        """
        return self.heard(rows, first)[0]

    def heard(self, rows: Sequence[Row], first: int) -> tuple[Mapped, list[Word]]:
        """Map rows, and hear what each says of its person's consent, be it sent or not.

        :param rows: a chunk, at least one.
        :param first: the number of its first row in the query's result, from 1.
        :returns: what became of the rows, and one word of each; none where no channel has a boolean.
        """
        chunk = self._read(list(zip(*rows, strict=True)), len(rows))
        mapped = Mapped([], [], [])
        skipped: list[Flawed] = []
        for index, row in enumerate(rows):
            self._sort(mapped, skipped, chunk, index, row, first + index)
        words = self._words(chunk, first, mapped.records) if self.speaks_of else []
        return mapped._replace(skipped=skipped), words

    def _words(self, chunk: _Chunk, first: int, records: Sequence[Record]) -> list[Word]:
        sent = {record.number for record in records}
        flags = {channel: chunk.values[f"consent.{channel}"] for channel in self.speaks_of}
        words = []
        for index in range(len(chunk.spelled)):
            names = self._names(chunk, index)
            matched_by = next((name for name in self._fallbacks if name in names), "")
            yes = [channel for channel, flag in flags.items() if flag[index]]
            no = [channel for channel in self.speaks_of if channel not in yes]
            words.append(Word(first + index, matched_by, names, yes, no, first + index in sent))
        return words

    def _names(self, chunk: _Chunk, index: int) -> dict[str, str]:
        return {name: value for name in self._named if (value := chunk.values[name][index]) is not None}

    def _sort(
        self, mapped: Mapped, skipped: list[Flawed], chunk: _Chunk, index: int, row: Row, number: int
    ) -> None:
        """Put a row where it belongs; what is missing narrows it, what is invalid may reject it."""
        wanted = self._wanted(chunk, index)
        is_invalid = index in chunk.problems
        if not wanted and not chunk.has_problem(index, CONSENT_FLAGS):
            skipped.append(Flawed(number, row, (self._no_consent(),)))
            return
        record = self._record(chunk, index, row, number, wanted)
        problems = tuple(chunk.problems.get(index, ()))
        if record is None or (is_invalid and not self._options.drop_invalid):
            mapped.rejected.append(Flawed(number, row, problems))
            return
        mapped.records.append(record)
        if problems:
            mapped.warned.append(Flawed(number, row, problems))

    def _wanted(self, chunk: _Chunk, index: int) -> list[str]:
        """The channels that the row's booleans leave."""
        return [
            channel
            for channel in self._options.channels
            if channel not in self.speaks_of or chunk.values[f"consent.{channel}"][index]
        ]

    def _no_consent(self) -> Problem:
        mapped = [name for name in CONSENT_FLAGS if name in self._fields]
        return Problem(
            ", ".join(mapped), f"no_consent: {' and '.join(mapped)} leave no channel (false or NULL)"
        )

    def _record(
        self, chunk: _Chunk, index: int, row: Row, number: int, wanted: Sequence[str]
    ) -> SubscriptionRecord | None:
        values = chunk.values
        matched_by = self._matched_by(chunk, index)
        channels = tuple([channel for channel in wanted if values[CHANNELS[channel]][index] is not None])
        self._note_what_is_missing(chunk, index, matched_by, wanted)
        if matched_by is None or not channels or chunk.has_problem(index, [CONSENTED_AT]):
            return None
        sent = {matched_by, *[CHANNELS[channel] for channel in channels]}
        value = values[matched_by][index]
        email = values["email"][index] if "email" in sent else None
        record = SubscriptionRecord(
            number,
            row,
            value if matched_by == self.identifier else Identity(matched_by, value).text,
            b"",
            mode=self._options.mode,
            channels=channels,
            identifiers={name: values[name][index] for name in IDENTIFIERS if name in sent},
            matched_by=matched_by,
            spellings=_spellings(email, chunk.spelled[index]) if email else (),
            consented_at=values[CONSENTED_AT][index] if CONSENTED_AT in values else None,
            is_historical=self._options.is_historical,
            date_of_birth=values[DATE_OF_BIRTH][index]
            if DATE_OF_BIRTH in values and "sms" in channels
            else None,
            names=self._names(chunk, index) if self.speaks_of else {},
        )
        record.body = body_of(record)
        record.meaning = meaning_of(record) if self._keeps_meanings else b""
        return record

    def _matched_by(self, chunk: _Chunk, index: int) -> str | None:
        for name in self._fallbacks:
            if chunk.values[name][index] is not None:
                return name
        return None

    def _note_what_is_missing(
        self, chunk: _Chunk, index: int, matched_by: str | None, wanted: Sequence[str]
    ) -> None:
        if matched_by is None and not chunk.has_problem(index, self._fallbacks):
            chunk.note(
                index, self.identifier, f"empty, and nothing else identifies this person: {self._match()}"
            )
        for channel in wanted:
            name = CHANNELS[channel]
            if chunk.values[name][index] is None and not chunk.has_problem(index, [name]):
                chunk.note(index, name, f"empty, so nothing is sent for {channel}")

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

    def _column(self, name: str, columns: Sequence[Sequence[object]]) -> Read:
        column = columns[self._fields[name]]
        if name in self._readers:
            return self._readers[name](column)
        if name in CONSENT_FLAGS:
            return read_consent_flags(column)
        if name == DATE_OF_BIRTH:
            return read_dates_of_birth(column, self._now.date())
        options = self._options
        return read_timestamps(column, options.timezone, self._now, is_required=options.is_historical)

    def _note(self, chunk: _Chunk, name: str, values: Values, reasons: Mapping[int, str]) -> Values:
        for index, reason in reasons.items():
            chunk.note(index, name, reason)
        chunk.values[name] = values
        return values


def _spellings(email: str, given: object) -> tuple[str, ...]:
    """The address as it is sent and as the row has it, in the row's letters and in lower case."""
    text = str(given).strip()
    lowered = comparable("email", text)
    return (email,) if email == text == lowered else tuple(dict.fromkeys((email, text, lowered)))
