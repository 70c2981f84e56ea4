"""What a run is asked to do, whatever its sync type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """The parameters that all sync types share, in the types that the run needs.

    The names are those of the operators' parameters, where these need no reading. ``sql_hook_params`` are for whoever
    makes the database's hook. ``timeout`` and ``poll_interval`` are seconds. ``max_rejected`` is a share of the rows
    (float) or a number of them (int).
    """

    sql: str
    parameters: Mapping[str, Any] | Sequence[Any] | None
    sql_hook_params: Mapping[str, Any]
    reads_only: bool
    mapping: Mapping[str, str] | None
    match_by: str | None
    primary_key: Sequence[str]
    only_changes: bool
    full_refresh: bool
    allow_older_run: bool
    state_key: str | None
    phone_region: str | None
    timezone: tzinfo
    drops_invalid: bool
    max_rejected: float
    is_preview: bool
    waits: bool
    poll_interval: float
    timeout: float
    is_deferrable: bool
    is_backfill_run: bool

    def allows(self, rejected: int, rows_read: int) -> bool:
        """Whether so many rejected rows are within ``max_rejected``."""
        return rejected <= self.max_rejected_rows(rows_read)

    def max_rejected_rows(self, rows_read: int) -> int:
        """How many rows may be rejected: a float is a share of the rows, an int a number."""
        if isinstance(self.max_rejected, int):
            return self.max_rejected
        return int(self.max_rejected * rows_read + 1e-9)
