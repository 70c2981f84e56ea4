"""A shop in PostgreSQL whose people's consent goes to the emulator, which counts what must never happen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
import pytest

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator
from airflow_provider_klaviyo.sync.contracts import SyncType
from airflow_provider_klaviyo.sync.options import SyncOptions
from airflow_provider_klaviyo.sync.source import rows as source_rows
from airflow_provider_klaviyo.sync.source.rows import RowStream
from airflow_provider_klaviyo.sync.subscriptions.looks import CHECKED_FOR
from airflow_provider_klaviyo.sync.subscriptions.session import SubscriptionsSession
from airflow_provider_klaviyo.sync.subscriptions.sync_type import SubscriptionsSync
from airflow_provider_klaviyo.sync.subscriptions.unsubscribe import PATIENCE
from tests.integration.conftest import Run, ShiftedClock, StartEmulator, hook_by, run_operator
from tests.late import LATE

COLUMNS = (
    "id INTEGER, email TEXT, phone TEXT, email_ok BOOLEAN, sms_ok BOOLEAN, agreed_at TIMESTAMPTZ, born DATE, "
    "first_name TEXT"
)
SQL = "SELECT * FROM people ORDER BY id"
BOTH = {"email": "email", "phone_number": "phone"}
SUBSCRIBE, UNSUBSCRIBE = "bulk_subscribe_profiles", "bulk_unsubscribe_profiles"


class People:
    """The table, reached by the connection ``shop``."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.execute("DROP TABLE IF EXISTS people")
        self.execute(f"CREATE TABLE people ({COLUMNS})")

    def execute(self, sql: str, rows: Sequence[Sequence[object]] = ()) -> None:
        with (
            closing(psycopg.connect(self._uri, autocommit=True)) as connection,
            connection.cursor() as cursor,
        ):
            if rows:
                cursor.executemany(sql, rows)
            else:
                cursor.execute(sql)  # type: ignore[call-overload]

    def add(self, *people: dict[str, object]) -> None:
        for person in people:
            names = ", ".join(person)
            places = ", ".join(["%s"] * len(person))
            self.execute(f"INSERT INTO people ({names}) VALUES ({places})", [list(person.values())])

    def fill(self, count: int) -> list[str]:
        """So many people with an address and a number; returns the addresses."""
        rows = [(n, email_of(n), phone_of(n)) for n in range(1, count + 1)]
        self.execute("INSERT INTO people (id, email, phone) VALUES (%s, %s, %s)", rows)
        return [email for _, email, _ in rows]


def email_of(number: int) -> str:
    return f"p{number}@shop.io"


def phone_of(number: int) -> str:
    return f"+1415555{number:04}"


class KlaviyosClock:
    """The right time, whatever a host's clock says, and what a test lets pass."""

    def __init__(self) -> None:
        self._passed = 0.0

    def now(self) -> float:
        return time.time() + self._passed

    def advance(self, seconds: float) -> None:
        self._passed += seconds


@pytest.fixture
def clock() -> KlaviyosClock:
    """The emulator's clock."""
    return KlaviyosClock()


class Judge:
    """The emulator, and a verdict on everything that was done to people."""

    def __init__(self, klaviyo: Emulator) -> None:
        self.klaviyo = klaviyo
        self.permits_resubscriptions = False
        self.most_messages = 1

    def check(self) -> None:
        if not self.permits_resubscriptions:
            for counted in self.klaviyo.resubscriptions().values():
                assert counted == {"global": 0, "list": 0}
            assert self.klaviyo.incidents() == []
        assert set(self.klaviyo.accidental_unsubscribes().values()) == {0}
        assert max(self.klaviyo.confirmations().values(), default=0) <= self.most_messages


@pytest.fixture
def people(postgres_uri: str, monkeypatch: pytest.MonkeyPatch) -> People:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", postgres_uri)
    return People(postgres_uri)


@pytest.fixture
def judge(start_emulator: StartEmulator, clock: KlaviyosClock) -> Iterator[Judge]:
    """Whatever a test does: nobody is opted back in, or unsubscribed by accident, or asked twice."""
    judge = Judge(
        start_emulator(
            clock=clock, subscription_seconds=0.0, rate_limits="off", toggle_seconds=0.0, keep_bodies=50
        )
    )
    yield judge
    judge.check()


@pytest.fixture
def klaviyo(judge: Judge) -> Emulator:
    return judge.klaviyo


Meanwhile = Callable[[Callable[[], object]], None]


@pytest.fixture
def while_waiting(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Have something happen whenever a request waits for its turn."""
    turn = KlaviyoClient.turn

    def happens(something: Callable[[], object]) -> None:
        def late(*arguments: Any, **more: Any) -> Any:
            something()
            return turn(*arguments, **more)

        monkeypatch.setattr(KlaviyoClient, "turn", late)

    return happens


@pytest.fixture
def before_it_leaves(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Have something happen once, between the look at people and the request."""
    make = SubscriptionsSession._body
    waiting: list[Callable[[], object]] = []

    def late(*arguments: Any) -> bytes:
        while waiting:
            waiting.pop()()
        return make(*arguments)

    monkeypatch.setattr(SubscriptionsSession, "_body", late)
    return waiting.append


class PatientOperator(KlaviyoSyncSubscriptionsOperator):
    """Waits as long as it is told to."""

    patience = PATIENCE
    look_seconds = CHECKED_FOR

    def sync_type(self, options: SyncOptions) -> SyncType:
        """The same, with other bounds."""
        made = super().sync_type(options)
        assert isinstance(made, SubscriptionsSync)
        return replace(made, patience=self.patience, look_seconds=self.look_seconds)


class ConsentSync:
    """Runs the operator over the people.

    ``patience`` is how long a run looks for outcomes in doubt, ``look_seconds`` what a look at people may take.
    """

    def __init__(self) -> None:
        self.patience = PATIENCE
        self.look_seconds = CHECKED_FOR

    def __call__(
        self,
        *,
        run_id: str = "manual",
        try_number: int = 1,
        clock: ShiftedClock | None = None,
        **parameters: Any,
    ) -> Run:
        settings = {
            "task_id": "consent",
            "sql": SQL,
            "sql_conn_id": "shop",
            "mapping": {"email": "email"},
            "mode": "subscribe",
            "poll_interval": 0.2,
            "timeout": 60,
        }
        operator = PatientOperator(**(settings | parameters | LATE))
        operator.patience, operator.look_seconds = self.patience, self.look_seconds
        context: dict[str, Any] = {}
        if clock:
            operator.hook = hook_by(clock)
            context["data_interval_end"] = datetime.now(UTC)  # the scheduler's clock says when a run is due
        return run_operator(operator, run_id=run_id, try_number=try_number, context=context)


@pytest.fixture
def consent_sync(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> ConsentSync:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    return ConsentSync()


def reasons(run: Run) -> dict[object, str]:
    return {line["key"]: line["reason"] for line in run.rejects}


def writes(klaviyo: Emulator) -> int:
    return len(klaviyo.requests(SUBSCRIBE)) + len(klaviyo.requests(UNSUBSCRIBE))


def bodies(klaviyo: Emulator, operation: str) -> list[Any]:
    return [json.loads(request.body) for request in klaviyo.requests(operation) if request.body]


@pytest.fixture
def words(people: People) -> Any:
    """A table of rows in the order in which they are read, all of it text; returns the query."""

    def hold(*rows: dict[str, object]) -> str:
        columns = ("id", "email", "phone", "customer", "email_ok", "sms_ok", "agreed_at")
        people.execute("DROP TABLE IF EXISTS words")
        people.execute(f"CREATE TABLE words (n SERIAL, {' TEXT, '.join(columns)} TEXT)")
        values = [[row.get(name) for name in columns] for row in rows]
        if values:
            places = ", ".join(["%s"] * len(columns))
            people.execute(f"INSERT INTO words ({', '.join(columns)}) VALUES ({places})", values)
        return f"SELECT {', '.join(columns)} FROM words ORDER BY n"

    return hold


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Read so many rows at a time."""

    def of(size: int) -> None:
        monkeypatch.setattr(source_rows, "RowStream", partial(RowStream, chunk_size=size))

    return of


def sent(klaviyo: Emulator, operation: str = SUBSCRIBE) -> set[tuple[str, str]]:
    """Channels and addresses of all requests."""
    names = {"email": "email", "sms": "phone_number"}
    records = profiles_of(klaviyo, operation)
    return {
        (channel, record["attributes"][names[channel]])
        for record in records
        for channel in record["attributes"]["subscriptions"]
    }


def profiles_of(klaviyo: Emulator, operation: str) -> list[Any]:
    """The people of all requests."""
    return [
        record
        for body in bodies(klaviyo, operation)
        for record in body["data"]["attributes"]["profiles"]["data"]
    ]
