"""Syncs of every type while answers are broken on their way: nothing but our errors, and nothing that is not so.

``KLAVIYO_TESTS_MUTATIONS`` is how many seeds; ``KLAVIYO_TESTS_MUTATIONS_FROM`` the first.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import random
import uuid
from collections.abc import Callable, Collection
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.client.bounded import call_bounded
from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import MAX_EVENT_PROFILE_BYTES, MAX_PROFILE_BYTES
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.emulator import Emulator, Settings
from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.records.events.mapper import EventOptions
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.records.subscriptions.mapper import SubscriptionOptions
from airflow_provider_klaviyo.state.owner import Task
from airflow_provider_klaviyo.sync.environment import Environment
from airflow_provider_klaviyo.sync.events.sync_type import MAX_BYTES, EventsSync
from airflow_provider_klaviyo.sync.lists.leaving import MirrorRules
from airflow_provider_klaviyo.sync.lists.mirror import MirrorList
from airflow_provider_klaviyo.sync.lists.sync_type import AddToList, RemoveFromList
from airflow_provider_klaviyo.sync.lists.target import ListTarget
from airflow_provider_klaviyo.sync.options import SyncOptions
from airflow_provider_klaviyo.sync.profiles.sync_type import ProfilesSync
from airflow_provider_klaviyo.sync.run import SyncRun
from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.subscriptions.sync_type import SubscriptionsSync
from airflow_provider_klaviyo.sync.subscriptions.terms import Terms
from airflow_provider_klaviyo.sync.task_run import TaskRun
from tests.clocks import SleepingClock
from tests.integration.conftest import counts_of
from tests.integration.program import Database
from tests.mutations import MutatingProxy, Mutator

pytestmark = pytest.mark.integration

SEEDS = int(os.environ.get("KLAVIYO_TESTS_MUTATIONS", "42"))
FIRST = int(os.environ.get("KLAVIYO_TESTS_MUTATIONS_FROM", "0"))

PEOPLE = 12
TIMEOUT = 1_800.0
REAL_SECONDS = 60.0
MAPPING = {"email": "email"}
LIST = "VIPs"
QUERY = Query("SELECT id, email FROM customers ORDER BY id")
OPTIONS = SyncOptions(
    mapping=MAPPING,
    primary_key=("id",),
    only_changes=True,
    max_rejected=1.0,
    poll_interval=1.0,
    timeout=TIMEOUT,
)
PROFILE = ProfileOptions(max_bytes=MAX_PROFILE_BYTES)


def email_of(key: int) -> str:
    return f"p{key}@shop.io"


def events(world: World) -> EventsSync:
    person = ProfileOptions(max_bytes=MAX_EVENT_PROFILE_BYTES)
    now = dt.datetime.fromtimestamp(world.clock.now(), dt.UTC)
    options = EventOptions(person, now, MAX_BYTES, metric="Visited", primary_key=("id",))
    return EventsSync(MAPPING | {"properties.key": "id"}, options)


def vips(world: World) -> ListTarget:
    return ListTarget(LIST, None, creates=True, opt_in_process=None, folder=world.storage.list_creation)


def mirror(world: World, *, strict: bool) -> MirrorList:
    rules = MirrorRules(max_removals=None, allow_empty=False, full_refresh=False, allows=OPTIONS.allows)
    return MirrorList(vips(world), MAPPING, PROFILE, rules, strict=strict)


def consent(mode: str) -> SubscriptionsSync:
    return SubscriptionsSync(
        Terms(mode=mode, channels=("email",), list_name=LIST),
        MAPPING,
        SubscriptionOptions(mode, ("email",)),
        only_changes=False,
        waits=math.inf,
    )


TYPES: dict[str, Callable[[World], Any]] = {
    "profiles": lambda _: ProfilesSync(MAPPING, PROFILE),
    "events": events,
    "add": lambda world: AddToList(vips(world), MAPPING, PROFILE),
    "remove": lambda world: RemoveFromList(vips(world), MAPPING, PROFILE),
    "mirror": lambda world: mirror(world, strict=False),
    "strict mirror": lambda world: mirror(world, strict=True),
    "subscribe": lambda _: consent("subscribe"),
    "unsubscribe": lambda _: consent("unsubscribe"),
}


class Access:
    """As much of a ``KlaviyoHook`` as a run needs, by a clock that nobody waits for."""

    names_account = False

    def __init__(self, url: str, key: str, clock: SleepingClock) -> None:
        self._config = KlaviyoConfig(api_key=key, base_url=url, timeout=20.0)
        self._clock = clock

    def get_client(
        self, *, timeout: float | None = None, stop: Callable[[], bool] | None = None
    ) -> KlaviyoClient:
        limiter = RateLimiter(MemoryWindows(), account=uuid.uuid4().hex, clock=self._clock)
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        return KlaviyoClient(self._config, limiter, clock=self._clock, deadline=deadline, stop=stop)

    def check_account(self, client: KlaviyoClient) -> None:
        """Any account will do."""

    def account_id(self, client: KlaviyoClient) -> str:
        return "the only one"


class World:
    """A Klaviyo in which some people are on a list and some have opted out, and a database of others."""

    def __init__(self, name: str, seed: int, folder: Path) -> None:
        self.name = name
        self.seed = seed
        self.clock = SleepingClock()
        self.storage = Storage(folder / "storage")
        self._database = Database(str(folder / "shop.sqlite"))
        chance = random.Random(seed)
        self.klaviyo = Emulator(
            Settings(
                api_key=f"pk_{uuid.uuid4().hex}",
                job_seconds=0.0,
                subscription_seconds=0.0,
                toggle_seconds=0.0,
                rate_limits="off",
                default_opt_in=chance.choice(("double_opt_in", "single_opt_in")),
                import_errors=chance.choice(("full", "pointer", "payload", "crossed")),
            )
        )
        self.keys: set[int] = set()
        with closing(self._database.get_conn()) as database:
            database.execute("CREATE TABLE customers (id INTEGER, email TEXT)")

    def hold(self, keys: Collection[int]) -> None:
        """Have these rows and no others."""
        self.keys = set(keys)
        with closing(self._database.get_conn()) as database:
            database.execute("DELETE FROM customers")
            rows = [(key, email_of(key)) for key in self.keys]
            database.executemany("INSERT INTO customers VALUES (?, ?)", rows)
            database.commit()

    def fill(self) -> None:
        ids = self.klaviyo.add_profiles([{"email": email_of(key)} for key in range(4, PEOPLE + 5)])
        self.list_id = self.klaviyo.add_list(LIST, ids[2:], opt_in_process="single_opt_in")
        self.objectors = {email_of(key) for key in (5, 7, 9)}
        if self.name == "subscribe":
            for key in (5, 7, 9):
                self.klaviyo.set_consent(ids[key - 4], "email", "UNSUBSCRIBED")

    def run(self, url: str, run_id: str) -> tuple[dict[str, Any] | None, KlaviyoError | None]:
        environment = Environment(
            run=TaskRun(Task("shop", "sync"), run_id, due=self.clock.now()),
            storage=self.storage,
            klaviyo=Access(url, self.klaviyo.api_key, self.clock),
            open_source=lambda: RowStream(self._database, QUERY),
            clock=self.clock,
        )
        run = SyncRun(TYPES[self.name](self), OPTIONS, environment)
        try:
            run.execute()
        except KlaviyoError as error:
            return run.summary, error
        return run.summary, None

    def check(self, summary: dict[str, Any]) -> None:
        """Whoever is said to be done is done, and nobody is who objected."""
        counted = counts_of(summary)
        path = summary["rejected_path"]
        lines = [json.loads(line) for line in Path(path).read_text().splitlines()] if path else []
        told = [line for line in lines if line["outcome"] != "warning"]
        listed = {int(line["key"]["id"] if isinstance(line["key"], dict) else line["key"]) for line in told}
        done = counted.get("accepted", 0) + counted.get("unchanged", 0)
        assert len(told) == len(listed) == counted.get("rows_read", 0) - done, (
            "a row without a line, or with two"
        )
        if counted.get("rows_read", 0) == len(self.keys):
            self.check_done({email_of(key) for key in self.keys - listed})

    def check_done(self, people: set[str]) -> None:
        held = {profile["email"] for profile in self.klaviyo.profiles()}
        members = {member["email"] for member in self.klaviyo.members(self.list_id)}
        if self.name in ("profiles", "add", "mirror", "strict mirror"):
            assert people <= held
        if self.name in ("add", "mirror", "strict mirror"):
            assert people <= members
        if self.name in ("remove", "unsubscribe"):
            assert not people & members
        if self.name == "events":
            recorded = [event["properties"]["key"] for event in self.klaviyo.events()]
            assert len(recorded) == len(set(recorded)), "an event counts twice"
            assert {key for key in self.keys if email_of(key) in people} <= set(recorded)
        if self.name == "subscribe":
            assert not people & self.objectors

    def check_consent(self) -> None:
        assert self.klaviyo.incidents() == []
        assert max(self.klaviyo.confirmations().values(), default=0) <= 1


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_broken_answers_make_nothing_but_errors_of_ours(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    world = World(list(TYPES)[seed % len(TYPES)], seed, tmp_path)
    mutate = Mutator(seed, share=chance.choice((0.1, 0.3, 0.6, 0.9)))
    with world.klaviyo, MutatingProxy(world.klaviyo.url, mutate) as proxy:
        world.fill()
        try:
            for first in (1, 3):
                world.hold(range(first, first + PEOPLE))
                began = world.clock.now()
                run = partial(world.run, proxy.url, f"run {first}")
                summary, error = call_bounded(run, seconds=REAL_SECONDS)
                assert world.clock.now() - began < TIMEOUT * 1.5
                if summary is not None:
                    world.check(summary)
                world.check_consent()
            mutate.share = 0.0
            summary, error = world.run(proxy.url, "undisturbed")
            assert error is None
            assert summary is not None
            world.check(summary)
            world.check_consent()
        except BaseException as failure:
            failure.add_note(f"{world.name}, seed {seed}: {mutate.done}")
            raise
