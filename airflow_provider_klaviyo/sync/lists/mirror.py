"""The list as a mirror of the query: who is in it is on the list, and whom this sync put there and who left is not."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import Member, profiles_now
from airflow_provider_klaviyo.exceptions import KlaviyoSyncFailed, mask
from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.contacts.kept import as_kept
from airflow_provider_klaviyo.records.lists.member import ListMember
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.records.record import Problem, Record, Row
from airflow_provider_klaviyo.state.errors import StateOfAnotherTarget
from airflow_provider_klaviyo.state.keys import person_hash
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.rows import Sent
from airflow_provider_klaviyo.state.tracked import Absent, TrackedPeople
from airflow_provider_klaviyo.sync.changes import Changes, Keyed, OnlyChanges, Unsent
from airflow_provider_klaviyo.sync.contracts import Means
from airflow_provider_klaviyo.sync.delivery.preview import PathOf, PreviewDelivery
from airflow_provider_klaviyo.sync.delivery.settling import stopped
from airflow_provider_klaviyo.sync.engine import Delivery
from airflow_provider_klaviyo.sync.in_flight.notes import InFlight
from airflow_provider_klaviyo.sync.lists.members import CHANGED, STILL_NAMED, Find, MemberFinder
from airflow_provider_klaviyo.sync.lists.removals import NOT_ON_LIST, RemovalDelivery, Removals, remover
from airflow_provider_klaviyo.sync.lists.sync_type import AddToList
from airflow_provider_klaviyo.sync.lists.target import ListTarget
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled
from airflow_provider_klaviyo.sync.report import SyncReport

log = logging.getLogger(__name__)

_ALWAYS = 10
"""So many removals a share always permits: of a list of five, one is a fifth."""


@dataclass(frozen=True, slots=True)
class MirrorRules:
    """When people may be removed; the names are those of the operator's parameters.

    :param allows: whether so many rejected rows, of so many, are within ``max_rejected``.
    """

    max_removals: float | None
    allow_empty: bool
    full_refresh: bool
    allows: Callable[[int, int], bool]

    def most(self, people: int) -> int | None:
        """How many of so many people may be removed; None for no limit."""
        if self.max_removals is None or isinstance(self.max_removals, int):
            return self.max_removals
        return max(_ALWAYS, int(self.max_removals * people + 1e-9))


class Leaving(msgspec.Struct, array_like=True):
    """Who is to be taken off the list, as any worker can do it: small enough to travel, without a name or an address.

    ``ids`` are Klaviyo's, where they are known; ``held_by`` are rows of the query that named a person before,
    ``people`` is how many a share of removals is a share of, and ``since`` is the last change of the state before the
    run. ``field`` is what people are matched by, and ``unreadable`` are members who do not show it, and so stay.
    """

    persons: list[int]
    held_by: dict[int, tuple[int, ...]]
    people: int
    ids: list[str] = []
    since: int = 0
    field: str = ""
    unreadable: int = 0

    def take(self, absent: Iterable[Absent]) -> None:
        """Add people whom no row names."""
        for person, held_by in absent:
            self.persons.append(person)
            if held_by:
                self.held_by[person] = held_by


class MirrorChanges(OnlyChanges):
    """Tells who is to be added, and notes who is named by any row at all.

    :param full_refresh: permits to start anew over a state that knows people by another identifier.
    """

    def __init__(self, ledger: Ledger, *, full_refresh: bool) -> None:
        super().__init__(ledger)
        self._full_refresh = full_refresh
        self._may_leave = False
        self._chunk: Sequence[Record] = ()

    def describe(self, key_columns: Sequence[int], identifier: str) -> None:
        """Remember where the key is, and what identifies people.

        :raises StateOfAnotherTarget: when the state knows people by another identifier: who is one person by an
            address and by a number would be added and removed at once.
        """
        super().describe(key_columns, identifier)
        known_by = self._ledger.people.known_by()
        self._may_leave = known_by == identifier
        if known_by in (None, identifier):
            return
        msg = (
            f"The state knows the people of this mirror by {known_by}, and now they are matched by {identifier}. "
            "Nothing was sent. Set match_by as it was; or run once with full_refresh=True, which starts a new state, "
            "adds everyone and removes nobody; or give this sync a state_key of its own."
        )
        if not self._full_refresh:
            raise StateOfAnotherTarget(msg)
        log.warning("full_refresh starts a new state: people were known by %s before.", known_by)
        self._ledger.restart()

    def keyed(self, rows: Sequence[Row], first: int, records: list[Record]) -> Keyed:
        """Sort out rows without a primary key, or with that of an earlier row: these name people, too."""
        self._chunk = records
        return super().keyed(rows, first, records)

    def overruled(self, records: Sequence[Record]) -> None:
        """Whom these rows name is added by another row; whom they named before may leave."""
        self._ledger.move(self._sent(records), is_acknowledged=False)

    def unsent(self, records: list[Record]) -> Unsent:
        """New and changed rows, and those without a verdict or with a bad one."""
        unsent = super().unsent(records)
        if not self._may_leave:
            return unsent
        changed = {record.number for record in unsent.records}
        known = {record.number for record in records if record.number not in changed}
        self._ledger.people.name(
            [self._person(record) for record in self._chunk if record.number not in known]
        )
        return unsent

    def _sent(self, records: Sequence[Record]) -> list[Sent]:
        return [Sent(record.key, 0, self._person(record)) for record in records]

    def _person(self, record: Record) -> int:
        return record.person or person_hash(record.named(self._identifier))


class MirrorPreview(PreviewDelivery):
    """Shows what would be added, and has the state of this preview know it, so that who would leave can be counted."""

    def __init__(self, path_of: PathOf, sync_type: MirrorList) -> None:
        super().__init__(path_of, sync_type.bodies)
        self._sync_type = sync_type

    def send(self, batch: Sequence[Record]) -> None:
        """Count a batch, and write down the first requests that it would take."""
        super().send(batch)
        if self._sync_type.ledger:
            state = self._sync_type.acknowledgements(self._sync_type.ledger)
            state.settle(state.send(batch))


class MirrorList(AddToList):
    """Adds who is new, and in the end removes whom this sync once added and who left the query.

    Members whom somebody else put on the list are never touched.
    """

    mode = "mirror"
    falls_back = False  # a person known by an address one night and by a number the next would be two
    keeps_state = True
    keeps_identity = True

    def __init__(
        self,
        list_target: ListTarget,
        mapping: Mapping[str, str] | None,
        options: ProfileOptions,
        rules: MirrorRules,
    ) -> None:
        super().__init__(list_target, mapping, options)
        self.rules = rules
        self.ledger: Ledger | None = None
        self._left: Leaving | None = None
        self._people = 0
        self._told: Mapping[str, object] = {}

    def begin(self, means: Means) -> None:
        """Count whom this sync has put on the list, before it puts more."""
        self.ledger = means.ledger
        self._people = _ledger(means).people.count()

    def changes(self, ledger: Ledger | None, *, is_preview: bool) -> Changes:
        """What tells who is to be added."""
        if ledger is None:
            return super().changes(ledger, is_preview=is_preview)
        return MirrorChanges(ledger, full_refresh=self.rules.full_refresh)

    def preview(self, path_of: PathOf) -> Delivery:
        """How a preview shows what would be sent."""
        return MirrorPreview(path_of, self)

    def tell(self) -> Mapping[str, object]:
        """Who left the query, and what became of them."""
        return self._told

    def remember(self, means: Means) -> bytes:
        """Who left the query, for the worker that settles what was sent."""
        return msgspec.msgpack.encode(self._leaving(means))

    def recall(self, remembered: bytes) -> None:
        """Take over what another worker found."""
        self._left = msgspec.msgpack.decode(remembered, type=Leaving)

    def conclude(self, means: Means) -> None:
        """Remove who left, when everybody else has a verdict and the rules permit.

        :raises KlaviyoSyncFailed: when the rules do not permit it; nobody is removed then.
        """
        report = means.report
        leaving = self._left or self._leaving(means)
        gone = self._gone(leaving, _ledger(means))
        self._tell_of(leaving, gone)
        if report.pending and not self._is_preview:
            log.warning(
                "%s people left the query. A retry removes them, once all rows have a verdict.",
                f"{len(gone):,}",
            )
            return
        if gone:
            gone = self._unknown_otherwise(means, leaving, gone)
            self._tell_of(leaving, gone)
        if reason := self._objection(report, len(gone), leaving.people):
            if not self._is_preview:
                raise KlaviyoSyncFailed(reason, report.as_dict())
            log.warning("A run would fail now. %s", reason)
        if self._is_preview:
            is_permitted = not reason and self.rules.allows(report.rejected, report.rows_read)
            report.removed = len(gone) if is_permitted else 0
        elif gone and self._may_remove(report, len(gone)):
            self._remove(means, leaving, gone)

    def _tell_of(self, leaving: Leaving, gone: Sequence[int]) -> None:
        self._told = {"left_the_query": len(gone)}
        if leaving.unreadable:
            self._told = {**self._told, "spared_without_identifier": leaving.unreadable}
            log.warning(
                "%s members of %s show no %s, neither on the list nor by their id, so whether the query names them is "
                "not known: they stay. Take them off by hand, or match by what they have.",
                f"{leaving.unreadable:,}",
                self._list,
                leaving.field,
            )

    # --- who leaves -------------------------------------------------------------------------------------------

    def _leaving(self, means: Means) -> Leaving:
        leaving = Leaving([], {}, self._people)
        for absent in _ledger(means).people.absent():
            leaving.take(absent)
        return leaving

    def _gone(self, leaving: Leaving, ledger: Ledger) -> list[int]:
        """The places of those who leave: rows that named them before have somebody else on the list by now."""
        keys = {key for held_by in leaving.held_by.values() for key in held_by}
        replaced = ledger.people.replaced(list(keys))
        held = {person for person, held_by in leaving.held_by.items() if not replaced.issuperset(held_by)}
        return [place for place, person in enumerate(leaving.persons) if person not in held]

    def _unknown_otherwise(self, means: Means, leaving: Leaving, gone: list[int]) -> list[int]:  # noqa: ARG002
        """Those whom no row names by another identifier, where that is found out before they are looked for."""
        return gone

    # --- whether they may be removed --------------------------------------------------------------------------

    def _objection(self, report: SyncReport, gone: int, people: int) -> str:
        """Why the run must fail and remove nobody; empty when there is no reason."""
        if not report.rows_read and not self.rules.allow_empty:
            return (
                f"The query returned no rows, and a mirror of nothing would be an empty list: nobody was removed "
                f"from {self._list} ({gone:,} people would have been). If the query may be empty, set allow_empty=True."
            )
        most = self.rules.most(people)
        if most is None or gone <= most:
            return ""
        return (
            f"{gone:,} of {people:,} people left the query, and max_removals={self.rules.max_removals} permits "
            f"{most:,}: nobody was removed from {self._list}. {report.accepted:,} people were added. If it is meant, "
            f"run once with max_removals={gone} (None lifts the limit)."
        )

    def _may_remove(self, report: SyncReport, gone: int) -> bool:
        """Whether the run went well enough; where it did not, it fails for that reason."""
        if not self.rules.allows(report.rejected, report.rows_read):
            log.warning(
                "%s people left the query. Too many rows were rejected: nobody is removed.", f"{gone:,}"
            )
            return False
        return True

    # --- removing ---------------------------------------------------------------------------------------------

    def _remove(self, means: Means, leaving: Leaving, gone: Sequence[int]) -> None:
        report, list_id = means.report, self._list_id or ""
        in_flight = InFlight.on(list_id, means)
        delivery = RemovalDelivery(
            means.client,
            Removals(_ledger(means)),
            self._finder(means, leaving, gone),
            remover(means.client, list_id, in_flight),
            self._second_finder(means),
        )
        tally = _Tally(report)
        log.info("%s people left the query: taking them off %s.", f"{len(gone):,}", self._list)
        try:
            for start in range(0, len(gone), self.limits.max_records):
                delivery.send(self._records(leaving, gone[start : start + self.limits.max_records], means))
                tally.take(delivery.settled())
            tally.take(delivery.finish())
        except BaseException as error:
            tally.take(delivery.abandon(stopped(error)))
            raise
        finally:
            delivery.close()
            in_flight.close()
            report.removed = delivery.removed
            self._told = {**self._told, "removed": report.removed, **tally.told()}
            self._tell_of_later(delivery.left_for_later)
        tally.judge()

    def _tell_of_later(self, people: int) -> None:
        if people:
            self._told = {**self._told, "left_for_later": people}
            log.warning(
                "%s people who left the query are still on %s: another task has asked for them to be unsubscribed from "
                "it, and Klaviyo would unsubscribe them from everything if they were off the list by then. A later run "
                "takes them off, when the list shows the outcome or a day has passed.",
                f"{people:,}",
                self._list,
            )

    def _finder(self, means: Means, leaving: Leaving, gone: Sequence[int]) -> Find:
        persons = {leaving.persons[place] for place in gone}
        finder = _LeaverFinder(means.client, self._list_id or "", _ledger(means).people, persons)
        return lambda batch: finder.find(finder.field, batch)

    def _second_finder(self, means: Means) -> Find | None:  # noqa: ARG002 - for the strict one
        return None

    def _records(self, leaving: Leaving, places: Sequence[int], means: Means) -> list[Record]:
        persons = [leaving.persons[place] for place in places]
        identities = _ledger(means).people.identities(persons)
        return [
            ListMember(number=place, row=(), identity=identities[person], body=b"", person=person)
            for place, person in zip(places, persons, strict=True)
        ]


class _LeaverFinder(MemberFinder):
    """Finds who is to be removed, and spares profiles that a row of this run names by what they show.

    A profile with several addresses is found by any of them, and shows one; a list may find it by what it had before.

    :param persons: all who are to be removed.
    """

    def __init__(
        self, client: KlaviyoClient, list_id: str, people: TrackedPeople, persons: Collection[int]
    ) -> None:
        super().__init__(client, list_id)
        self.field = people.known_by() or ""
        self._people = people
        self._persons = persons

    def staying(self, members: Sequence[Member]) -> Mapping[str, Problem]:
        """The ids of those found who show somebody else now, whom a row names; and who show nothing."""
        now = {each.id: each for each in members}
        if self.field != "klaviyo_id":
            now |= dict.fromkeys(now, _NOBODY) | profiles_now(self._client, list(now))
        shown = {each: person_shown(member, self.field) for each, member in now.items()}
        others = {each: person for each, person in shown.items() if person and person not in self._persons}
        named = self._people.named_among(list(others.values())) if others else set()
        return {each: CHANGED for each, person in shown.items() if person is None} | {
            each: STILL_NAMED for each, person in others.items() if person in named
        }


_NOBODY = Member("", None, None, None)


def person_shown(member: Member, field: str) -> int | None:
    """Who a profile is by an identifier, as the state knows people; None where it does not show it."""
    value = member.id if field == "klaviyo_id" else as_kept(field, [getattr(member, field)])[0]
    return person_hash(Identity(field, value)) if value else None


class _Tally:
    """What became of those who were to be removed."""

    def __init__(self, report: SyncReport) -> None:
        self._report = report
        self._reasons: list[str] = []
        self._refused = 0
        self._skipped: Counter[Problem] = Counter()

    def take(self, outcomes: Iterable[Settled]) -> None:
        """Count outcomes."""
        for settled in outcomes:
            for verdict in settled.verdicts:
                if verdict.outcome is Outcome.SKIPPED:
                    self._skipped[verdict.problems[0]] += 1
                elif verdict.outcome is Outcome.REJECTED:
                    self._refused += 1
                    self._reasons.append(mask(verdict.problems[0].reason))

    def told(self) -> Mapping[str, int]:
        """How many were not removed because they were not there, are named by another row, or have changed."""
        spared = {"still_named": self._skipped[STILL_NAMED], "changed_meanwhile": self._skipped[CHANGED]}
        told = {name: people for name, people in spared.items() if people}
        return {"were_not_on_list": self._skipped[NOT_ON_LIST], **told}

    def judge(self) -> None:
        """Fail when somebody could not be removed.

        :raises KlaviyoSyncFailed: naming how many and why.
        """
        if self._refused:
            msg = (
                f"{self._refused:,} people could not be taken off the list ({self._reasons[0]}); "
                f"{self._report.removed:,} were removed. The next run tries again."
            )
            raise KlaviyoSyncFailed(msg, self._report.as_dict())


def _ledger(means: Means) -> Ledger:
    if means.ledger is None:
        msg = "A mirror keeps state."
        raise TypeError(msg)
    return means.ledger
