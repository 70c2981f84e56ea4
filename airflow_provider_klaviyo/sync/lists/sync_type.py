"""The list syncs: people onto a list, off it, or both until it agrees with the query (``list_mirror``)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from airflow_provider_klaviyo.client.endpoints import IMPORT_PROFILES, MAX_REQUEST_BYTES
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import membership_body, profile_reference
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.records.lists.member import ListMemberMapper, by_field
from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.sync.batching import MARGIN, BatchLimits
from airflow_provider_klaviyo.sync.contracts import Means, SyncType
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements, KeptState, NoState
from airflow_provider_klaviyo.sync.delivery.preview import PathOf, PreviewDelivery
from airflow_provider_klaviyo.sync.engine import Delivery
from airflow_provider_klaviyo.sync.in_flight.notes import InFlight
from airflow_provider_klaviyo.sync.lists.adds import ListAddDelivery, add_bodies
from airflow_provider_klaviyo.sync.lists.members import Looked, MemberFinder
from airflow_provider_klaviyo.sync.lists.removals import RemovalDelivery, Remove, as_noted, remover
from airflow_provider_klaviyo.sync.lists.target import ListTarget
from airflow_provider_klaviyo.sync.report import SyncReport

log = logging.getLogger(__name__)

_NOT_YET = "(a list that is not there yet)"


class ListSync(SyncType):
    """What all list syncs share: the list, and that only identifiers are read."""

    name = "list"
    limits = BatchLimits(IMPORT_PROFILES.max_records, int(MAX_REQUEST_BYTES * (1 - MARGIN)))

    def __init__(
        self, list_target: ListTarget, mapping: Mapping[str, str] | None, options: ProfileOptions
    ) -> None:
        self._list = list_target
        self._mapping = mapping
        self._options = options
        self._list_id: str | None = None
        self._identifier = ""
        self._is_preview = False

    @property
    def target(self) -> Mapping[str, str]:
        """A state is that of one list."""
        return {"list": self._list_id or _NOT_YET}

    @property
    def list_id(self) -> str | None:
        """The list, once it is there; a preview creates none."""
        return self._list_id

    def prepare(self, client: KlaviyoClient, *, is_preview: bool) -> None:
        """Look for the list.

        :raises KlaviyoConfigurationError: when there is none and none may be created, or several have the name.
        """
        self._is_preview = is_preview
        self._list_id = self._list.find(client)
        if self._list_id is None and not self._list.creates:
            raise KlaviyoConfigurationError(self._list.missing())

    def use_list(self, list_id: str | None) -> None:
        """Go on with the list that people were put on already, whatever its name is by now."""
        self._list_id = list_id

    def open(self, client: KlaviyoClient) -> None:
        """Create the list, if it is not there yet."""
        self._list_id = self._list_id or self._list.create(client)

    falls_back = True
    """Whether a row without the identifier may be known by another one."""

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

    def acknowledgements(self, ledger: Ledger | None) -> Acknowledgements:
        """Where a delivery notes what it does: two rows of one person say the same, so neither overrules the other."""
        if ledger is None:
            return NoState()
        return KeptState(ledger, with_identity=self.keeps_identity, overrules=False)


class AddToList(ListSync):
    """Puts the people of the query on the list."""

    mode = "add"

    def delivery(self, means: Means) -> Delivery:
        """How batches reach Klaviyo."""
        return ListAddDelivery(means, self, lambda: self._identifier)

    def preview(self, path_of: PathOf) -> Delivery:
        """How a preview shows what would be sent."""
        return PreviewDelivery(path_of, self.bodies)

    def bodies(self, batch: Sequence[Record]) -> list[bytes]:
        """The requests that a batch takes."""
        return add_bodies(batch, self._identifier, self._list_id or _NOT_YET)


class RemoveFromList(ListSync):
    """Takes the people of the query off the list; who is not on it is skipped."""

    mode = "remove"

    _client: KlaviyoClient
    _in_flight: InFlight
    _report: SyncReport | None = None
    _delivery: RemovalDelivery | None = None

    def prepare(self, client: KlaviyoClient, *, is_preview: bool) -> None:
        """Find the list; nobody can be taken off one that is not there."""
        self._is_preview, self._client = is_preview, client
        self._list_id = self._list.find(client)
        if self._list_id is None:
            raise KlaviyoConfigurationError(self._list.missing("or create it: nobody is on it"))

    def delivery(self, means: Means) -> Delivery:
        """How batches reach Klaviyo."""
        take_off = remover(means.client, self._list_id or "", self._in_flight)
        return self._made(self.acknowledgements(means.ledger), take_off)

    def preview(self, path_of: PathOf) -> Delivery:
        """How a preview shows what would be sent: it reads who is on the list, and takes nobody off."""
        shown = PreviewDelivery(path_of, lambda batch: [_body([record.identity for record in batch])])
        lock = threading.Lock()

        def show(ids: Sequence[str]) -> Mapping[str, str]:
            held = {ids[place]: reason for place, reason in self._in_flight.held(as_noted(ids)).items()}
            with lock:
                shown.send([Record(0, (), each, b"") for each in ids if each not in held])
            return held

        return self._made(NoState(), show)

    def _made(self, state: Acknowledgements, remove: Remove) -> Delivery:
        self._delivery = RemovalDelivery(self._client, state, self._find, remove)
        return self._delivery

    def begin(self, means: Means) -> None:
        """Remember whom to tell."""
        self._report = means.report
        self._in_flight = InFlight.on(self._list_id or "", means, is_preview=self._is_preview)

    def close(self) -> None:
        """Tell how many were removed, however the run ended."""
        if self._report:
            self._in_flight.close()
        if self._report and self._delivery:
            self._report.removed = self._delivery.removed

    def _find(self, batch: Sequence[Record]) -> Looked:
        finder = MemberFinder(self._client, self._list_id or "")
        parts = [finder.find(field, some) for field, some in by_field(batch, self._identifier).items()]
        ids = {number: found for part in parts for number, found in part.ids.items()}
        return Looked(ids, {number: reason for part in parts for number, reason in part.reasons.items()})


def _body(ids: Sequence[str]) -> bytes:
    return membership_body([profile_reference(each) for each in ids])
