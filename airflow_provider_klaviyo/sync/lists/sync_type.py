"""The list syncs: people onto a list, or off it; ``mirror`` does both until the list agrees with the query."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from airflow_provider_klaviyo.client.endpoints import (
    ADD_TO_LIST,
    CREATE_LIST,
    GET_LIST,
    GET_LIST_PROFILES,
    GET_LISTS,
    GET_PROFILES,
    IMPORT_PROFILES,
    MAX_REQUEST_BYTES,
    REMOVE_FROM_LIST,
)
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import membership_body, profile_reference
from airflow_provider_klaviyo.client.profile_imports import PROFILE_IMPORTS
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.records.lists.member import ListMemberMapper, by_field
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.sync.batching import MARGIN, BatchLimits
from airflow_provider_klaviyo.sync.contracts import Delivery, Description, Session, SyncContext, Target
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements, KeptState, NoState
from airflow_provider_klaviyo.sync.delivery.preview import PathOf, PreviewDelivery
from airflow_provider_klaviyo.sync.in_flight.notes import InFlight
from airflow_provider_klaviyo.sync.lists.adds import ListAddDelivery, add_bodies
from airflow_provider_klaviyo.sync.lists.members import Looked, MemberFinder
from airflow_provider_klaviyo.sync.lists.removals import RemovalDelivery, Remove, as_noted, remover
from airflow_provider_klaviyo.sync.lists.target import ListTarget

log = logging.getLogger(__name__)

_BYTES = int(MAX_REQUEST_BYTES * (1 - MARGIN))

REMOVALS = BatchLimits(REMOVE_FROM_LIST.max_records, _BYTES)
"""A request's worth at once, so that some are looked up while others are taken off."""

_NOT_YET = "(a list that is not there yet)"


@dataclass(frozen=True, slots=True)
class ListSync(Description):
    """What all list syncs share: the list, and that only identifiers are read.

    :param mapping: ``{Klaviyo field: column}``; None maps by column name.
    """

    list_target: ListTarget
    mapping: Mapping[str, str] | None
    options: ProfileOptions

    name: ClassVar = "list"
    mode: ClassVar = ""
    limits: ClassVar = BatchLimits(IMPORT_PROFILES.max_records, _BYTES)
    endpoints: ClassVar = (
        GET_LISTS,
        GET_LIST,
        CREATE_LIST,
        *PROFILE_IMPORTS.endpoints,
        GET_PROFILES,
        GET_LIST_PROFILES,
        ADD_TO_LIST,
        REMOVE_FROM_LIST,
    )

    def find_target(self, client: KlaviyoClient) -> Target:
        """Look for the list.

        :raises KlaviyoConfigurationError: when there is none and none may be created, or several have the name.
        """
        found = self.list_target.find(client)
        if found is None and not self.list_target.creates:
            raise KlaviyoConfigurationError(self.list_target.missing())
        return self.target_of(found)

    def target_of(self, list_id: str | None) -> Target:
        """A state is that of one list, whatever its name is by now."""
        return Target({"list": list_id or _NOT_YET}, list_id)


@dataclass(frozen=True, slots=True)
class AddToList(ListSync):
    """Puts the people of the query on the list."""

    mode: ClassVar = "add"

    def open(self, context: SyncContext) -> AddSession:
        """Begin a run."""
        return AddSession(self, context)


@dataclass(frozen=True, slots=True)
class RemoveFromList(ListSync):
    """Takes the people of the query off the list; who is not on it is skipped."""

    mode: ClassVar = "remove"
    limits: ClassVar = REMOVALS

    def find_target(self, client: KlaviyoClient) -> Target:
        """Find the list; nobody can be taken off one that is not there.

        :raises KlaviyoConfigurationError: when there is none.
        """
        found = self.list_target.find(client)
        if found is None:
            raise KlaviyoConfigurationError(self.list_target.missing("or create it: nobody is on it"))
        return self.target_of(found)

    def open(self, context: SyncContext) -> RemoveSession:
        """Begin a run."""
        return RemoveSession(self, context)


class ListSession(Session):
    """What the runs of all list syncs share.

    ``falls_back`` is whether a row without the identifier may be known by another one.
    """

    falls_back = True

    def __init__(self, sync_type: ListSync, context: SyncContext) -> None:
        super().__init__(sync_type, context)
        self._list = sync_type.list_target
        self._mapping = sync_type.mapping
        self._options = sync_type.options
        self._identifier = ""

    @property
    def _list_id(self) -> str:
        return self.target.list_id or ""

    def mapper(self, columns: Sequence[str]) -> ListMemberMapper:
        """The mapper for the columns of a result.

        :raises MappingError: when mapping and columns do not fit.
        """
        mapper = ListMemberMapper(columns, self._mapping, self._options, falls_back=self.falls_back)
        self._identifier = mapper.identifier
        left_alone = f" Left alone: {', '.join(mapper.left_alone)}." if mapper.left_alone else ""
        log.info(
            "People are matched by %s, and nothing else of them is sent.%s", mapper.identifier, left_alone
        )
        return mapper

    def create_target(self) -> None:
        """Create the list, if it is not there yet."""
        if self.target.list_id is None:
            self.target = self._sync_type.target_of(self._list.create(self._context.client))

    def acknowledgements(self) -> Acknowledgements:
        """Where a delivery notes what it does: two rows of one person say the same, so neither overrules the other."""
        if self._context.ledger is None:
            return NoState()
        return KeptState(self._context.ledger, with_identity=self._sync_type.keeps_identity, overrules=False)


class AddSession(ListSession):
    """An add to a list during one run."""

    def delivery(self) -> Delivery:
        """How batches reach Klaviyo."""
        return self._adds()

    def preview(self, path_of: PathOf) -> Delivery:
        """How a preview shows what would be sent."""
        return PreviewDelivery(path_of, self._bodies)

    def _adds(self, in_flight: InFlight | None = None) -> ListAddDelivery:
        return ListAddDelivery(
            self._context,
            self._list_id,
            self.acknowledgements(),
            lambda: self._identifier,
            tracks=self._sync_type.keeps_identity,
            in_flight=in_flight,
        )

    def _bodies(self, batch: Sequence[Record]) -> list[bytes]:
        return add_bodies(batch, self._identifier, self.target.list_id or _NOT_YET)


class RemoveSession(ListSession):
    """A removal from a list during one run."""

    def __init__(self, sync_type: ListSync, context: SyncContext) -> None:
        super().__init__(sync_type, context)
        self._in_flight = InFlight.on(self._list_id, context)
        self._delivery: RemovalDelivery | None = None

    def delivery(self) -> Delivery:
        """How batches reach Klaviyo."""
        take_off = remover(self._context.client, self._list_id, self._in_flight)
        return self._made(self.acknowledgements(), take_off)

    def preview(self, path_of: PathOf) -> Delivery:
        """How a preview shows what would be sent: it reads who is on the list, and takes nobody off."""
        shown = PreviewDelivery(path_of, lambda batch: [_body([record.identity for record in batch])])
        lock = threading.Lock()

        def show(ids: Sequence[str]) -> Mapping[str, str]:
            held = {ids[index]: reason for index, reason in self._in_flight.held(as_noted(ids)).items()}
            with lock:
                shown.send([Record(0, (), each, b"") for each in ids if each not in held])
            return held

        return self._made(NoState(), show)

    def close(self) -> None:
        """Count how many were removed, however the run ended."""
        self._in_flight.close()
        if self._delivery:
            self._context.report.removed = self._delivery.removed

    def _made(self, state: Acknowledgements, remove: Remove) -> Delivery:
        self._delivery = RemovalDelivery(self._context.client, state, self._find, remove)
        return self._delivery

    def _find(self, batch: Sequence[Record]) -> Looked:
        finder = MemberFinder(self._context.client, self._list_id)
        parts = [finder.find(field, some) for field, some in by_field(batch, self._identifier).items()]
        ids = {number: found for part in parts for number, found in part.ids.items()}
        return Looked(ids, {number: reason for part in parts for number, reason in part.reasons.items()})


def _body(ids: Sequence[str]) -> bytes:
    return membership_body([profile_reference(each) for each in ids])
