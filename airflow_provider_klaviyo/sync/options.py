"""What a run is asked to do, whatever its sync type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from zoneinfo import ZoneInfo

_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """The parameters that all sync types share, in the types that the run needs.

    The names are those of the operators' parameters, where these need no reading, and so are the defaults.
    ``timeout``, ``poll_interval`` and ``defer_after`` are seconds.
    ``max_rejected`` is a share of the rows (float) or a number of them (int).
    """

    mapping: Mapping[str, str] | None = None
    match_by: str | None = None
    primary_key: Sequence[str] = ()
    only_changes: bool = False
    full_refresh: bool = False
    allow_older_run: bool = False
    state_key: str | None = None
    phone_region: str | None = None
    timezone: tzinfo = _UTC
    names_timezone: bool = False
    drops_invalid: bool = True
    max_rejected: float = 0.01
    is_preview: bool = False
    waits: bool = True
    poll_interval: float = 10
    timeout: float = 21_600
    is_deferrable: bool = False
    defer_after: float = 15
    is_backfill_run: bool = False

    def allows(self, rejected: int, rows_read: int) -> bool:
        """Whether so many rejected rows are within ``max_rejected``."""
        return rejected <= self.max_rejected_rows(rows_read)

    def max_rejected_rows(self, rows_read: int) -> int:
        """How many rows may be rejected: a float is a share of the rows, an int a number."""
        if isinstance(self.max_rejected, int):
            return self.max_rejected
        return int(self.max_rejected * rows_read + 1e-9)
