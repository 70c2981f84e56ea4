"""What a sync type is: how rows become records, how records reach Klaviyo, and what is kept of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.sync.batching import BatchLimits
from airflow_provider_klaviyo.sync.changes import Changes, OnlyChanges, SendAll
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements, KeptState, NoState
from airflow_provider_klaviyo.sync.delivery.preview import PathOf
from airflow_provider_klaviyo.sync.delivery.spool import Spool
from airflow_provider_klaviyo.sync.engine import Delivery, Hold, Mapper
from airflow_provider_klaviyo.sync.report import SyncReport


@dataclass(frozen=True, slots=True)
class Means:
    """What a run has to work with.

    :param ledger: the state, where the sync keeps one.
    :param scratch: a private folder, gone after the run.
    :param waits: whether the run waits until Klaviyo has settled its jobs.
    :param poll_interval: seconds between two looks at them.
    :param in_flight: a folder that all syncs share, for notes of what is on its way to Klaviyo (``in_flight``).
    :param task: what others may call the sync.
    """

    client: KlaviyoClient
    ledger: Ledger | None
    scratch: Path
    report: SyncReport
    waits: bool
    poll_interval: float
    in_flight: Any
    task: str

    @property
    def spool(self) -> Spool:
        """Where rows wait for their verdict."""
        return Spool(self.scratch)


class SyncType:
    """The base of all sync types; one object serves one run."""

    name: str
    mode: str
    limits: BatchLimits
    duplicate = "another row of this run names the same person, and the first one counts"
    """Why a record is skipped whose ``once`` occurred before."""

    keeps_state = False
    """Whether state is kept whatever ``only_changes`` says."""

    keeps_identity = False
    """Whether the state holds the identifiers themselves, to remove people later."""

    is_recorded_once = False
    """Whether what Klaviyo has acknowledged can no longer be changed, as an event."""

    may_change: Collection[str] = ()
    """Parts of the target over whose change a full refresh keeps what the state remembers of people."""

    @property
    def target(self) -> Mapping[str, str]:
        """What a state of this sync is a state of, beside the account, the mode and the key."""
        return {}

    @property
    def list_id(self) -> str | None:
        """The list that the sync works on, once it is known."""
        return None

    def prepare(self, client: KlaviyoClient, *, is_preview: bool) -> None:
        """Find out what must be known before the first row; writes nothing."""

    def use_list(self, list_id: str | None) -> None:
        """Go on with the list that this sync has sent to already; stands for ``prepare`` after a deferral."""

    def open(self, client: KlaviyoClient) -> None:
        """Make sure that there is what records are sent to.

        Asked before the first of them leaves, when all else that can stop a run has been checked, and at the end of a
        good run that had nothing to send; never in a preview.
        """

    def begin(self, means: Means) -> None:
        """Get ready for the rows of a run."""

    def mapper(self, columns: Sequence[str]) -> Mapper:
        """The mapper for the columns of a result.

        :raises MappingError: when mapping and columns do not fit.
        """
        raise NotImplementedError

    def hold(self, means: Means) -> Hold | None:  # noqa: ARG002 - for those that must know every row
        """What records are kept back in until every row was read; None where they are sent as they come.

        Asked when the mapper is made.
        """
        return None

    def changes(self, ledger: Ledger | None, *, is_preview: bool) -> Changes:
        """What tells which rows are to be sent."""
        if ledger is None:
            return SendAll()
        return OnlyChanges(ledger, is_preview=is_preview, is_recorded_once=self.is_recorded_once)

    def acknowledgements(self, ledger: Ledger | None) -> Acknowledgements:
        """Where a delivery notes what it does."""
        if ledger is None:
            return NoState()
        return KeptState(ledger, with_identity=self.keeps_identity, overrules=not self.is_recorded_once)

    def delivery(self, means: Means) -> Delivery:
        """How batches reach Klaviyo."""
        raise NotImplementedError

    def preview(self, path_of: PathOf) -> Delivery:
        """How a preview shows what would be sent."""
        raise NotImplementedError

    def tell(self) -> Mapping[str, object]:
        """What the report file says of this run beside its counts; asked once, at its end."""
        return {}

    def remember(self, means: Means) -> bytes:  # noqa: ARG002 - for those that have something to say
        """What ``conclude`` must know of this run when another worker does it; never a name or an address."""
        return b""

    def recall(self, remembered: bytes) -> None:
        """Take over what another worker remembered."""

    def conclude(self, means: Means) -> None:
        """Do what is left when everything that was sent has its verdict."""

    def close(self) -> None:
        """Give back what ``begin`` took."""
