"""The kinds of entries that there are."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_klaviyo.state.entries.asked import Answered, Asking, Concluded
from airflow_provider_klaviyo.state.entries.entry import Entry, Written
from airflow_provider_klaviyo.state.entries.people import Identified, Leaving, Removed, Shared, Unshared
from airflow_provider_klaviyo.state.entries.rows import Doubt, Failed, Hashed, Job, Moved, Stale, Verdict
from airflow_provider_klaviyo.state.entries.runs import Refresh, Run, TakenOver
from airflow_provider_klaviyo.state.errors import StateUnreadable

_KINDS: Mapping[str, type[Entry]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        Doubt,
        Job,
        Verdict,
        Failed,
        Stale,
        Moved,
        Hashed,
        Leaving,
        Removed,
        Identified,
        Shared,
        Unshared,
        Asking,
        Answered,
        Concluded,
        Refresh,
        TakenOver,
        Run,
    )
}


def read_entry(written: Written) -> Entry:
    """The entry that was written so.

    :raises StateUnreadable: when its kind is one that only later releases know.
    """
    kind = _KINDS.get(written.kind)
    if kind is None:
        msg = (
            f"The state has an entry of the kind {written.kind!r}, which this release does not know: "
            "upgrade the package."
        )
        raise StateUnreadable(msg)
    return kind.read(written)
