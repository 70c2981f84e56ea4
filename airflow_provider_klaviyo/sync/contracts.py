"""What the parts of a run are to each other: rows, mappers, deliveries, and what a sync type adds to all of them.

A ``SyncType`` describes a sync and never changes. ``find_target`` says what it sends to, before the first row;
``open`` then makes the ``Session`` that lives as long as the run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.records.record import Mapped, Record, Row
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.sync.batching import BatchLimits
from airflow_provider_klaviyo.sync.changes import Changes, OnlyChanges, SendAll
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements, KeptState, NoState
from airflow_provider_klaviyo.sync.delivery.preview import PathOf
from airflow_provider_klaviyo.sync.delivery.spool import Spool
from airflow_provider_klaviyo.sync.outcomes import HandedOver, OpenJob, Settled
from airflow_provider_klaviyo.sync.report import SyncReport

# --- what the engine works with ---------------------------------------------------------------------------------


class Rows(Protocol):
    """The result of a query, a chunk of rows at a time."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns, as the query gives them."""

    @property
    def total(self) -> int | None:
        """How many rows there are; None where the database does not say."""

    def __iter__(self) -> Iterator[list[Row]]:
        """The rows in the query's order, some at a time; never an empty chunk."""


class Mapper(Protocol):
    """Turns rows into records; compiled for the columns of one result."""

    @property
    def identifier(self) -> str:
        """The field that people are matched by: what a record's ``identity`` is a value of."""

    @property
    def key_columns(self) -> Sequence[int]:
        """The columns that name a row in the rejects file, where no ``primary_key`` is given."""

    @property
    def fields(self) -> Mapping[str, int]:
        """The column that feeds each field of Klaviyo, as a mapping names it."""

    def keep_meanings(self) -> None:
        """Give each record its ``meaning`` from now on, for the fingerprint; without one ``body`` serves."""

    def map(self, rows: Sequence[Row], first: int) -> Mapped:
        """What becomes of some rows; none of them is missing in the result.

        :param first: the number of the first one in the query's result, from 1.
        """


@runtime_checkable
class Dated(Protocol):
    """A mapper of what happened at a time."""

    @property
    def time_columns(self) -> Sequence[int]:
        """The columns that say when."""


class Delivery(Protocol):
    """Brings batches to Klaviyo and tells what became of each record.

    What Klaviyo works off later leaves jobs behind, until each has a verdict; ``NoJobs`` stands for the others. The
    jobs with their records can be handed over, and another delivery of the same sync takes them over and settles them.
    """

    @property
    def open_jobs(self) -> Sequence[OpenJob]:
        """Jobs without a verdict."""

    def handed_over(self) -> Iterable[tuple[HandedOver, Sequence[Record]]]:
        """The open jobs with their records, for a delivery on another worker."""

    def take_over(self, job: HandedOver, records: Sequence[Record]) -> None:
        """Settle a job that another worker started.

        :raises TypeError: when this delivery has no jobs.
        """

    def send(self, batch: Sequence[Record]) -> None:
        """Hand over a batch; blocks while enough requests are in flight.

        :raises KlaviyoError: when an earlier batch met an error that ends the run; ``abandon`` accounts for this one.
        """

    def knows(self, batch: Sequence[Record]) -> bool:
        """Whether a batch was handed over, be it by a ``send`` that raised."""

    def settled(self) -> Iterable[Settled]:
        """What came in since the last call; does not wait."""

    def finish(self) -> Iterable[Settled]:
        """Every verdict that is still to come.

        :raises KlaviyoError: whatever ends the run; ``abandon`` accounts for the rest.
        """

    def abandon(self, reason: str) -> Iterable[Settled]:
        """What became of the records so far, and all others as pending, for ``reason``."""

    def close(self) -> None:
        """Release threads and files; safe to call twice."""


class Hold(Protocol):
    """Keeps records back, on disk, until the last row was read: only then is it known what becomes of them.

    ``needs_every_row`` says that nothing is sent when some rows could not be read.
    """

    @property
    def needs_every_row(self) -> bool: ...

    def keep(self, records: Sequence[Record]) -> None:
        """Take records; they are kept when this has come to its end."""

    def complete(self) -> None:
        """Every row was read."""

    def first(self) -> Sequence[Record]:
        """The first records that are still kept; none at the end."""

    def drop_first(self) -> None:
        """Keep these no longer."""

    def judge(self, records: Sequence[Record]) -> Mapped:
        """What becomes of these."""

    def rest(self) -> Iterator[Sequence[Record]]:
        """The records of rows that nothing was handed out of, each once."""

    def close(self) -> None:
        """Forget everything."""


# --- what a sync type is ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """What a sync sends to.

    :param facts: what a state of the sync is a state of, beside the account, the mode and the key columns.
    :param list_id: the list, where the sync works on one and it is there.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    list_id: str | None = None


@dataclass(frozen=True, slots=True)
class SyncContext:
    """What a session has to work with.

    :param ledger: the state, where the sync keeps one.
    :param scratch: a private folder, gone after the run.
    :param target: what the sync sends to.
    :param waits: seconds for which the run itself waits for Klaviyo's jobs; endless where nobody else does.
    :param poll_interval: seconds between two looks at them.
    :param in_flight: a folder that all syncs share, for notes of what is on its way to Klaviyo (``in_flight``).
    :param task: what others may call the sync.
    :param run: what all tries of a run of it have in common.
    :param is_preview: nothing is written to Klaviyo.
    """

    client: KlaviyoClient
    ledger: Ledger | None
    scratch: Path
    report: SyncReport
    target: Target
    waits: float
    poll_interval: float
    in_flight: Any
    task: str
    run: str
    is_preview: bool = False

    @property
    def spool(self) -> Spool:
        """Where rows wait for their verdict."""
        return Spool(self.scratch)


class SyncType(Protocol):
    """A sync as the user asked for it; frozen, so that any worker may open it.

    ``limits`` are those of its requests. ``endpoints`` are all that a run may call, which a key needs the scopes of.
    ``keeps_state`` is whether state is kept whatever ``only_changes`` says; ``keeps_identity`` whether it holds the
    identifiers themselves, to remove people later. ``is_recorded_once`` says that what Klaviyo has acknowledged can
    no longer be changed, as an event. ``may_change`` are parts of the target over whose change a full refresh keeps
    what the state remembers of people. ``blank_extras`` is what the report file says beside its counts of a run that
    ended before its session began. ``told_parameters`` are its own that the report file names.
    """

    @property
    def name(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def limits(self) -> BatchLimits: ...
    @property
    def endpoints(self) -> Sequence[Endpoint]: ...
    @property
    def keeps_state(self) -> bool: ...
    @property
    def keeps_identity(self) -> bool: ...
    @property
    def is_recorded_once(self) -> bool: ...
    @property
    def may_change(self) -> Collection[str]: ...
    @property
    def blank_extras(self) -> Mapping[str, object]: ...
    @property
    def told_parameters(self) -> Mapping[str, object]: ...

    def find_target(self, client: KlaviyoClient) -> Target:
        """Find out, before the first row, what is sent to; writes nothing."""

    def target_of(self, list_id: str | None) -> Target:
        """The target that this sync has sent to already; stands for ``find_target`` after a deferral."""

    def open(self, context: SyncContext) -> Session:
        """Begin a run; whoever opens a session closes it."""

    def resume(self, context: SyncContext, dumped: bytes) -> Session:
        """Go on with a run whose jobs another worker started, and which ``dump`` tells the rest of."""


class Description:
    """What most sync types share: the base of the frozen ones."""

    __slots__ = ()

    @property
    def keeps_state(self) -> bool:
        """See ``SyncType``."""
        return False

    @property
    def keeps_identity(self) -> bool:
        """See ``SyncType``."""
        return False

    @property
    def is_recorded_once(self) -> bool:
        """See ``SyncType``."""
        return False

    @property
    def may_change(self) -> Collection[str]:
        """See ``SyncType``."""
        return ()

    @property
    def blank_extras(self) -> Mapping[str, object]:
        """See ``SyncType``."""
        return {}

    @property
    def told_parameters(self) -> Mapping[str, object]:
        """See ``SyncType``."""
        return {}

    def find_target(self, client: KlaviyoClient) -> Target:  # noqa: ARG002 - for those that look something up
        """What is sent to; see ``SyncType``."""
        return self.target_of(None)

    def target_of(self, list_id: str | None) -> Target:  # noqa: ARG002 - for those that have a list
        """The target by itself; see ``SyncType``."""
        return Target()

    def open(self, context: SyncContext) -> Session:
        """Begin a run; see ``SyncType``."""
        raise NotImplementedError

    def resume(self, context: SyncContext, dumped: bytes) -> Session:  # noqa: ARG002 - for those that dump something
        """Go on with a run; see ``SyncType``."""
        return self.open(context)


class Session:
    """A sync during one run; used in the order in which its members stand here.

    ``changes`` tells which rows are to be sent, and is there from the beginning. ``target`` is what is sent to by now.
    """

    removed_people: Sequence[int] = ()
    """Hashes of those whom ``conclude`` has taken off a list, or has tried to."""

    duplicate = "another row of this run names the same person, and the first one counts"
    """Why a record is skipped whose ``dedup_key`` occurred before."""

    def __init__(self, sync_type: SyncType, context: SyncContext) -> None:
        self.target = context.target
        self.changes = self._changes(context.ledger, sync_type, is_preview=context.is_preview)
        self._sync_type = sync_type
        self._context = context

    def mapper(self, columns: Sequence[str]) -> Mapper:
        """The mapper for the columns of a result; asked once.

        :raises MappingError: when mapping and columns do not fit.
        """
        raise NotImplementedError

    def hold(self, *, may_meet_more_columns: bool) -> Hold | None:  # noqa: ARG002 - for those whose columns may forbid
        """What records are kept back in until every row was read; None where they are sent as they come.

        :param may_meet_more_columns: whether a later row may have a column that the mapper does not know.
        """
        return None

    def create_target(self) -> None:
        """Make sure that there is what records are sent to; ``target`` is that from then on.

        Asked before the first of them leaves, when all else that can stop a run has been checked, and at the end of a
        good run that had nothing to send; never in a preview.
        """

    def delivery(self) -> Delivery:
        """How batches reach Klaviyo."""
        raise NotImplementedError

    def preview(self, path_of: PathOf) -> Delivery:
        """How a preview shows what would be sent."""
        raise NotImplementedError

    def dump(self) -> bytes:
        """What ``SyncType.resume`` must know of this run on another worker; never a name or an address."""
        return b""

    def conclude(self) -> None:
        """Do what is left when everything that was sent has its verdict."""

    def report_extras(self) -> Mapping[str, object]:
        """What the report file says of this run beside its counts; asked once, at its end."""
        return {}

    def close(self) -> None:
        """Release what the session holds."""

    def acknowledgements(self) -> Acknowledgements:
        """Where a delivery notes what it does."""
        if self._context.ledger is None:
            return NoState()
        return KeptState(
            self._context.ledger,
            with_identity=self._sync_type.keeps_identity,
            overrules=not self._sync_type.is_recorded_once,
        )

    @staticmethod
    def _changes(ledger: Ledger | None, sync_type: SyncType, *, is_preview: bool) -> Changes:
        if ledger is None:
            return SendAll()
        return OnlyChanges(ledger, is_preview=is_preview, is_recorded_once=sync_type.is_recorded_once)
