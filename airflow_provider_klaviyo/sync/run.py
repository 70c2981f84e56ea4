"""One run of a sync, from its options to its report; knows nothing of Airflow.

``KlaviyoSyncOperator`` runs it, and so can a program: it takes a ``SyncType``, ``SyncOptions``, and an
``Environment`` that says where it runs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo.client.clock import moment_of, time_of_day
from airflow_provider_klaviyo.client.endpoints import GET_ACCOUNTS, scopes_of
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import (
    KlaviyoConfigurationError,
    KlaviyoError,
    KlaviyoPermissionError,
    KlaviyoRetryableError,
    KlaviyoStopped,
)
from airflow_provider_klaviyo.masking import mask, words_of
from airflow_provider_klaviyo.records.mapping import Columns, find_all
from airflow_provider_klaviyo.state.errors import OlderRun, StateConflict, StateLocked
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.lock import StateLock
from airflow_provider_klaviyo.state.owner import Claim
from airflow_provider_klaviyo.state.storage import in_words
from airflow_provider_klaviyo.state.target import KEYS
from airflow_provider_klaviyo.sync.accounting import Account
from airflow_provider_klaviyo.sync.age import check_age
from airflow_provider_klaviyo.sync.batching import Batcher
from airflow_provider_klaviyo.sync.contracts import (
    Delivery,
    Mapper,
    Session,
    SyncContext,
    SyncType,
    Target,
)
from airflow_provider_klaviyo.sync.deferral import Deferral, Note, delete_abandoned
from airflow_provider_klaviyo.sync.delivery.resume import HURRY, PATIENCE, settle_open_jobs
from airflow_provider_klaviyo.sync.delivery.settling import settle
from airflow_provider_klaviyo.sync.engine import Sync
from airflow_provider_klaviyo.sync.environment import Environment
from airflow_provider_klaviyo.sync.judgement import judge, shortfall
from airflow_provider_klaviyo.sync.opened_state import OpenState, opened_state, state_target
from airflow_provider_klaviyo.sync.options import SyncOptions
from airflow_provider_klaviyo.sync.outcomes import HandedOver
from airflow_provider_klaviyo.sync.rejects import RejectsFile
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.sync.report_file import ReportFile
from airflow_provider_klaviyo.sync.roll import NotingMapper, Roll
from airflow_provider_klaviyo.sync.rows_left import RowsLeft
from airflow_provider_klaviyo.sync.scratch.folder import room_in, scratch_folder
from airflow_provider_klaviyo.sync.seen import SeenPeople
from airflow_provider_klaviyo.sync.source.query import UnsuitableQuery
from airflow_provider_klaviyo.sync.source.source import Source
from airflow_provider_klaviyo.sync.source_doubts import doubts_of
from airflow_provider_klaviyo.sync.summary import SyncSummary

log = logging.getLogger(__name__)

_SETTLE_SECONDS = 300.0
"""What a task that comes back from the triggerer may take to read the verdicts, even when the sync's time is up."""

_SETTLED_BY_ANOTHER = (
    "Another run has gone on with the state of this sync while this task was deferred, and settled its jobs: nothing "
    "is left to be done here. A retry sends what is not acknowledged."
)


_NOTHING, _SENT_BEFORE = "Nothing was sent", "What was sent before the task was deferred has no verdict yet"


class SyncRun:
    """Runs a sync; ``summary`` accounts for it, whenever it is asked for.

    ``open_jobs`` are the jobs that somebody else is to wait for, all of one kind, before ``resume`` is called, on any
    worker.
    """

    def __init__(self, sync_type: SyncType, options: SyncOptions, environment: Environment) -> None:
        self.open_jobs: Sequence[HandedOver] = ()
        self._sync_type = sync_type
        self._options = options
        self._environment = environment
        self._files = environment.storage.files(environment.run.holder)
        self._report = SyncReport(
            sync_type.name,
            sync_type.mode,
            RejectsFile(self._files.rejects),
            preview=options.is_preview,
            waits=options.waits,
            clock=environment.clock,
        )
        self._deadline = environment.clock.monotonic() + options.timeout
        self._file = ReportFile(self._report, self._files, environment.run, sync_type, options)
        self._account = Account(self._report, self._file, environment, sync_type.blank_extras)
        self._waits_its_turn = False
        self._state: OpenState | None = None
        self._lock: StateLock | None = None

    @property
    def summary(self) -> SyncSummary:
        """What became of the rows so far."""
        return self._report.as_dict()

    @property
    def final_report(self) -> Mapping[str, Any] | None:
        """The report of a run that is over (``docs/report.md``); None of one that is not."""
        return self._file.final

    @in_words()
    def execute(self) -> None:
        """Run the sync and write its report, whatever happens.

        :raises Exception: when the run did not do all that it should have done.
        """
        options, report, environment = self._options, self._report, self._environment
        with self._accounted() as stack:
            deferred = self._files.prune(environment.clock.now() - environment.keep_seconds)
            self._file.begin()
            claim = self._claim()
            delete_abandoned(deferred, environment.whereabouts)
            rows = stack.enter_context(closing(environment.open_source()))
            with self._equipped(stack, claim, self._sync_type.find_target) as (client, scratch, target):
                if environment.notice:
                    self._account.notice(environment.notice)
                if state := self._state:
                    self._take_up(client, state)
                    if KEYS not in state.ledger.target:
                        rows.keep_keys(options.primary_key)
                self._sync(self._context(client, scratch, state, target), state, rows)
                if not options.is_preview and (self.open_jobs or not shortfall(report, options)):
                    rows.commit()
        if not self.open_jobs:
            judge(report, options)

    @in_words()
    def resume(self) -> None:
        """Settle what was left to somebody else to wait for, and write the report.

        :raises Exception: when the run did not do all that it should have done.
        """
        deferral = Deferral(self._files)
        try:
            note = deferral.load()
        except BaseException as error:
            self._file.end_wait(f"{type(error).__name__}: {words_of(error)}")
            raise
        rows_left = RowsLeft(deferral, note.jobs)

        def go_on() -> None:
            self._account.rows_left = rows_left
            self._restore(note)

        with self._accounted(go_on) as stack:
            self._resume(stack, deferral, note, rows_left)
        judge(self._report, self._options)

    def _resume(self, stack: ExitStack, deferral: Deferral, note: Note, rows_left: RowsLeft) -> None:
        report = self._report
        target = self._sync_type.target_of(note.counts["list_id"])
        with self._equipped(stack, self._claim(), lambda _: target) as (client, scratch, _):
            state = self._state
            if state and not all(state.ledger.has_open(job.ticket, job.id) for job in note.jobs):
                stack.callback(deferral.delete)  # when its rows have their lines
                raise KlaviyoRetryableError(_SETTLED_BY_ANOTHER)
            context = self._context(client, scratch, state, target, waits=math.inf)
            session = self._account.session = self._sync_type.resume(context, note.dumped)
            delivery = session.delivery()
            rows_left.hand_to(delivery)
            self._account.open_jobs = lambda: delivery.open_jobs
            try:
                settle(rows_left, report, self._account.stopping)
            finally:
                report.open_jobs = list(delivery.open_jobs)
            try:
                self._conclude(session, scratch)
            finally:
                deferral.delete()

    def _restore(self, note: Note) -> None:
        """Go on with what the first part of the run has counted and written; may be done again, until rows are."""
        report, clock = self._report, self._environment.clock
        report.restore(note.counts, note.reasons)
        report.started = min(moment_of(clock, note.started), clock.monotonic())
        report.report_path = str(self._files.report)
        self._file.resume()
        report.rejects.describe(note.columns, note.key)
        report.rejects.resume()
        left = max(note.deadline - clock.now(), _SETTLE_SECONDS)
        self._deadline = clock.monotonic() + min(left, max(self._options.timeout, _SETTLE_SECONDS))

    def _is_to_stop(self) -> bool:
        return self._environment.stop() or bool(self._lock and self._lock.lost)

    @property
    def _is_over(self) -> bool:
        """Whether nobody comes back to this run: no worker when its jobs are done, or the state is free."""
        return not (self.open_jobs or self._waits_its_turn)

    @property
    def _seconds_left(self) -> float:
        return self._deadline - self._environment.clock.monotonic()

    # --- what a run begins with -------------------------------------------------------------------------------

    def _claim(self) -> Claim | None:
        """What gives this run its state; None where the sync keeps none."""
        if not self._keeps_state:
            return None
        # Whom another's rows do not name would be taken off the list.
        is_alone = self._sync_type.keeps_identity
        claim = self._environment.run.claim(self._options.state_key, is_alone=is_alone)
        if self._environment.state_problem:
            raise KlaviyoConfigurationError(self._environment.state_problem)
        return claim

    @property
    def _keeps_state(self) -> bool:
        return self._options.only_changes or self._sync_type.keeps_state

    def _take_up(self, client: KlaviyoClient, state: OpenState) -> None:
        """Settle what earlier runs left, and make sure that this one is not older than the state."""
        if state.lock and (dead := state.lock.taken_from):
            Deferral(self._environment.storage.files(dead)).delete()
        if (run := self._environment.run).try_number > 1:
            state.ledger.go_on(run.run_id, run.map_index)
        self._check_age(state.ledger)
        if not self._options.is_preview:
            patience = HURRY if self._options.full_refresh else PATIENCE
            poll_interval = self._options.poll_interval
            waits = self._options.defer_after if self._defers and self._environment.comes_again else math.inf
            if given_up := settle_open_jobs(
                client, state.ledger, poll_interval, patience=patience, waits=waits
            ):
                self._account.notice(given_up)
            state.ledger.compact_if_grown()
        if self._options.full_refresh:
            state.ledger.refresh(self._environment.run.run_id)

    def _older_run(self) -> str:
        """The id of a run that could not be sent any more after this one; empty where there is none, or no patience."""
        environment = self._environment
        if not environment.comes_again or environment.run.reads_now or not self._keeps_order:
            return ""
        return environment.older_run()

    @property
    def _keeps_order(self) -> bool:
        """Whether an older run after a newer one would turn people back; what is recorded once is never turned back."""
        return not (self._sync_type.is_recorded_once or self._options.allow_older_run)

    def _check_age(self, ledger: Ledger) -> None:
        """Stop a run that would turn people back; a preview only says so.

        :raises OlderRun: when the state has come further.
        """
        if not self._keeps_order:
            return
        try:
            check_age(self._environment.run, ledger.runs)
        except OlderRun as error:
            if not self._options.is_preview:
                raise
            self._account.notice(f"A run would stop now. {error}")

    def _context(
        self,
        client: KlaviyoClient,
        scratch: Path,
        state: OpenState | None,
        target: Target,
        *,
        waits: float | None = None,
    ) -> SyncContext:
        return SyncContext(
            client=client,
            ledger=state.ledger if state else None,
            scratch=scratch,
            report=self._report,
            target=target,
            waits=self._waits if waits is None else waits,
            poll_interval=self._options.poll_interval,
            in_flight=self._environment.storage.in_flight,
            task=self._environment.run.task.default_key,
            run=self._environment.run.name,
            is_preview=self._options.is_preview,
        )

    @property
    def _waits(self) -> float:
        """Seconds for which this run waits itself for Klaviyo's jobs."""
        if self._defers:
            return self._options.defer_after
        return math.inf if self._options.waits else 0.0

    @property
    def _defers(self) -> bool:
        """Whether jobs are left to somebody else to wait for."""
        return self._options.waits and self._options.is_deferrable and not self._options.is_preview

    # --- the run ----------------------------------------------------------------------------------------------

    def _sync(self, context: SyncContext, state: OpenState | None, rows: Source) -> None:
        options, report = self._options, self._report
        session = self._account.session = self._sync_type.open(context)
        people = SeenPeople(context.scratch)
        roll = Roll(context.scratch / "named") if self._keeps_roll else None
        sync = Sync(
            rows=lambda: rows,
            compile_mapper=lambda _: self._mapper(session, rows, roll),
            batcher=Batcher(self._sync_type.limits),
            open_delivery=lambda: self._delivery(session, context),
            people=people,
            changes=session.changes,
            report=report,
            duplicate=session.duplicate,
            check_stop=context.client.check_stop,
            open_hold=lambda: session.hold(may_meet_more_columns=rows.may_meet_more_columns),
            on_stop=self._account.stopping,
        )
        self._account.open_jobs = lambda: sync.delivery.open_jobs
        try:
            try:
                sync.run()
            finally:
                people.close()
            if roll:
                roll.write(self._files.named)
            if self._defers and sync.delivery.open_jobs:
                self._hand_over(sync.delivery, session, state)
                return
        except BaseException as error:
            self.open_jobs = ()
            if sync.delivery.open_jobs:
                sync.abandon(error)
            raise
        self._conclude(session, context.scratch)
        if not options.is_preview and options.allows(report.rejected, report.rows_read):
            # Who waits for the list's id gets it, also when there was nobody to send.
            self._create_target(session, context.ledger)

    def _hand_over(self, delivery: Delivery, session: Session, state: OpenState | None) -> None:
        """Leave the open jobs to somebody else to wait for."""
        deadline = time_of_day(self._environment.clock, self._deadline)
        self._account.count()
        self.open_jobs = Deferral(self._files).save(
            self._report,
            delivery.handed_over(),
            deadline,
            self._environment.run.holder,
            session.dump(),
        )
        if state and state.lock:
            state.lock.hold_until(deadline + _SETTLE_SECONDS)

    @property
    def _keeps_roll(self) -> bool:
        """Whether to note whom the rows name: another shard must not. Of events each is known by itself."""
        return self._environment.run.map_index >= 0 and not self._sync_type.is_recorded_once

    def _conclude(self, session: Session, scratch: Path) -> None:
        """Do what comes last, and note who was taken off the list: another shard must not name them."""
        try:
            session.conclude()
        finally:
            if self._keeps_roll and session.removed_people:
                roll = Roll(scratch / "removed")
                roll.add(session.removed_people)
                roll.write(self._files.removed)

    def _mapper(self, session: Session, rows: Source, roll: Roll | None) -> Mapper:
        columns = rows.columns
        key = find_all(Columns(columns), self._options.primary_key, "primary_key")
        mapper = session.mapper(columns)
        self._report.extra["mapping"] = {
            mask(field): mask(columns[index]) for field, index in mapper.fields.items()
        }
        self._report.rejects.describe(columns, key or mapper.key_columns)
        for doubt in doubts_of(
            rows, mapper, self._sync_type.mode, names_timezone=self._options.names_timezone
        ):
            self._account.notice(doubt)
        session.changes.describe(key, mapper.identifier)
        if session.changes.compares:
            mapper.keep_meanings()
        return NotingMapper(mapper, roll) if roll else mapper

    def _delivery(self, session: Session, context: SyncContext) -> Delivery:
        if self._options.is_preview:
            return session.preview(self._files.preview)
        self._create_target(session, context.ledger)
        return session.delivery()

    def _create_target(self, session: Session, ledger: Ledger | None) -> None:
        """Have what is sent to made, where it is not there yet; the state is that of it from then on."""
        session.create_target()
        if self._report.list_id != session.target.list_id:
            self._show_list(session.target)
        if ledger:
            ledger.become({**ledger.target, **session.target.facts})

    def _show_list(self, target: Target) -> None:
        self._report.list_id = target.list_id
        self._environment.show_list(target.list_id)

    # --- the account of it ------------------------------------------------------------------------------------

    @contextmanager
    def _accounted(self, go_on: Callable[[], None] = lambda: None) -> Iterator[ExitStack]:
        """Within, whatever happens is written into the report, and into the state.

        :param go_on: done first, and again where something broke into it: without it nothing can be written.
        :returns: leaves what was entered on it when everything is written.
        """
        report = self._report
        is_ready = False
        with ExitStack() as stack:
            try:
                go_on()
                is_ready = True
                yield stack
            except KlaviyoPermissionError as error:
                names_account = self._keeps_state or self._environment.klaviyo.names_account
                more = GET_ACCOUNTS.scopes if names_account else ()
                report.error = mask(_with_scopes(error, self._sync_type, more))
                raise type(error)(report.error, status=error.status, errors=error.errors) from error
            except StateLocked as locked:
                if self._environment.comes_again:
                    self._waits_its_turn = True
                    report.extra["notice"] = mask(str(locked))
                else:
                    report.error = f"{type(locked).__name__}: {words_of(locked)}"
                raise
            except KlaviyoStopped as error:
                report.error = f"{type(error).__name__}: {words_of(error)}"
                if not (self._lock and self._lock.lost):
                    raise
                report.error = self._lock.lost
                raise StateConflict(self._lock.lost) from error
            except UnsuitableQuery as error:
                report.error = mask(str(error))
                raise KlaviyoConfigurationError(
                    report.error
                ) from None  # a database may name a column by a cell
            except BaseException as error:
                report.error = f"{type(error).__name__}: {words_of(error)}"
                raise
            finally:
                try:
                    if not is_ready:
                        go_on()
                    self._close()
                finally:  # what is left, where a timeout broke into it
                    self._close()

    def _close(self) -> None:
        """Write down what became of the run, as far as it is not written yet."""
        state = self._state
        remembers = state.ledger if state and state.lock and not self._waits_its_turn else None
        self._account.close(remembers, is_over=self._is_over)

    @contextmanager
    def _equipped(
        self, stack: ExitStack, claim: Claim | None, find_target: Callable[[KlaviyoClient], Target]
    ) -> Iterator[tuple[KlaviyoClient, Path, Target]]:
        """Everything that a run needs besides its rows; its state is ``_state``.

        :param stack: leaves it all.
        """
        klaviyo = self._environment.klaviyo
        folder = stack.enter_context(scratch_folder())
        client = stack.enter_context(klaviyo.get_client(timeout=self._seconds_left, stop=self._is_to_stop))
        self._account.count_from(client)
        self._account.begin()
        with self._nothing_denied():
            klaviyo.check_account(client)
            target = find_target(client)
            self._show_list(target)
            if claim:
                with room_in(folder), in_words():
                    self._state = stack.enter_context(self._opened_state(claim, client, folder, target))
                self._lock = self._state.lock
        with room_in(folder), in_words():
            yield client, folder, target

    @contextmanager
    def _nothing_denied(self) -> Iterator[None]:
        """Within, a run that comes back from the triggerer never says that nothing was sent."""
        try:
            yield
        except KlaviyoError as error:
            if self._account.rows_left:
                error.args = (str(error).replace(_NOTHING, _SENT_BEFORE),)
            raise

    def _opened_state(
        self, claim: Claim, client: KlaviyoClient, scratch: Path, target: Target
    ) -> AbstractContextManager[OpenState]:
        environment, options, sync_type = self._environment, self._options, self._sync_type
        account_id, base_url = environment.klaviyo.account_id(client), client.config.base_url
        return opened_state(
            environment.storage.state(claim.state_key),
            scratch,
            claim,
            state_target(claim, base_url, account_id, sync_type, target, options),
            options,
            sync_type,
            environment.run.holder,
            due=environment.run.due,
            comes_again=environment.comes_again,
            now=environment.clock.now,
            whereabouts=environment.whereabouts,
            older_run=self._older_run,
            has_run_before=environment.has_run_before,
        )


def _with_scopes(error: KlaviyoError, sync_type: SyncType, more: Sequence[str]) -> str:
    scopes = sorted({*scopes_of(sync_type.endpoints), *more})
    return f"{error} The {sync_type.name} sync needs a key with all of: {', '.join(scopes)}."
