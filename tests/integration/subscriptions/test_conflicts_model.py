"""Rows at random, held to a plain model of what they say together."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.records.subscriptions.mapper import SubscriptionMapper, SubscriptionOptions
from airflow_provider_klaviyo.sync.subscriptions.consent_words import FirstWords, HeardMapper, Objections
from tests.integration.subscriptions.conftest import ConsentSync, Judge, sent

pytestmark = [pytest.mark.integration, pytest.mark.slow]

EMAILS = {"a@shop.io": ("a@shop.io", "A@Shop.io", " a@shop.io "), "b@shop.io": ("b@shop.io", "B@shop.IO")}
NUMBERS = {
    "+14155552671": ("+14155552671", "(415) 555-2671"),
    "+14155552672": ("415.555.2672", "+1 415 555 2672"),
}
MAPPING = {
    "email": "email",
    "phone_number": "phone",
    "external_id": "customer",
    "consent.email": "email_ok",
    "consent.sms": "sms_ok",
}
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
CHANNELS = {"email": "email", "sms": "phone"}
ORDER = ("email", "phone", "customer")
"""Of the columns that identify a person, the most telling first."""

Row = dict[str, str | None]


def spelled(names: dict[str, tuple[str, ...]]) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from([each for spellings in names.values() for each in spellings])


ROW = st.fixed_dictionaries(
    {
        "email": spelled(EMAILS),
        "phone": spelled(NUMBERS),
        "customer": st.sampled_from((None, "7", "8", "9")),
        "email_ok": st.sampled_from(("t", "t", "t", "yes", "1", "f", None, "perhaps")),
        "sms_ok": st.sampled_from(("t", "t", "t", "yes", "1", "no", None)),
    }
)
ROWS = st.lists(ROW, min_size=2, max_size=8)
MATCH_BY = st.sampled_from((None, "email", "customer"))
NAMES = {None: None, "email": "email", "customer": "external_id"}
HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


class Model:
    """What a person would make of the rows with pencil and paper."""

    def __init__(self, rows: list[Row], match_by: str | None) -> None:
        self.rows = [self.read(row) for row in rows]
        self.identifying = (match_by,) if match_by else ORDER

    @staticmethod
    def read(row: Row) -> Row:
        plain = {
            each: name
            for names in (EMAILS, NUMBERS)
            for name, spellings in names.items()
            for each in spellings
        }
        return {name: plain.get(value or "", value) for name, value in row.items()}

    def matched_by(self, row: Row) -> str:
        return next((name for name in self.identifying if row[name]), "")

    def names(self, row: Row) -> set[tuple[str, str | None]]:
        return {(name, row[name]) for name in ORDER if row[name]}

    def own(self, row: Row, channel: str) -> set[tuple[str, str | None]]:
        """A number beside an address does not say who somebody is, unless it is what the channel goes by."""
        own = ("customer", CHANNELS[channel], self.matched_by(row))
        return {(name, value) for name, value in self.names(row) if name in own}

    @staticmethod
    def says_yes(row: Row, channel: str) -> bool:
        return row[f"{channel}_ok"] in ("t", "yes", "1")

    def wants(self, row: Row) -> list[str]:
        """The channels that the row alone would be sent for."""
        wanted = [channel for channel in CHANNELS if self.says_yes(row, channel) and row[CHANNELS[channel]]]
        return wanted if self.matched_by(row) else []

    def left(self) -> set[tuple[int, str]]:
        """Rows and channels that are left of what the rows want, each row by its number."""
        return {
            (number, channel)
            for number, row in enumerate(self.rows, 1)
            for channel in self.wants(row)
            if not self.is_out(number, channel)
        }

    def sent(self) -> set[tuple[str, str | None]]:
        """Of each person one row is sent: the first, without the channels that are out."""
        persons, sent = set(), set()
        for number, row in enumerate(self.rows, 1):
            channels = [channel for channel in CHANNELS if (number, channel) in self.left()]
            person = (self.matched_by(row), row.get(self.matched_by(row)))
            if person not in persons:
                sent |= {(channel, row[CHANNELS[channel]]) for channel in channels}
            if channels or (self.wants(row) and not self.judges_before_choosing):
                persons.add(person)
        return sent

    judges_before_choosing = False

    def is_out(self, number: int, channel: str) -> bool:
        raise NotImplementedError


class AllCount(Model):
    """One no is enough, for everybody whom rows hold together."""

    def is_out(self, number: int, channel: str) -> bool:
        spoilt: set[tuple[str, str | None]] = set()
        for _ in self.rows:
            for row in self.rows:
                if not self.says_yes(row, channel) or self.names(row) & spoilt:
                    spoilt |= self.own(row, channel)
        return bool(self.names(self.rows[number - 1]) & spoilt)


class FirstCounts(Model):
    """The first row that speaks of somebody decides."""

    judges_before_choosing = True

    def is_out(self, number: int, channel: str) -> bool:
        words: dict[tuple[str, str | None], bool] = {}
        for row in self.rows[:number]:
            is_out = any(words.get(name) is False for name in self.names(row))
            is_yes = self.says_yes(row, channel) and not is_out
            if not is_yes or self.wants(row):
                for name in self.own(row, channel):
                    words.setdefault(name, is_yes)
        return is_out


MODELS = [("out", AllCount), ("first", FirstCounts)]


@pytest.mark.parametrize(("conflicts", "model"), MODELS)
def test_what_is_left_of_the_rows_is_what_the_model_leaves(
    tmp_path_factory: pytest.TempPathFactory, conflicts: str, model: type[Model]
) -> None:
    @settings(max_examples=150, suppress_health_check=HEALTH)
    @given(ROWS, st.integers(1, 4), MATCH_BY)
    def leaves_what_it_should(rows: list[Row], size: int, match_by: str | None) -> None:
        fields = {field: place for place, field in enumerate(MAPPING)}
        options = SubscriptionOptions(
            "subscribe", ("email", "sms"), match_by=NAMES[match_by], phone_region="US"
        )
        mapper = SubscriptionMapper(fields, options, NOW)
        values = [tuple(row[column] for column in MAPPING.values()) for row in rows]
        records: list[Any] = []
        folder = tmp_path_factory.mktemp("words")
        with closing(Objections(folder) if conflicts == "out" else FirstWords(folder)) as heard:
            for start in range(0, len(values), size):
                mapped = HeardMapper(mapper, heard.hear).map(values[start : start + size], start + 1)
                records += mapped.records
            if isinstance(heard, Objections):
                heard.spread()
                records = heard.judge(records).records
        left = {(record.number, channel) for record in records for channel in record.channels}
        assert left == model(rows, match_by).left()

    leaves_what_it_should()


@pytest.mark.parametrize(("conflicts", "model"), MODELS)
def test_whoever_is_sent_is_whom_the_model_sends(
    judge: Judge,
    klaviyo: Emulator,
    words: Any,
    chunks: Any,
    consent_sync: ConsentSync,
    conflicts: str,
    model: type[Model],
) -> None:
    @settings(max_examples=30, suppress_health_check=HEALTH)
    @given(ROWS, st.integers(1, 4), MATCH_BY)
    def sends_whom_it_should(rows: list[Row], size: int, match_by: str | None) -> None:
        klaviyo.reset()
        chunks(size)
        run = consent_sync(
            sql=words(*rows),
            mapping=MAPPING,
            channels=("email", "sms"),
            match_by=NAMES[match_by],
            phone_region="US",
            list_id=klaviyo.add_list("VIP"),
            conflicts=conflicts,
            max_rejected=1.0,
            resubscribe=True,
        )
        assert run.error is None
        assert run.counts()["rows_read"] == len(rows)
        assert sent(klaviyo) == model(rows, match_by).sent()

    judge.permits_resubscriptions = True
    sends_whom_it_should()
