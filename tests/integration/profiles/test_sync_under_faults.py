"""The law of the design under any fault: every row is accounted for, and nothing is lost in silence.

Syncs run against the emulator over a real socket, with a clock that only sleeping moves, so that outages of minutes
take no time.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter
from airflow_provider_klaviyo.emulator import Emulator, Fault, Settings
from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.sync.batching import Batcher, BatchLimits
from airflow_provider_klaviyo.sync.contracts import SyncContext, Target
from airflow_provider_klaviyo.sync.engine import Sync
from airflow_provider_klaviyo.sync.profiles.sync_type import ProfilesSync
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.sync.seen import SeenPeople
from tests.clocks import SleepingClock
from tests.striking import Struck

pytestmark = pytest.mark.integration

IMPORT = "bulk_import_profiles"


@dataclass
class Rows:
    """A result of a query: people of a shop, some of them bad."""

    rows: Sequence[tuple[object, ...]]
    columns = ("id", "email", "tier")
    total = None

    def __iter__(self) -> Iterator[list[tuple[object, ...]]]:
        for start in range(0, len(self.rows), 40):
            yield list(self.rows[start : start + 40])


@dataclass
class Outcome:
    report: SyncReport
    error: BaseException | None
    lines: list[dict[str, Any]]
    seconds: float

    def check_the_law(self) -> None:
        report = self.report
        counted = report.accepted + report.unchanged + report.skipped + report.rejected + report.pending
        assert report.rows_read == counted
        assert report.pending >= 0
        by_outcome = Counter(line["outcome"] for line in self.lines)
        assert by_outcome["rejected"] == report.rejected
        assert by_outcome["skipped"] == report.skipped
        assert by_outcome["pending"] == report.pending
        keys = [line["row_number"] for line in self.lines if line["outcome"] != "warning"]
        assert len(keys) == len(set(keys)), "a row has two verdicts"


def run(
    emulator: Emulator,
    rows: Sequence[tuple[object, ...]],
    folder: Path,
    seconds: float = 3_600,
    rejects: Callable[[Path], Any] = lambda path: path,
    kind: type[Rows] = Rows,
    within: Callable[[Callable[[], None]], None] = lambda work: work(),
) -> Outcome:
    """A profiles sync in batches of 50.

    :param within: runs it.
    """
    clock = SleepingClock()
    config = KlaviyoConfig(emulator.api_key, base_url=emulator.url, timeout=10)
    limiter = RateLimiter(MemoryWindows(), account="test", share=1.0, clock=clock)
    started = clock.monotonic()
    folder.mkdir()
    path = folder / "rejects.jsonl"
    sync_type = ProfilesSync(
        {"external_id": "id", "email": "email", "properties.tier": "tier"}, ProfileOptions(max_bytes=100_000)
    )
    report = SyncReport("profiles", "upsert", RejectsFile(rejects(path)))
    error: BaseException | None = None

    def compile_mapper(columns: Sequence[str]) -> Any:
        report.rejects.describe(columns, [0])
        return session.mapper(columns)

    @contextmanager
    def opened() -> Iterator[Rows]:
        yield kind(rows)

    with KlaviyoClient(config, limiter, clock=clock, deadline=started + seconds) as client:
        people = SeenPeople(folder)
        notes = folder / "in-flight"
        context = SyncContext(
            client,
            None,
            folder,
            report,
            Target(),
            waits=math.inf,
            poll_interval=10,
            in_flight=notes,
            task="a task",
            run="a run",
        )
        session = sync_type.open(context)
        sync = Sync(
            opened,
            compile_mapper,
            Batcher(BatchLimits(50, 1_000_000)),
            session.delivery,
            people,
            session.changes,
            report,
            session.duplicate,
            client.check_stop,
        )
        try:
            within(sync.run)
        except (KlaviyoError, Struck) as caught:
            error = caught
        people.close()
    report.rejects.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return Outcome(report, error, lines, clock.now() - started)


def people(count: int) -> list[tuple[object, ...]]:
    return [(n, f"p{n}@shop.io", "gold") for n in range(1, count + 1)]


@pytest.fixture
def klaviyo() -> Iterator[Emulator]:
    with Emulator(Settings(job_seconds=0.0, rate_limits="off")) as emulator:
        yield emulator


def test_klaviyo_is_down_for_two_minutes_in_the_middle(klaviyo: Emulator, tmp_path: Path) -> None:
    klaviyo.inject(Fault("status", None, status=503, body="html", skip=6, count=30))
    outcome = run(klaviyo, people(1_000), tmp_path / "run")
    assert outcome.error is None
    assert outcome.seconds > 120
    assert outcome.report.accepted == klaviyo.count() == 1_000
    outcome.check_the_law()


def test_an_outage_that_outlasts_the_timeout_leaves_rows_pending_and_the_next_run_sends_them(
    klaviyo: Emulator, tmp_path: Path
) -> None:
    fault = klaviyo.inject(Fault("status", IMPORT, status=502, body="html", skip=3, count=None))
    outcome = run(klaviyo, people(500), tmp_path / "run", seconds=600)
    assert isinstance(outcome.error, KlaviyoError)
    assert outcome.report.pending > 0
    outcome.check_the_law()
    klaviyo.remove_fault(fault)
    assert run(klaviyo, people(500), tmp_path / "again").report.accepted == klaviyo.count() == 500


class InterruptedFile:
    """A rejects file in the writing of which the interruption comes: before or after a line is written."""

    def __init__(self, path: Path, line: int, is_before: bool) -> None:
        self._path, self._line, self._is_before, self._lines = path, line, is_before, 0
        self.parent = path.parent

    def __str__(self) -> str:
        return str(self._path)

    def open(self, mode: str) -> Any:
        self._file = self._path.open(mode)
        return self

    def write(self, line: bytes) -> None:
        self._lines += 1
        if self._lines == self._line and self._is_before:
            raise Struck
        self._file.write(line)
        if self._lines == self._line:
            raise Struck

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("line", [1, 2, 7, 20, 150, 200, 260])
def test_a_timeout_while_a_row_is_written_down_leaves_every_row_explained_once(
    klaviyo: Emulator, tmp_path: Path, line: int, is_before: bool
) -> None:
    """Lines are of rejected rows, of warnings, of duplicates, and of rows that Klaviyo's jobs failed."""
    kinds = {0: "nobody", 1: "P1@shop.io"}
    rows = [(n, kinds.get(n % 7, f"p{n}@shop.io"), float("nan") if n % 7 == 2 else None) for n in range(600)]
    klaviyo.inject(Fault("job_fails", records=5, count=None))
    outcome = run(
        klaviyo, rows, tmp_path / "run", rejects=lambda path: InterruptedFile(path, line, is_before)
    )
    assert isinstance(outcome.error, Struck)
    outcome.check_the_law()
    assert outcome.report.pending > 0


@pytest.mark.parametrize("chunk", [0, 1, 9])
def test_a_timeout_between_two_chunks_leaves_every_row_explained(
    klaviyo: Emulator, tmp_path: Path, chunk: int
) -> None:
    class Interrupting(Rows):
        def __iter__(self) -> Iterator[list[tuple[object, ...]]]:
            for number, rows in enumerate(super().__iter__()):
                if number == chunk:
                    raise Struck
                yield rows

    outcome = run(klaviyo, people(600), tmp_path / "run", kind=Interrupting)
    assert isinstance(outcome.error, Struck)
    outcome.check_the_law()
    assert outcome.report.rows_read == chunk * 40


KINDS = [
    Fault("status", None, status=429, retry_after=2),
    Fault("status", None, status=500),
    Fault("status", None, status=502, body="html"),
    Fault("status", None, status=503, body="empty"),
    Fault("reset_before", None),
    Fault("reset_after", None),
    Fault("not_json", None, body="html"),
    Fault("slow", None, seconds=0.05),
    Fault("pointers_one", IMPORT),
    Fault("pointers_none", IMPORT),
    Fault("refuse_records", IMPORT, match="p7", count=None),
    Fault("job_fails", IMPORT, records=7),
    Fault("job_cancelled", IMPORT, records=5),
]


LOSE_ANSWERS = {"reset_after", "not_json"}
"""What was stored without our hearing of it may be rejected when it is sent again."""


def random_faults(dice: random.Random) -> Iterator[Fault]:
    for _ in range(dice.randint(1, 5)):
        kind = dice.choice(KINDS)
        count = None if kind.count is None else dice.randint(1, 4)
        yield Fault(
            kind.kind,
            kind.operation,
            count=count,
            skip=dice.randint(0, 12),
            status=kind.status,
            retry_after=kind.retry_after,
            body=kind.body,
            seconds=kind.seconds,
            match=kind.match,
            records=kind.records,
            probability=dice.choice([1.0, 0.5]),
            seed=dice.randint(0, 99),
        )


def random_rows(dice: random.Random) -> list[tuple[object, ...]]:
    rows = people(dice.randint(1, 600))
    for place in range(len(rows)):
        throw = dice.random()
        if throw < 0.03:
            rows[place] = (None, "nobody", None)
        elif throw < 0.05:
            rows[place] = (rows[place][0], f"P1@SHOP.IO{' ' * dice.randint(0, 1)}", "dup")
        elif throw < 0.07:
            rows[place] = (rows[place][0], rows[place][1], float("nan"))
    return rows


@pytest.mark.parametrize("seed", range(25))
def test_under_random_faults_every_row_has_its_verdict_and_what_is_accepted_is_stored(
    klaviyo: Emulator, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    rows = random_rows(dice)
    faults = list(random_faults(dice))
    for fault in faults:
        klaviyo.inject(fault)
    outcome = run(klaviyo, rows, tmp_path / "run")
    outcome.check_the_law()
    told = {line["row_number"]: line["outcome"] for line in outcome.lines if line["outcome"] != "warning"}
    read = rows[: outcome.report.rows_read]  # a run that ends early does not read on
    accepted = {str(row[1]).strip().lower() for n, row in enumerate(read, 1) if n not in told}
    stored = {profile.get("email") for profile in klaviyo.iter_profiles()}
    assert accepted <= stored
    assert len(accepted) == outcome.report.accepted
    if (
        outcome.error is None
        and not outcome.report.pending
        and not LOSE_ANSWERS & {str(f.kind) for f in faults}
    ):
        assert accepted == stored - {None}
    klaviyo.clear_faults()
    again = run(klaviyo, rows, tmp_path / "again")
    assert again.error is None
    again.check_the_law()
    assert again.report.pending == 0
