"""The list syncs: people onto a list, off it, or both until it agrees with the query (``list_mirror``)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from airflow_provider_klaviyo.client.endpoints import IMPORT_PROFILES, MAX_REQUEST_BYTES
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import membership_body, profile_reference
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.records.list_member import ListMemberMapper, by_field
from airflow_provider_klaviyo.records.profile import ProfileOptions
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.sync.acknowledgements import Acknowledgements, KeptState, NoState
from airflow_provider_klaviyo.sync.batching import MARGIN, BatchLimits
from airflow_provider_klaviyo.sync.engine import Delivery
from airflow_provider_klaviyo.sync.list_adds import ListAddDelivery, add_bodies
from airflow_provider_klaviyo.sync.list_removals import MemberFinder, RemovalDelivery, remover
from airflow_provider_klaviyo.sync.list_target import ListTarget
from airflow_provider_klaviyo.sync.preview import PathOf, PreviewDelivery
from airflow_provider_klaviyo.sync.report import SyncReport
from airflow_provider_klaviyo.sync.sync_type import Means, SyncType

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
        """The list, once it is known; a preview creates none."""
        return self._list_id

    def prepare(self, client: KlaviyoClient, *, is_preview: bool) -> None:
        """Find the list, or create it.

        :raises KlaviyoConfigurationError: when there is none, or several have the name.
        """
        self._is_preview = is_preview
        self._list_id = self._list.find(client) if is_preview else self._list.obtain(client)

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
    _report: SyncReport | None = None

    def prepare(self, client: KlaviyoClient, *, is_preview: bool) -> None:
        """Find the list; nobody can be taken off one that is not there."""
        self._is_preview, self._client = is_preview, client
        self._list_id = self._list.find(client)
        if self._list_id is None:
            raise KlaviyoConfigurationError(self._list.missing("or create it: nobody is on it"))

    def delivery(self, means: Means) -> Delivery:
        """How batches reach Klaviyo."""
        list_id = self._list_id or ""
        state = self.acknowledgements(means.ledger)
        return RemovalDelivery(means.client, state, self._find, remover(means.client, list_id))

    def preview(self, path_of: PathOf) -> Delivery:
        """How a preview shows what would be sent: it reads who is on the list, and takes nobody off."""
        shown = PreviewDelivery(path_of, lambda batch: [_body([record.identity for record in batch])])
        lock = threading.Lock()

        def show(ids: Sequence[str]) -> None:
            with lock:
                shown.send([Record(0, (), each, b"") for each in ids])

        return RemovalDelivery(self._client, NoState(), self._find, show)

    def begin(self, means: Means) -> None:
        """Remember whom to tell."""
        self._report = means.report

    def close(self) -> None:
        """Tell how many were removed, however the run ended: here that is who was accepted."""
        if self._report:
            self._report.removed = self._report.accepted

    def _find(self, batch: Sequence[Record]) -> Mapping[int, Sequence[str]]:
        finder = MemberFinder(self._client, self._list_id or "")
        found: dict[int, Sequence[str]] = {}
        for field, records in by_field(batch, self._identifier).items():
            found |= finder.find(field, records)
        return found


def _body(ids: Sequence[str]) -> bytes:
    return membership_body([profile_reference(each) for each in ids])
