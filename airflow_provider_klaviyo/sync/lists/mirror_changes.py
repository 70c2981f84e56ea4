"""Who is to be added to a mirrored list, and whom any row names."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from airflow_provider_klaviyo.records.record import Record, Row
from airflow_provider_klaviyo.state.errors import StateOfAnotherTarget
from airflow_provider_klaviyo.state.keys import person_hash
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.rows import Sent
from airflow_provider_klaviyo.sync.changes import Keyed, OnlyChanges, Unsent

log = logging.getLogger(__name__)


class MirrorChanges(OnlyChanges):
    """Tells which people are to be added, and notes every person that a row names, be the row sent or not.

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
        """Rows of a person that another row adds. The person that such a row named before may leave.

        Rows 1 and 2 both name ``a@shop.io``, and row 2 named ``b@shop.io`` yesterday: ``a@`` is added once, and ``b@``
        leaves.
        """
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
