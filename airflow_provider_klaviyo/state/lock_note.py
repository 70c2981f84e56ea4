"""What a lock says, and what is said of it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from airflow_provider_klaviyo.state.holder import Holder, Whereabouts
from airflow_provider_klaviyo.state.owner import SHARD_KEY

LIFETIME = 300.0
"""Seconds after which a lock counts as left by the dead; its holder renews it three times as often."""


class LockNote(msgspec.Struct):
    """Who has a lock, and until when; moments are in seconds since the epoch."""

    holder: Holder
    token: str
    since: float
    until: float
    is_deferred: bool = False


BESIDE = (
    "Another instance of this mapped task uses the same state in this very run: {holder}. Nothing was sent. Give each "
    f"a state_key of its own, such as {SHARD_KEY.replace('{', '{{').replace('}', '}}')}."
)
OVERLAP = (
    "Tasks that keep state run one after the other (max_active_tis_per_dag=1) unless the Dag says otherwise, or "
    "several tasks give one state_key."
)


def shown(found: LockNote, where: Whereabouts, path: str) -> str:
    """Why a run does not get a lock that another has, and what to do."""
    since, until = shown_time(found.since), shown_time(found.until)
    waits = " and waits in the triggerer" if found.is_deferred else ""
    what_to_do = f"If that run is dead, its lock ends at {until} by itself, or when you delete {path}."
    if found.is_deferred and where is Whereabouts.AT_WORK:
        what_to_do = (
            f"Its lock ends when it comes back, at {until} at the latest. To end it now, mark that task instance "
            "as failed in Airflow; the next run of this sync then goes on in its place."
        )
    elif found.is_deferred:
        what_to_do = (
            "Whether it still waits could not be asked of Airflow. If it does not, its lock ends at "
            f"{until} by itself, or when you delete {path}; then also delete the files *.deferred*.json of its "
            "run beside its report, which hold people."
        )
    return (
        f"Another run of this sync is under way: {found.holder}, since {since}{waits}. Nothing was sent. "
        f"{what_to_do} {OVERLAP}"
    )


def older_first(run_id: str) -> str:
    """Why a run lets an older one go first, and what to do."""
    return (
        f"An older run of this Dag is under way, and its sync is still to come: {run_id}. Its data is older, so it is "
        "to go first: after this run it could not be sent any more. Nothing was sent. To go on now, mark that task "
        "instance as failed or success in Airflow."
    )


def lost(found: LockNote | None, holder: Holder, path: str) -> str:
    """Why a run that had a lock stops."""
    if found and found.holder.is_same_task(holder):
        who = f"a later try of this task has the state: {found.holder}"
    elif found:
        who = f"another run has the state: {found.holder}"
    else:
        who = f"its lock {path} is gone: somebody has deleted it, or another run had the state and has ended"
    return f"This run stops, since {who}. What it has no verdict for, the next run asks for or sends again."


def shown_time(timestamp: float) -> str:
    """A moment in seconds since the epoch, for people."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def torn(path: str) -> str:
    """Why a run does not get a lock that cannot be read, and what to do."""
    return (
        f"Another run of this sync may be under way: its lock {path} is not whole. Nothing was sent. A run that is "
        f"alive writes it anew; otherwise it ends {LIFETIME / 60:.0f} minutes after it was written, or when you "
        f"delete it. {OVERLAP}"
    )
