"""The list as a mirror of the query: who is in it is on the list, and members who are not in it leave.

Where the members come from is for ``Members`` to say: from the state, which knows whom this sync put on the list
(``tracked_members``), or from the list itself (``strict_members``).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import msgspec

from airflow_provider_klaviyo.exceptions import KlaviyoSyncFailed
from airflow_provider_klaviyo.records.lists.member import ListMemberMapper
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.sync.contracts import Delivery, SyncContext
from airflow_provider_klaviyo.sync.delivery.preview import PathOf, PreviewDelivery
from airflow_provider_klaviyo.sync.delivery.settling import stopped
from airflow_provider_klaviyo.sync.in_flight.notes import InFlight
from airflow_provider_klaviyo.sync.lists.leaving import Leaving, MirrorRules
from airflow_provider_klaviyo.sync.lists.members import Find
from airflow_provider_klaviyo.sync.lists.mirror_changes import MirrorChanges
from airflow_provider_klaviyo.sync.lists.removals import RemovalDelivery, Removals, remover
from airflow_provider_klaviyo.sync.lists.strict_members import StrictMembers
from airflow_provider_klaviyo.sync.lists.sync_type import REMOVALS, AddSession, ListSync
from airflow_provider_klaviyo.sync.lists.tally import Tally
from airflow_provider_klaviyo.sync.lists.tracked_members import TrackedMembers
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.wording import counted

log = logging.getLogger(__name__)


class Members(Protocol):
    """Where a mirror's members come from.

    ``people`` is how many there were before the run: what a share of removals is a share of. ``changes`` tells which
    rows are to be added. Indexes are those of people in a ``Leaving``.
    """

    @property
    def people(self) -> int: ...
    @property
    def changes(self) -> MirrorChanges: ...

    def read_by(self, mapper: ListMemberMapper) -> None:
        """Learn how rows are read."""

    def in_flight(self, list_id: str) -> InFlight | None:
        """The notes of whose unsubscription is on its way, where these are not to be added."""

    def leaving(self, identifier: str) -> Leaving:
        """Whom the query, read to its end, does not name."""

    def without_those_found_otherwise(self, leaving: Leaving, gone: list[int], list_id: str) -> list[int]:
        """The indexes of those whom no row names by another identifier."""

    def finder(self, leaving: Leaving, gone: Sequence[int], list_id: str) -> Find:
        """Finds the profiles of those who are to leave, right before they are removed."""

    def second_finder(self, list_id: str) -> Find | None:
        """The same where Klaviyo has refused to remove some; None where the first one serves."""

    def records(self, leaving: Leaving, indexes: Sequence[int]) -> list[Record]:
        """Those who are to leave."""

    def learn(self, list_id: str) -> None:
        """Read of those who were added what a later run needs to find them."""

    def close(self) -> None:
        """Release what was read."""


@dataclass(frozen=True, slots=True)
class MirrorList(ListSync):
    """Adds who is new, and in the end removes who left the query.

    :param strict: members whom somebody else put on the list leave, too; otherwise these are never touched.
    """

    rules: MirrorRules
    strict: bool = False

    mode: ClassVar = "mirror"

    @property
    def keeps_state(self) -> bool:
        """Whoever left is whom an earlier run has added."""
        return True

    @property
    def keeps_identity(self) -> bool:
        """Whoever left is in no row any more, and is removed by what identified them."""
        return True

    def open(self, context: SyncContext) -> MirrorSession:
        """Begin a run."""
        ledger = _ledger(context)
        kind = StrictMembers.read if self.strict else TrackedMembers
        return MirrorSession(self, context, kind(context, ledger, full_refresh=self.rules.full_refresh))

    def resume(self, context: SyncContext, dumped: bytes) -> MirrorSession:
        """Go on with a run on another worker: who left the query was found there."""
        ledger = _ledger(context)
        kind = StrictMembers if self.strict else TrackedMembers
        members = kind(context, ledger, full_refresh=self.rules.full_refresh)
        return MirrorSession(self, context, members, msgspec.msgpack.decode(dumped, type=Leaving))


class MirrorPreview(PreviewDelivery):
    """Shows what would be added, and has the state of this preview know it, so that who would leave can be counted."""

    def __init__(self, path_of: PathOf, session: MirrorSession) -> None:
        super().__init__(path_of, session._bodies)  # noqa: SLF001 - a part of the session
        self._session = session

    def send(self, batch: Sequence[Record]) -> None:
        """Count a batch, and write down the first requests that it would take."""
        super().send(batch)
        state = self._session.acknowledgements()
        state.settle(state.mark_in_doubt(batch))


class MirrorSession(AddSession):
    """A mirror during one run.

    :param leaving: who left the query, where another worker has found that out.
    """

    falls_back = False  # a person known by an address one night and by a number the next would be two

    def __init__(
        self, sync_type: MirrorList, context: SyncContext, members: Members, leaving: Leaving | None = None
    ) -> None:
        super().__init__(sync_type, context)
        self.changes = members.changes
        self._rules = sync_type.rules
        self._members = members
        self._ledger = _ledger(context)
        self._found = leaving
        self._extras: Mapping[str, object] = {}

    def mapper(self, columns: Sequence[str]) -> ListMemberMapper:
        """The mapper for the columns of a result.

        :raises MappingError: when mapping and columns do not fit.
        """
        mapper = super().mapper(columns)
        self._members.read_by(mapper)
        return mapper

    def delivery(self) -> Delivery:
        """How batches reach Klaviyo."""
        return self._adds(self._members.in_flight(self._list_id))

    def preview(self, path_of: PathOf) -> Delivery:
        """How a preview shows what would be sent."""
        return MirrorPreview(path_of, self)

    def report_extras(self) -> Mapping[str, object]:
        """Who left the query, and what became of them."""
        return self._extras

    def dump(self) -> bytes:
        """Who left the query, for the worker that settles what was sent."""
        return msgspec.msgpack.encode(self._leaving())

    def conclude(self) -> None:
        """Remove who left, when everybody else has a verdict and the rules permit.

        :raises KlaviyoSyncFailed: when the rules do not permit it; nobody is removed then.
        """
        report, is_preview = self._context.report, self._context.is_preview
        leaving = self._found or self._leaving()
        gone = self._gone(leaving)
        self._report_leaving(leaving, gone)
        if report.pending and not is_preview:
            log.warning(
                "%s left the query. A retry removes them, once all rows have a verdict.",
                counted(len(gone), "person", "people"),
            )
            return
        if gone:
            gone = self._members.without_those_found_otherwise(leaving, gone, self._list_id)
            self._report_leaving(leaving, gone)
        if reason := self._objection(report, leaving, gone):
            if not is_preview:
                raise KlaviyoSyncFailed(reason, report.as_dict())
            log.warning("A run would fail now. %s", reason)
        if is_preview:
            is_permitted = not reason and self._rules.allows(report.rejected, report.rows_read)
            report.removed = len(gone) if is_permitted else 0
            return
        if gone and self._may_remove(report, len(gone)):
            self._remove(leaving, gone)
        self._members.learn(self._list_id)

    def close(self) -> None:
        """Forget the members."""
        self._members.close()

    def _report_leaving(self, leaving: Leaving, gone: Sequence[int]) -> None:
        self._extras = {"left_the_query": len(gone)}
        if leaving.unreadable:
            self._extras = {**self._extras, "spared_without_identifier": leaving.unreadable}
            log.warning(
                "%s members of %s show no %s, neither on the list nor by their id, so whether the query names them is "
                "not known: they stay. Take them off by hand, or match by what they have.",
                f"{leaving.unreadable:,}",
                self._list,
                leaving.field,
            )

    # --- who leaves -------------------------------------------------------------------------------------------

    def _leaving(self) -> Leaving:
        return self._members.leaving(self._identifier)

    def _gone(self, leaving: Leaving) -> list[int]:
        """The indexes of those who leave: rows that named them before have somebody else on the list by now.

        A row named ``a@shop.io`` yesterday and ``b@shop.io`` today: while Klaviyo has not taken ``b@``, ``a@`` stays.
        """
        keys = {key for held_by in leaving.held_by.values() for key in held_by}
        replaced = self._ledger.people.replaced(list(keys))
        held = {person for person, held_by in leaving.held_by.items() if not replaced.issuperset(held_by)}
        return [index for index, person in enumerate(leaving.persons) if person not in held]

    # --- whether they may be removed --------------------------------------------------------------------------

    def _objection(self, report: SyncReport, leaving: Leaving, gone: Sequence[int]) -> str:
        """Why the run must fail and remove nobody; empty when there is no reason."""
        if not report.rows_read and not self._rules.allow_empty:
            return (
                f"There are no rows, and a mirror of nothing would be an empty list: nobody was removed from "
                f"{self._list} ({len(gone):,} people would have been). If there may be none, set allow_empty=True."
            )
        before = len(self._ledger.departed(self._context.run) - {leaving.persons[index] for index in gone})
        removals, people = before + len(gone), before + leaving.people
        most = self._rules.most(people)
        if not gone or most is None or removals <= most:
            return ""
        besides = f" {before:,} of them had left it by earlier tries of this run." if before else ""
        if not self._rules.allows(report.rejected, report.rows_read):
            besides += (
                f" Nobody is removed either as long as {report.rejected:,} of {report.rows_read:,} rows are rejected, "
                "which are more than max_rejected allows."
            )
        return (
            f"{removals:,} of {people:,} people left the query, and max_removals={self._rules.max_removals} "
            f"permits {most:,}: nobody was removed from {self._list}. {report.accepted:,} people were added.{besides} "
            f"If it is meant, run once with max_removals={removals} (None lifts the limit)."
        )

    def _may_remove(self, report: SyncReport, gone: int) -> bool:
        """Whether the run went well enough; where it did not, it fails for that reason."""
        if not self._rules.allows(report.rejected, report.rows_read):
            people = counted(gone, "person", "people")
            report.not_done = f"Nobody was removed from {self._list}, and {people} left the query."
            log.warning("Too many rows were rejected. %s", report.not_done)
            return False
        return True

    # --- removing ---------------------------------------------------------------------------------------------

    def _remove(self, leaving: Leaving, gone: Sequence[int]) -> None:
        report, client, list_id = self._context.report, self._context.client, self._list_id
        in_flight = InFlight.on(list_id, self._context)
        delivery = RemovalDelivery(
            client,
            Removals(self._ledger, self._context.run),
            self._members.finder(leaving, gone, list_id),
            remover(client, list_id, in_flight),
            self._members.second_finder(list_id),
        )
        tally = Tally(report)
        self.removed_people = [leaving.persons[index] for index in gone]
        most = min(REMOVALS.max_records, self._sync_type.limits.max_records)
        log.info("%s left the query: taking them off %s.", counted(len(gone), "person", "people"), self._list)
        try:
            for start in range(0, len(gone), most):
                delivery.send(self._members.records(leaving, gone[start : start + most]))
                tally.add(delivery.settled())
            tally.add(delivery.finish())
        except BaseException as error:
            tally.add(delivery.abandon(stopped(error)))
            raise
        finally:
            delivery.close()
            in_flight.close()
            report.removed = delivery.removed
            self._extras = {**self._extras, "removed": report.removed, **tally.report_extras()}
            self._report_later(delivery.left_for_later)
        tally.judge()

    def _report_later(self, people: int) -> None:
        if people:
            self._extras = {**self._extras, "left_for_later": people}
            log.warning(
                "%s people who left the query are still on %s: another task has asked for them to be unsubscribed from "
                "it, and Klaviyo would unsubscribe them from everything if they were off the list by then. A later run "
                "takes them off, when the list shows the outcome or a day has passed.",
                f"{people:,}",
                self._list,
            )


def _ledger(context: SyncContext) -> Ledger:
    if context.ledger is None:
        msg = "A mirror keeps state."
        raise TypeError(msg)
    return context.ledger
