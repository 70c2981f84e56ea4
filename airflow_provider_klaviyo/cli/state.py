"""``python -m airflow_provider_klaviyo state``: look at what is kept of a sync, reset it, or forget a person.

Works on ``[klaviyo] storage_path`` of the Airflow that it runs in, so run it where the workers run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider_klaviyo.cli.forget import Forgotten, forget
from airflow_provider_klaviyo.cli.person import Person
from airflow_provider_klaviyo.cli.states import folder_of, key_in, lock_of, locked, opened, state_folders
from airflow_provider_klaviyo.client.job_kinds import job_kind
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoError
from airflow_provider_klaviyo.state.holder import Whereabouts
from airflow_provider_klaviyo.state.lock import LOCK
from airflow_provider_klaviyo.state.owner import ANYBODY, BELONGS_TO
from airflow_provider_klaviyo.state.rows import Status
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.storage import storage_path
from airflow_provider_klaviyo.sync.age import shown_progress
from airflow_provider_klaviyo.sync.deferral import Deferral
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.summary import OUTCOMES
from airflow_provider_klaviyo.wording import counted

_NAMES = {
    Status.ACKNOWLEDGED: "acknowledged by Klaviyo",
    Status.FAILED: "refused by Klaviyo; tried again by the next run",
    Status.IN_DOUBT: "sent without a verdict; settled or sent again by the next run",
    Status.STALE: "overwritten by another row of the same person; sent again by the next run",
}
_IDENTIFIERS = ("email", "phone_number", "external_id", "klaviyo_id")

_NOBODY = (
    "Nothing was found. A state knows people by the identifier that its sync matches by: give every identifier you "
    "know, phone numbers with their country code (+14155550101), or the primary key of the row (--key)."
)

_UNREAD = (
    "Mend or delete what is damaged. A state that is locked: wait for its run, or end that in Airflow. One that is "
    "damaged: restore it, or delete its folder. Then give this command again."
)

Ask = Callable[[str], str]


def _list(options: argparse.Namespace, ask: Ask) -> int:  # noqa: ARG001 - one signature for all commands
    shown = damaged = 0
    for folder in state_folders():
        try:
            if state_key := key_in(folder, options.now):
                print(state_key)
                shown += 1
        except (KlaviyoError, OSError) as error:
            damaged += 1
            print(f"{folder}: {error}", file=sys.stderr)
    if not shown and not damaged:
        print(f"No sync keeps state below {storage_path()}.")
    return 1 if damaged else 0


def _show(options: argparse.Namespace, ask: Ask) -> int:  # noqa: ARG001 - one signature for all commands
    folder = folder_of(options.state_key)
    with opened(folder, options.now) as ledger:
        counts, open_jobs = ledger.counts(), ledger.open_jobs
        print(f"State {options.state_key} in {folder}")
        for name, value in ledger.target.items():
            print(f"  {name}: {value}")
        if progress := shown_progress(ledger.runs):
            print(f"  has come to {progress}")
        print(f"\n{counted(sum(counts.values()), 'key')}")
        for status, count in sorted(counts.items()):
            print(f"  {count:>12,}  {_NAMES[status]}")
        for job in open_jobs:
            print(f"  {_noun(job.kind)} {job.id} has no result yet: {counted(len(job.rows), 'row')}")
        print("\nLast runs, newest first")
        for run in reversed(ledger.runs):
            print(_run_line(run))
    return 0


def _noun(kind: str) -> str:
    """What a job is called; the kind may be one that only a later release knows."""
    try:
        return job_kind(kind).noun
    except KlaviyoConfigurationError:
        return kind


def _reset(options: argparse.Namespace, ask: Ask) -> int:
    state_key, folder = options.state_key, folder_of(options.state_key)
    print(
        f"This deletes the state {state_key} in {folder}. The next run sends every row again and waits for no"
    )
    print(
        "job of an earlier one, and a mirror forgets whom it put on its list, so that nobody who has left is removed."
    )
    if holder := lock_of(folder, options.now).deferred_holder:
        print(f"{holder} was deferred. If it still waits in the triggerer, it fails when it comes back, and")
        print("its retry sends every row: what it left for that is deleted too.")
    if not options.yes and ask("Type the state key to go on: ").strip() != state_key:
        print("Nothing was deleted.")
        return 1
    with locked(folder, options.now, whereabouts=lambda _: Whereabouts.NO_SUCH_RUN) as lock:
        if lock.taken_from:
            Deferral(Storage(storage_path()).files(lock.taken_from)).delete()
            print(f"The rows that {lock.taken_from} left are deleted.")
        store = store_of(folder)
        for name in store.names():
            if name != LOCK:
                store.delete(name)
    print("Deleted.")
    return 0


def _release(options: argparse.Namespace, ask: Ask) -> int:  # noqa: ARG001 - one signature for all commands
    folder = folder_of(options.state_key)
    with locked(folder, options.now), opened(folder, options.now, is_read_only=False) as ledger:
        ledger.become({**ledger.target, BELONGS_TO: ANYBODY})
    print(f"A sync that gives state_key={options.state_key!r} goes on with this state from now on.")
    return 0


def _forget(options: argparse.Namespace, ask: Ask) -> int:
    person = Person({name: value for name in _IDENTIFIERS if (value := getattr(options, name))})
    if not person.identifiers and not options.key:
        print(
            "Say whom to forget: --email, --phone-number, --external-id, --klaviyo-id or --key.",
            file=sys.stderr,
        )
        return 2
    folders = [folder_of(options.state_key)] if options.state_key else state_folders()
    question = f"Forget this person in {counted(len(folders), 'state')} and all files? [y/N] "
    if not options.yes and ask(question).strip().lower() != "y":
        print("Nothing was deleted.")
        return 1
    forgotten = forget(storage_path(), folders, person, options.key, options.now)
    _tell(forgotten)
    return 1 if forgotten.unread else 0


def _tell(forgotten: Forgotten) -> None:
    for state_key, count in forgotten.rows.items():
        print(f"{counted(count, 'row')} forgotten in the state {state_key}")
    files = forgotten.files
    lines, previews = counted(files["rejects"], "line"), counted(files["previews"], "preview")
    print(f"{lines} deleted in files of rejected rows, and {previews}")
    print(
        f"{counted(files['deferred'], 'row')} of deferred tasks blanked, and {counted(files['reports'], 'report')}"
    )
    print(f"{counted(files['rolls'], 'roll')} of a shard's people deleted")
    print(f"forgotten in {counted(forgotten.notes, 'note')} of unsubscriptions on their way")
    folders = counted(forgotten.runs.deleted, "temporary folder")
    print(f"{folders} deleted, which killed runs had left on this machine")
    if forgotten.runs.at_work:
        print("A sync is at work on this machine, and may have the person: give the command again after it.")
    if forgotten.notes:
        print("For a day, take this person off no list: nothing holds a list sync back from it any more.")
    if not forgotten.is_anything:
        print(_NOBODY)
    if forgotten.unread:
        print("\nNot searched, so the person may still be there:", file=sys.stderr)
        for what, why in forgotten.unread:
            print(f"  {what}: {why}", file=sys.stderr)
        print(_UNREAD, file=sys.stderr)


# --- how it looks -----------------------------------------------------------------------------------------------


def _run_line(run: Mapping[str, Any]) -> str:
    ended = datetime.fromtimestamp(run["ended"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    counts = ", ".join(f"{run[name]:,} {name}" for name in ("rows_read", *OUTCOMES))
    line = f"  {ended}  {run['run']} try {run['try']}: {counts}"
    if run["error"]:
        line += f"\n    ended early: {run['error']}"
    if run["rejected_path"]:
        line += f"\n    rows that were not sent: {run['rejected_path']}"
    return line


def add_to(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Make the commands known."""
    state = groups.add_parser("state", help="what is kept of syncs between their runs")
    commands = state.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the state keys there are")
    listing.set_defaults(run=_list)

    show = commands.add_parser("show", help="one state: its target, its keys, its last runs, what is failing")
    show.add_argument("state_key", help="the operator's state_key; by default DAG_ID.TASK_ID")
    show.set_defaults(run=_show)

    reset = commands.add_parser("reset", help="delete one state: the next run sends every row again")
    reset.add_argument("state_key")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    reset.set_defaults(run=_reset)

    release = commands.add_parser(
        "release", help="let a sync give as state_key what was the default of a task that was renamed"
    )
    release.add_argument("state_key")
    release.set_defaults(run=_release)

    forget = commands.add_parser(
        "forget", help="delete what is kept of one person, in states and rejected rows"
    )
    forget.add_argument("state_key", nargs="?", help="only in this state; default: in all")
    forget.add_argument(
        "--key", nargs="+", default=[], help="the value of each column of the row's primary key"
    )
    for name in _IDENTIFIERS:
        forget.add_argument(f"--{name.replace('_', '-')}")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    forget.set_defaults(run=_forget)
