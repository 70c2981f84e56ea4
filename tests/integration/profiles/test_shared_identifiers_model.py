"""People who share identifiers, at random, held to a plain model: the first night's first row keeps what is shared."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.emulator import Emulator, Settings
from airflow_provider_klaviyo.records.events.mapper import EventOptions
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.sync.batching import Batcher, BatchLimits
from airflow_provider_klaviyo.sync.contracts import SyncContext, SyncType, Target
from airflow_provider_klaviyo.sync.engine import Sync
from airflow_provider_klaviyo.sync.events.sync_type import EventsSync
from airflow_provider_klaviyo.sync.profiles.sync_type import ProfilesSync
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.sync.seen import SeenPeople
from tests.clocks import SleepingClock

pytestmark = pytest.mark.integration

EMAILS = {f"{name}@shop.io": (f"{name}@shop.io", f" {name.upper()}@Shop.IO") for name in "abcde"}
NUMBERS = {
    "+14155552671": ("+14155552671", "(415) 555-2671", "+14155552671.0"),
    "+14155552672": ("415.555.2672", "+1 415 555 2672"),
}
IDS = {"7": ("7", " 7 ", 7), "8": ("8", "8 "), None: (None, "", "nan", "NULL")}
COLUMNS = ("key", "email", "phone_number", "external_id")
NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)

Row = tuple[Any, ...]


def spelled(names: dict[Any, tuple[Any, ...]]) -> st.SearchStrategy[Any]:
    return st.sampled_from([(name, spelling) for name, spellings in names.items() for spelling in spellings])


PERSON = st.tuples(spelled(EMAILS), spelled({**NUMBERS, None: (None, "")}), spelled(IDS))
PEOPLE = st.lists(PERSON, min_size=2, max_size=7)
NIGHTS = st.lists(st.tuples(st.randoms(use_true_random=False), st.booleans()), max_size=2)
"""After the first: the order of the rows, and whether only some of them are in the query."""

HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@dataclass
class Result:
    """The result of a query, in chunks of a random size."""

    rows: Sequence[Row]
    size: int
    columns = COLUMNS
    total = None

    def __iter__(self) -> Iterator[list[Row]]:
        for start in range(0, len(self.rows), self.size):
            yield list(self.rows[start : start + self.size])


@pytest.fixture(scope="module")
def klaviyo() -> Iterator[Emulator]:
    account = Settings(job_seconds=0.0, rate_limits="off", conflicts="take_over")
    with Emulator(account) as emulator:
        yield emulator


def run(klaviyo: Emulator, sync_type: SyncType, rows: Result, folder: Path, state: Path | None) -> SyncReport:
    folder.mkdir()
    clock = SleepingClock()
    ledger = None
    if state:
        target = {"state_key": "test"}
        ledger = open_ledger(store_of(state), folder, target, writer="test", now=clock.now)
    report = SyncReport(sync_type.name, sync_type.mode, RejectsFile(folder / "rejects.jsonl"))
    config = KlaviyoConfig(klaviyo.api_key, base_url=klaviyo.url, timeout=10)
    limiter = RateLimiter(MemoryWindows(), account="test", share=1.0, clock=clock)

    def compile_mapper(columns: Sequence[str]) -> Any:
        mapper = session.mapper(columns)
        report.rejects.describe(columns, [0])
        session.changes.describe([0], mapper.identifier)
        if session.changes.compares:
            mapper.keep_meanings()
        return mapper

    @contextmanager
    def opened() -> Iterator[Result]:
        yield rows

    people = SeenPeople(folder)
    with KlaviyoClient(config, limiter, clock=clock) as client:
        context = SyncContext(
            client,
            ledger,
            folder,
            report,
            Target(),
            waits=math.inf,
            poll_interval=10,
            in_flight=folder / "notes",
            task="a task",
            run="a run",
        )
        session = sync_type.open(context)
        Sync(
            opened,
            compile_mapper,
            Batcher(BatchLimits(3, 1_000_000)),
            session.delivery,
            people,
            session.changes,
            report,
            session.duplicate,
            client.check_stop,
        ).run()
    people.close()
    report.rejects.close()
    if ledger:
        ledger.record_run({"run": folder.name, "succeeded": True})
        ledger.close()
    assert report.pending == 0
    return report


class Model:
    """Who keeps what, by the first night's order; a person of a profiles sync speaks by one row only."""

    def __init__(self, people: Sequence[tuple[Any, ...]], *, one_row_each: bool) -> None:
        self.owners: dict[tuple[str, str], str] = {}
        self.kept: dict[str, dict[str, set[str]]] = {}
        self.rows: dict[str, int] = {}
        for (email, _), (number, _), (external_id, _) in people:
            self.rows[email] = self.rows.get(email, 0) + 1
            if one_row_each and self.rows[email] > 1:
                continue
            kept = self.kept.setdefault(email, {"phone_number": set(), "external_id": set()})
            for field, value in (("phone_number", number), ("external_id", external_id)):
                if value and self.owners.setdefault((field, value), email) == email:
                    kept[field].add(value)

    def check(self, klaviyo: Emulator) -> None:
        profiles = {profile.get("email"): profile for profile in klaviyo.profiles()}
        assert profiles.keys() == self.kept.keys()
        assert len(klaviyo.profiles()) == len(self.kept)
        for email, kept in self.kept.items():
            for field, values in kept.items():
                found = profiles[email].get(field)
                assert found in values if values else found is None


def given_rows(people: Sequence[tuple[Any, ...]]) -> list[Row]:
    return [(key, *(spelling for _, spelling in person)) for key, person in enumerate(people, 1)]


def nights_of(rows: list[Row], nights: Sequence[tuple[Any, bool]]) -> Iterator[list[Row]]:
    """The rows of the first night, then the same in other orders, and some of them only."""
    yield rows
    for random, is_part in nights:
        later = random.sample(rows, len(rows))
        yield later[: random.randint(1, len(rows))] if is_part else later


def profiles_sync() -> SyncType:
    mapping = {name: name for name in COLUMNS[1:]}
    return ProfilesSync(mapping, ProfileOptions(max_bytes=100_000, match_by="email", phone_region="US"))


def events_sync() -> SyncType:
    mapping = {f"profile.{name}": name for name in COLUMNS[1:]}
    options = ProfileOptions(max_bytes=95_000, match_by="email", phone_region="US")
    return EventsSync(
        mapping,
        EventOptions(
            profile=options, now=NOW, max_bytes=4_900_000, metric="Placed Order", primary_key=("key",)
        ),
    )


@settings(max_examples=25, deadline=None, suppress_health_check=HEALTH)
@given(people=PEOPLE, nights=NIGHTS, size=st.integers(1, 4))
def test_profiles_of_people_who_share_identifiers_stay_their_own(
    klaviyo: Emulator,
    tmp_path_factory: pytest.TempPathFactory,
    people: list[tuple[Any, ...]],
    nights: list[tuple[Any, bool]],
    size: int,
) -> None:
    klaviyo.reset()
    folder = tmp_path_factory.mktemp("nights")
    distinct = list({person[0][0]: person for person in reversed(people)}.values())[::-1]
    model = Model(distinct, one_row_each=True)
    for night, rows in enumerate(nights_of(given_rows(distinct), nights)):
        run(klaviyo, profiles_sync(), Result(rows, size), folder / str(night), folder / "state")
        model.check(klaviyo)


@settings(max_examples=25, deadline=None, suppress_health_check=HEALTH)
@given(people=PEOPLE, size=st.integers(1, 4))
def test_of_several_rows_of_a_person_only_the_first_keeps_anything(
    klaviyo: Emulator,
    tmp_path_factory: pytest.TempPathFactory,
    people: list[tuple[Any, ...]],
    size: int,
) -> None:
    klaviyo.reset()
    folder = tmp_path_factory.mktemp("nights")
    model = Model(people, one_row_each=True)
    for night in range(2):
        report = run(klaviyo, profiles_sync(), Result(given_rows(people), size), folder / str(night), None)
        assert report.skipped == len(people) - len(model.kept)
        model.check(klaviyo)


@settings(max_examples=25, deadline=None, suppress_health_check=HEALTH)
@given(people=PEOPLE, nights=NIGHTS, size=st.integers(1, 4))
def test_events_of_people_who_share_identifiers_are_their_own(
    klaviyo: Emulator,
    tmp_path_factory: pytest.TempPathFactory,
    people: list[tuple[Any, ...]],
    nights: list[tuple[Any, bool]],
    size: int,
) -> None:
    klaviyo.reset()
    folder = tmp_path_factory.mktemp("nights")
    model = Model(people, one_row_each=False)
    for night, rows in enumerate(nights_of(given_rows(people), nights)):
        run(klaviyo, events_sync(), Result(rows, size), folder / str(night), folder / "state")
        model.check(klaviyo)
    counted = [event["profile"]["email"] for event in klaviyo.events()]
    assert {email: counted.count(email) for email in model.rows} == model.rows
