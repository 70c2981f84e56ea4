"""The summary of a run: what its task returns, and how its counts are named and told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NotRequired, TypedDict

from airflow_provider_klaviyo.wording import counted

OUTCOMES = ("accepted", "unchanged", "skipped", "rejected", "pending")
"""What becomes of rows; these counts of a summary add up to its ``rows_read``."""

COUNTS = ("rows_read", *OUTCOMES, "removed", "warnings")
"""Everything that is counted of rows and people."""


class SyncSummary(TypedDict):
    """What a task returns: small, plain JSON, no rows.

    ``rows_read == accepted + unchanged + skipped + rejected + pending``, all in rows; ``removed`` is people whom a
    mirror or a removal took off a list, ``requests`` what was sent to Klaviyo, ``duration`` seconds. The paths are
    below ``[klaviyo] storage_path``. ``job_ids`` is there when the task did not wait for Klaviyo's jobs,
    ``accepted_earlier`` when earlier tries of the run have sent some of the accepted, ``rows_without_line`` when rows
    that were not sent could not be written down, ``shards`` when it is the sum of so many.
    """

    sync_type: str
    mode: str
    rows_read: int
    accepted: int
    unchanged: int
    skipped: int
    rejected: int
    pending: int
    removed: int
    warnings: int
    requests: int
    duration: float
    list_id: str | None
    rejected_path: str | None
    report_path: str | None
    preview: bool
    job_ids: NotRequired[list[str]]
    accepted_earlier: NotRequired[int]
    rows_without_line: NotRequired[int]
    shards: NotRequired[int]


def told_counts(summary: Mapping[str, Any]) -> Iterator[str]:
    """What is not nothing among the outcomes and what else was counted, in words; the accepted always."""
    for name in COUNTS[1:]:
        count = summary.get(name, 0)
        if name == "warnings":
            if count:
                yield counted(count, "warning")
        elif count or name == "accepted":
            yield f"{count:,} {name}"
