"""The run, read from top to bottom: rows, records, batches, outcomes, report."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from airflow_provider_klaviyo.records.record import Flawed, Problem, Record, Row
from airflow_provider_klaviyo.sync.batching import Batcher
from airflow_provider_klaviyo.sync.changes import Changes
from airflow_provider_klaviyo.sync.contracts import Delivery, Hold, Mapper, Rows
from airflow_provider_klaviyo.sync.delivery.no_jobs import NoJobs
from airflow_provider_klaviyo.sync.delivery.settling import Verdicts, in_short, stopped
from airflow_provider_klaviyo.sync.identifiers import FurtherIdentifiers, together
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.sync.seen import SeenPeople
from airflow_provider_klaviyo.sync.source.query import QueryError

log = logging.getLogger(__name__)

_ALLOCATIONS = 100_000

_HELD = ", and nobody is sent before every row is read that can speak of the same person"


class NothingSent(NoJobs):
    """What stands in for a delivery until there is something to send."""

    def send(self, batch: Sequence[Record]) -> None:  # noqa: ARG002 - as the deliveries
        """Refuse: a delivery is to be opened first."""
        msg = "The delivery is not open."
        raise TypeError(msg)

    def knows(self, batch: Sequence[Record]) -> bool:  # noqa: ARG002 - as the deliveries
        """No batch came this far."""
        return False

    def settled(self) -> Iterator[Settled]:
        """Nothing."""
        return iter(())

    def finish(self) -> Iterator[Settled]:
        """Nothing to wait for."""
        return iter(())

    def abandon(self, reason: str) -> Iterator[Settled]:  # noqa: ARG002 - as the deliveries
        """Nothing is in doubt."""
        return iter(())

    def close(self) -> None:
        """Nothing to give back."""


class _Unchanged(NamedTuple):
    """The unchanged rows of a chunk, how many of them an earlier try has sent, and the counts before the chunk."""

    before: int
    numbers: set[int]
    taken_before: int = 0
    taken: int = 0


class Sync:
    """One run of a sync.

    ``delivery`` is what the run sent by.

    :param rows: opens the query's result.
    :param compile_mapper: makes the mapper for the result's columns, or raises when they do not fit.
    :param open_delivery: makes the delivery; asked once, before the first batch is sent, when the query has run and
        its columns fit.
    :param open_hold: makes what records are kept back in, where no row may be sent before the last one was read; asked
        when the mapper is made.
    :param duplicate: why a record is skipped whose ``dedup_key`` occurred before.
    :param check_stop: raises when the run is to stop.
    :param on_stop: told what ends the run early, when the counts are right and before rows have their lines.
    """

    def __init__(
        self,
        rows: Callable[[], AbstractContextManager[Rows]],
        compile_mapper: Callable[[Sequence[str]], Mapper],
        batcher: Batcher,
        open_delivery: Callable[[], Delivery],
        people: SeenPeople,
        changes: Changes,
        report: SyncReport,
        duplicate: str,
        check_stop: Callable[[], None],
        open_hold: Callable[[], Hold | None] = lambda: None,
        on_stop: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self._rows = rows
        self._compile_mapper = compile_mapper
        self._batcher = batcher
        self._open_delivery = open_delivery
        self.delivery: Delivery = NothingSent()
        self._people = people
        self._changes = changes
        self._identifiers = FurtherIdentifiers(people.claims, changes)
        self._report = report
        self._duplicate = duplicate
        self._check_stop = check_stop
        self._open_hold = open_hold
        self._on_stop = on_stop
        self._hold: Hold | None = None
        self._in_hand: tuple[int, Sequence[Row]] = (0, ())
        self._released: Sequence[Record] = ()
        self._is_read = False
        self._reported_in_hand: set[int] = set()
        self._unchanged = _Unchanged(0, set())
        self._verdicts = Verdicts(report)
        self._is_abandoned = False

    def run(self) -> None:
        """Send every row that can be sent; the report has the outcome of each.

        :raises Exception: whatever ended the run early; rows without a verdict are then reported as pending.
        """
        try:
            with _few_collections():
                self._read_and_finish()
        except BaseException as error:
            self.abandon(error)
            raise
        finally:
            self.delivery.close()
            if self._hold:
                self._hold.close()
            self._report.open_jobs = list(self.delivery.open_jobs)

    def _read_and_finish(self) -> None:
        try:
            self._read_all()
        except QueryError:
            if self._hold and not self._hold.needs_every_row:
                self._release(self._hold)
            self._finish()  # the rows that came before the failure are good, but those that are held back
            raise
        if self._hold:
            self._release(self._hold)
        self._finish()

    def _finish(self) -> None:
        self._batcher.finish()
        self._send(())
        self._verdicts.add(self.delivery.finish())

    def _read_all(self) -> None:
        with self._rows() as rows:
            mapper = self._compile_mapper(rows.columns)
            self._hold = self._open_hold()
            self._report.rows_in_all = rows.total
            for chunk in rows:
                self._check_stop()
                self._hand_on(self._mapped(mapper, chunk))
        self._report.rows_in_all = self._report.rows_read
        if not self._report.rows_read:
            log.info("There are no rows: nothing to send.")

    def _mapped(self, mapper: Mapper, chunk: Sequence[Row]) -> list[Record]:
        first = self._report.rows_read + 1
        self._in_hand, self._reported_in_hand = (first, chunk), set()
        self._unchanged = _Unchanged(self._report.unchanged_in_state, set(), self._report.taken_earlier)
        self._report.rows_read = self._last_in_hand
        mapped = mapper.map(chunk, first)
        self._refuse(mapped.rejected, Outcome.REJECTED)
        self._refuse(mapped.skipped, Outcome.SKIPPED)
        records = self._new_people(self._new_keys(chunk, first, mapped.records))
        shared = self._identifiers.sort_out(records, mapped.identifiers, first)
        records = self._unsent(self._without_namesakes(records, shared.namesakes))
        for flaw in together(mapped.warned, shared.warned):
            if flaw.number not in self._reported_in_hand:
                self._report.count(Verdict(flaw.number, flaw.row, Outcome.WARNING, flaw.problems))
        return records

    @property
    def _last_in_hand(self) -> int:
        first, rows = self._in_hand
        return first + len(rows) - 1

    def _new_keys(self, chunk: Sequence[Row], first: int, records: list[Record]) -> list[Record]:
        keyed = self._changes.keyed(chunk, first, records)
        self._refuse(keyed.rejected, Outcome.REJECTED)
        self._refuse(keyed.skipped, Outcome.SKIPPED)
        return keyed.records

    def _new_people(self, records: list[Record]) -> list[Record]:
        repeated = self._people.add([record.dedup_key for record in records])
        return self._without_duplicates(records, [records[index] for index in repeated])

    def _without_namesakes(self, records: list[Record], namesakes: Sequence[Record]) -> list[Record]:
        """Without rows that name a person whom another row names otherwise, where a person has one row."""
        return self._without_duplicates(
            records, [each for each in namesakes if each.dedup_key == each.identity]
        )

    def _without_duplicates(self, records: list[Record], duplicates: Sequence[Record]) -> list[Record]:
        if not duplicates:
            return records
        problem = (Problem("", self._duplicate),)
        self._changes.overruled(duplicates)
        self._refuse([Flawed(each.number, each.row, problem) for each in duplicates], Outcome.SKIPPED)
        gone = {each.number for each in duplicates}
        return [record for record in records if record.number not in gone]

    def _unsent(self, records: list[Record]) -> list[Record]:
        unsent, skipped, taken = self._changes.unsent(records)
        if len(unsent) != len(records):
            reported = {record.number for record in unsent} | {flaw.number for flaw in skipped}
            unchanged = [record for record in records if record.number not in reported]
            self._identifiers.acknowledge(unchanged)
            self._unchanged = _Unchanged(
                self._unchanged.before,
                {record.number for record in unchanged},
                self._unchanged.taken_before,
                len(taken),
            )
            self._count_unchanged()
            self._refuse(skipped, Outcome.SKIPPED)
        return unsent

    def _count_unchanged(self) -> None:
        """Count the chunk's unchanged rows; doing it again changes nothing."""
        unchanged = self._unchanged
        self._report.unchanged_in_state = unchanged.before + len(unchanged.numbers)
        self._report.taken_earlier = unchanged.taken_before + unchanged.taken
        self._reported_in_hand |= unchanged.numbers

    def _hand_on(self, records: Sequence[Record]) -> None:
        if self._hold is None:
            self._send(records)
            return
        self._hold.keep(records)
        self._in_hand = (0, ())

    def _release(self, hold: Hold) -> None:
        """Send what was held back, now that every row was read."""
        hold.complete()
        self._is_read = True
        while records := hold.first():
            self._check_stop()
            self._released, self._reported_in_hand = records, set()
            hold.drop_first()
            judged = hold.judge(records)
            self._refuse(judged.skipped, Outcome.SKIPPED)
            self._send(judged.records)

    def _send(self, records: Sequence[Record]) -> None:
        self._batcher.add(records)
        self._in_hand, self._released = (0, ()), ()
        while full := self._batcher.full:
            self._opened().send(full[0])
            full.popleft()
        self._verdicts.add(self.delivery.settled())

    def _opened(self) -> Delivery:
        if isinstance(self.delivery, NothingSent):
            self.delivery = self._open_delivery()
        return self.delivery

    def _refuse(self, flaws: Sequence[Flawed], outcome: Outcome) -> None:
        for flaw in flaws:
            self._report.count(Verdict(flaw.number, flaw.row, outcome, flaw.problems))
            self._reported_in_hand.add(flaw.number)

    def abandon(self, error: BaseException) -> None:
        """Give every row without a verdict its line, once: those in Klaviyo's hands, and those still in ours.

        The error may have come at any moment: Airflow's timeouts are raised in the midst of whatever is done.
        """
        if self._is_abandoned:
            return
        self._is_abandoned = True
        self._report.rows_read = max(self._report.rows_read, self._last_in_hand)
        self._count_unchanged()
        last = self._report.recover()
        if last and last.outcome in (Outcome.REJECTED, Outcome.SKIPPED):
            self._reported_in_hand.add(last.number)
        self._verdicts.count()
        self._on_stop(error)
        reported = set(self._reported_in_hand)
        for settled in self.delivery.abandon(stopped(error)):
            reported |= {verdict.number for verdict in settled.verdicts if verdict.outcome is Outcome.PENDING}
            self._verdicts.add([settled])
        self._report_unsent(Problem("", f"not sent: the run stopped ({in_short(error)})"), reported)

    def _report_unsent(self, problem: Problem, reported: set[int]) -> None:
        first, rows = self._in_hand
        unsent = [*enumerate(rows, first), *((record.number, record.row) for record in self._released)]
        for batch in self._batcher.rest():
            if not self.delivery.knows(batch):
                unsent += [(each.number, each.row) for record in batch for each in record.originals]
        self._report_pending(dict(unsent), problem, reported)
        if self._hold:
            held_back = problem if self._is_read else problem._replace(reason=f"{problem.reason}{_HELD}")
            reported |= {number for number, _ in unsent}
            for records in self._hold.rest():
                self._report_pending({record.number: record.row for record in records}, held_back, reported)

    def _report_pending(self, rows: Mapping[int, Row], problem: Problem, reported: Container[int]) -> None:
        for number, row in rows.items():
            if number not in reported:
                self._report.count(Verdict(number, row, Outcome.PENDING, (problem,)))


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let Python look for reference cycles less often: rows make none, and looking costs a twentieth of the time."""
    thresholds = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
