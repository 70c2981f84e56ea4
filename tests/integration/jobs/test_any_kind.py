"""Jobs are Klaviyo's, whatever they do: a second kind is delivered, left behind, taken over and settled alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.job_kinds import KINDS
from airflow_provider_klaviyo.client.jobs import JobKind, start_job
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.profile_imports import PROFILE_IMPORTS
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.emulator import Emulator, Fault, Settings
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoTimeout
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.rows import Sent
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.sync.deferral import Deferral
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements, KeptState, NoState
from airflow_provider_klaviyo.sync.delivery.jobs import JobDelivery
from airflow_provider_klaviyo.sync.delivery.no_jobs import NoJobs
from airflow_provider_klaviyo.sync.delivery.resume import settle_open_jobs
from airflow_provider_klaviyo.sync.delivery.spool import Spool
from airflow_provider_klaviyo.sync.outcomes import HandedOver, Settled
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.report import SyncReport
from tests.clocks import JUMPS, JumpingClock
from tests.integration.jobs import suppressions
from tests.integration.jobs.suppressions import SUPPRESSIONS, people, suppressed, suppression

pytestmark = pytest.mark.integration

KEY = "pk_jobs"
HOLDER = Holder("shop", "sync", "monday", -1, 1, "here", 1)


@dataclass
class KlaviyosClock:
    """Klaviyo's time: as much passes as for the client, and nobody sets it."""

    clients: JumpingClock

    def now(self) -> float:
        return 1_790_000_000.0 + self.clients.monotonic()


@dataclass
class Worker:
    """What one process has: a client, and a folder that is gone after it."""

    klaviyo: Emulator
    clock: JumpingClock
    folder: Path

    def client(self, seconds: float | None = None) -> KlaviyoClient:
        return KlaviyoClient(
            KlaviyoConfig(KEY, base_url=self.klaviyo.url),
            RateLimiter(MemoryWindows(), account="test", clock=self.clock),
            clock=self.clock,
            deadline=None if seconds is None else self.clock.monotonic() + seconds,
        )

    def delivery(
        self,
        kind: JobKind = SUPPRESSIONS,
        state: Acknowledgements | None = None,
        *,
        waits: float = math.inf,
        seconds: float | None = None,
    ) -> JobDelivery:
        return JobDelivery(
            self.client(seconds),
            kind,
            Spool(self.folder),
            state or NoState(),
            waits=waits,
            poll_interval=2,
            identifier=lambda: "email",
            drops_invalid=False,
        )

    def ledger(self) -> Ledger:
        return open_ledger(
            store_of(self.folder.parent / "state"), self.folder, {}, writer="test", now=self.clock.now
        )


@pytest.fixture(params=JUMPS)
def clock(request: pytest.FixtureRequest) -> JumpingClock:
    """The client's, which somebody sets while jobs are waited for."""
    return JumpingClock(request.param)


@pytest.fixture
def klaviyo(clock: JumpingClock) -> Iterator[Emulator]:
    settings = Settings(api_key=KEY, job_seconds=5.0, suppression_jobs="tell")
    with suppressions.known(), Emulator(settings, clock=KlaviyosClock(clock)) as emulator:
        yield emulator


NewWorker = Callable[[], Worker]


@pytest.fixture
def worker(klaviyo: Emulator, clock: JumpingClock, tmp_path: Path) -> NewWorker:
    started: list[Worker] = []

    def start() -> Worker:
        folder = tmp_path / f"worker-{len(started)}"
        folder.mkdir()
        started.append(Worker(klaviyo, clock, folder))
        return started[-1]

    return start


def counts(settled: Iterable[Settled]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for each in settled:
        counted["accepted"] += each.accepted
        counted.update(verdict.outcome.value for verdict in each.verdicts)
    return +counted


def sent(delivery: JobDelivery, *batches: list[Record]) -> dict[str, int]:
    """Deliver batches; what became of their records."""
    for batch in batches:
        delivery.send(batch)
    found = counts(delivery.finish())
    delivery.close()
    return found


def test_a_job_of_another_kind_is_started_waited_for_and_settled(
    klaviyo: Emulator, clock: JumpingClock, worker: NewWorker
) -> None:
    began = clock.monotonic()
    assert sent(worker().delivery(), people(1, 2), people(3)) == {"accepted": 3}
    assert 5 <= clock.monotonic() - began < 10
    assert suppressed(klaviyo) == {"p1@shop.io", "p2@shop.io", "p3@shop.io"}
    assert klaviyo.requests("bulk_import_profiles") == []


def test_one_bad_record_does_not_sink_its_batch_whatever_it_is_a_record_of(
    klaviyo: Emulator, worker: NewWorker
) -> None:
    bad = Record(9, (9,), "a#b@shop.io", suppression("a#b@shop.io"))
    delivery = worker().delivery()
    delivery.send([*people(1), bad, *people(2)])
    settled = list(delivery.finish())
    delivery.close()
    assert counts(settled) == {"accepted": 2, "rejected": 1}
    assert [verdict.number for each in settled for verdict in each.verdicts] == [9]


def test_a_cancelled_job_of_another_kind_acknowledges_nobody(klaviyo: Emulator, worker: NewWorker) -> None:
    klaviyo.inject(Fault("job_cancelled", records=1))
    delivery = worker().delivery()
    delivery.send(people(1, 2, 3))
    settled = list(delivery.finish())
    delivery.close()
    assert counts(settled) == {"pending": 3}
    reasons = {
        problem.reason for each in settled for verdict in each.verdicts for problem in verdict.problems
    }
    assert [reason.startswith("suppression job ") for reason in reasons] == [True]


@pytest.mark.parametrize(
    ("batches", "told"),
    [
        ([(1,)], "1 suppression job has no result yet"),
        ([(1,), (2,)], "2 suppression jobs have no result yet"),
    ],
    ids=["one", "two"],
)
def test_what_is_waited_for_in_vain_is_called_by_its_name(
    klaviyo: Emulator, clock: JumpingClock, worker: NewWorker, batches: list[tuple[int, ...]], told: str
) -> None:
    klaviyo.inject(Fault("job_stuck", count=None))
    began = clock.monotonic()
    with pytest.raises(KlaviyoTimeout, match=told):
        sent(worker().delivery(seconds=30), *(people(*numbers) for numbers in batches))
    assert clock.monotonic() - began == 30


@pytest.mark.parametrize("kind", [PROFILE_IMPORTS, SUPPRESSIONS], ids=lambda kind: kind.name)
def test_many_jobs_are_polled_together(klaviyo: Emulator, worker: NewWorker, kind: JobKind) -> None:
    assert sent(worker().delivery(kind), *(people(n) for n in range(1, 31))) == {"accepted": 30}
    polls = klaviyo.requests(kind.newest.endpoint.name)
    by_id = klaviyo.requests(kind.one.name)
    starts = klaviyo.requests(kind.start.name)
    assert len(starts) == 30
    assert polls
    assert len(polls) + len(by_id) < len(starts) / 2


def test_the_more_jobs_are_open_the_rarer_are_looks_while_there_is_more_to_send(
    klaviyo: Emulator, worker: NewWorker
) -> None:
    """A look at many jobs takes a request for each page of them, and Klaviyo may take long for every job."""
    klaviyo.inject(Fault("job_stuck", count=None))
    delivery = worker().delivery(PROFILE_IMPORTS)
    for number in range(1, 251):
        delivery.send(people(number))
    assert 10 <= len(klaviyo.requests(PROFILE_IMPORTS.newest.endpoint.name)) <= 250 / 4
    assert sum(len(told.verdicts) for told in delivery.abandon("enough")) == 250


# --- from one worker to another ---------------------------------------------------------------------------------


@dataclass
class Files:
    folder: Path

    def deferred(self, number: int | None = None) -> Path:
        return self.folder / f"deferred-{number}.json"


def test_what_one_worker_started_another_settles(
    klaviyo: Emulator, worker: NewWorker, tmp_path: Path
) -> None:
    first = worker().delivery(waits=0.0)
    first.send(people(1, 2))
    assert counts(first.finish()) == {}
    klaviyo.inject(Fault("job_cancelled", records=1))
    assert sent(first, people(3, 4)) == {}
    assert [job.profiles for job in first.open_jobs] == [2, 2]
    report = SyncReport("suppressions", "suppress", RejectsFile(tmp_path / "rejects"))
    deferral = Deferral(cast("Any", Files(tmp_path)))
    deferral.save(report, iter(first.handed_over()), 60.0, HOLDER)

    second = worker().delivery()
    note = deferral.load()
    for number, job in enumerate(note.jobs):
        assert job.kind == SUPPRESSIONS.name
        second.take_over(job, deferral.records(number))

    assert counts(second.finish()) == {"accepted": 2, "pending": 2}
    second.close()
    assert len(klaviyo.requests("bulk_suppress_profiles")) == 2


def statuses(ledger: Ledger, *keys: int) -> dict[int, str]:
    return {key: known.status.name for key, known in ledger.look_up(keys).items()}


def test_what_a_killed_worker_started_is_settled_by_the_next_whatever_it_is(
    klaviyo: Emulator, worker: NewWorker
) -> None:
    first = worker()
    with closing(first.ledger()) as ledger:
        delivery = first.delivery(SUPPRESSIONS, KeptState(ledger), waits=0.0)
        assert sent(delivery, people(1, 2)) == {}
        klaviyo.inject(Fault("job_cancelled", records=1))
        delivery = first.delivery(SUPPRESSIONS, KeptState(ledger), waits=0.0)
        assert sent(delivery, people(3)) == {}
        klaviyo.inject(Fault("job_fails", match="p5@shop.io"))
        delivery = first.delivery(PROFILE_IMPORTS, KeptState(ledger), waits=0.0)
        assert sent(delivery, people(4, 5)) == {}
        ledger.compact()

    second = worker()
    with closing(second.ledger()) as ledger:
        assert [job.kind for job in ledger.open_jobs] == [
            SUPPRESSIONS.name,
            SUPPRESSIONS.name,
            PROFILE_IMPORTS.name,
        ]
        settle_open_jobs(second.client(), ledger, 2)
        assert statuses(ledger, 1, 2, 3, 4, 5) == {
            1: "ACKNOWLEDGED",
            2: "ACKNOWLEDGED",
            3: "IN_DOUBT",
            4: "ACKNOWLEDGED",
            5: "FAILED",
        }
        assert ledger.open_jobs == []


def test_jobs_of_several_kinds_that_do_not_end_are_named_together(
    klaviyo: Emulator, clock: JumpingClock, worker: NewWorker
) -> None:
    klaviyo.inject(Fault("job_stuck", count=None))
    first = worker()
    with closing(first.ledger()) as ledger:
        for kind, numbers in ((SUPPRESSIONS, (1,)), (PROFILE_IMPORTS, (2,)), (PROFILE_IMPORTS, (3,))):
            sent(first.delivery(kind, KeptState(ledger), waits=0.0), people(*numbers))
        began = clock.monotonic()
        told = "while 1 suppression job and 2 import jobs of an earlier try have no result yet"
        with pytest.raises(KlaviyoTimeout, match=told):
            settle_open_jobs(first.client(seconds=30), ledger, 2)
        assert clock.monotonic() - began == 30


def test_a_job_without_a_kind_in_the_state_is_a_profile_import(klaviyo: Emulator, worker: NewWorker) -> None:
    first = worker()
    with closing(first.ledger()) as ledger:
        ticket = ledger.mark_in_doubt([Sent(1, 10, 100)])
        job = start_job(first.client(), PROFILE_IMPORTS, PROFILE_IMPORTS.body([suppression("p1@shop.io")]))
        ledger.start(ticket, job.id)
        settle_open_jobs(first.client(), ledger, 2)
        assert statuses(ledger, 1) == {1: "ACKNOWLEDGED"}


def test_a_job_is_taken_over_only_by_a_delivery_of_its_kind(worker: NewWorker) -> None:
    job = HandedOver("j1", 1, 1, 1, 0, 0.0, kind=PROFILE_IMPORTS.name)
    delivery = worker().delivery()
    with pytest.raises(TypeError, match="waits for jobs of the kind profile-suppression-bulk-create-job"):
        delivery.take_over(job, people(1))
    with pytest.raises(
        KlaviyoConfigurationError, match="'segment-job' are not known to this release: upgrade"
    ):
        delivery.take_over(job._replace(kind="segment-job"), people(1))
    delivery.close()


def test_a_delivery_without_jobs_has_none_and_takes_none() -> None:
    assert not NoJobs().open_jobs
    assert not NoJobs().handed_over()
    with pytest.raises(TypeError, match="cannot settle job j1"):
        NoJobs().take_over(HandedOver("j1", 1, 1, 1, 0, 0.0), people(1))


def test_every_kind_is_known_by_its_own_name_and_says_what_a_key_needs() -> None:
    assert {name: kind.name for name, kind in KINDS.items()} == {name: name for name in KINDS}
    assert PROFILE_IMPORTS.scopes == ("lists:read", "lists:write", "profiles:read", "profiles:write")
    assert SUPPRESSIONS.scopes == ("profiles:write", "subscriptions:read", "subscriptions:write")
