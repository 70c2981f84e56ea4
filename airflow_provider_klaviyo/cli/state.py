"""``python -m airflow_provider_klaviyo state``: look at what is kept of a sync, reset it, or forget a person.

Works on ``[klaviyo] storage_path`` of the Airflow that it runs in, so run it where the workers run.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo.cli.forget import Person, forget_in_files
from airflow_provider_klaviyo.client.clock import Clock, SystemClock
from airflow_provider_klaviyo.client.job_kinds import job_kind
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoError
from airflow_provider_klaviyo.state.holder import Holder
from airflow_provider_klaviyo.state.keys import key_hashes
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.lock import LOCK, StateLock
from airflow_provider_klaviyo.state.log import StateLog
from airflow_provider_klaviyo.state.notes import forget_in_notes
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.owner import ANYBODY, BELONGS_TO
from airflow_provider_klaviyo.state.rows import Status
from airflow_provider_klaviyo.state.stores import folders_in, store_of
from airflow_provider_klaviyo.storage import storage_path
from airflow_provider_klaviyo.sync.age import shown_progress
from airflow_provider_klaviyo.sync.storage import Storage

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

_SURELY_OVER = 7 * 86_400.0
"""Seconds after which a note no longer counts, however wrong this host's clock may be."""

Ask = Callable[[str], str]
Now = Callable[[], float]


def main(arguments: Sequence[str] | None = None, ask: Ask = input, clock: Clock | None = None) -> int:
    """Run a command; returns the exit code.

    :param ask: puts a question to the user.
    :param clock: real time if None.
    """
    options = _parser().parse_args(arguments)
    options.now = (clock or SystemClock()).now
    try:
        code: int = options.run(options, ask)
    except (KlaviyoError, LookupError) as error:
        print(error.args[0], file=sys.stderr)
        return 1
    return code


def _list(options: argparse.Namespace, ask: Ask) -> int:  # noqa: ARG001 - one signature for all commands
    keys = sorted(_state_keys(options.now))
    for key in keys:
        print(key)
    if not keys:
        print(f"No sync keeps state below {storage_path()}.")
    return 0


def _show(options: argparse.Namespace, ask: Ask) -> int:  # noqa: ARG001 - one signature for all commands
    with _opened(options.state_key, options.now) as ledger:
        counts, open_jobs = ledger.counts(), ledger.open_jobs
        print(f"State {options.state_key} in {Storage(storage_path()).state(options.state_key)}")
        for name, value in ledger.target.items():
            print(f"  {name}: {value}")
        if progress := shown_progress(ledger.runs):
            print(f"  has come to {progress}")
        print(f"\n{sum(counts.values()):,} keys")
        for status, count in sorted(counts.items()):
            print(f"  {count:>12,}  {_NAMES[status]}")
        for job in open_jobs:
            print(f"  {_noun(job.kind)} {job.id} has no result yet: {len(job.rows):,} rows")
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
    folder = _folder(options.state_key)
    with _locked(folder, options.now):
        print(
            f"This deletes the state {options.state_key} in {folder}. The next run sends every row again, and a"
        )
        print("mirror forgets whom it put on its list, so that nobody who has left is removed.")
        if not options.yes and ask("Type the state key to go on: ").strip() != options.state_key:
            print("Nothing was deleted.")
            return 1
        store = store_of(folder)
        for name in store.names():
            if name != LOCK:
                store.delete(name)
    print("Deleted.")
    return 0


def _release(options: argparse.Namespace, ask: Ask) -> int:  # noqa: ARG001 - one signature for all commands
    with (
        _locked(_folder(options.state_key), options.now),
        _opened(options.state_key, options.now, is_read_only=False) as ledger,
    ):
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
    keys = [options.state_key] if options.state_key else sorted(_state_keys(options.now))
    if (
        not options.yes
        and ask(f"Forget this person in {len(keys)} states and all files? [y/N] ").strip().lower() != "y"
    ):
        print("Nothing was deleted.")
        return 1
    found = 0
    for state_key in keys:
        count = _forget_in_state(state_key, person, options.key, options.now)
        print(f"{count:,} rows forgotten in the state {state_key}")
        found += count
    lines, files = forget_in_files(storage_path(), person)
    print(f"{lines:,} lines deleted in files of rejected rows, and {files:,} previews")
    dead_before = options.now() - _SURELY_OVER
    notes = forget_in_notes(Storage(storage_path()).in_flight, person.digests(), dead_before=dead_before)
    print(f"forgotten in {notes:,} notes of unsubscriptions on their way")
    if notes:
        print("For a day, take this person off no list: nothing holds a list sync back from it any more.")
    if not found + lines + files + notes:
        print(_NOBODY)
    return 0


def _forget_in_state(state_key: str, person: Person, key: Sequence[str], now: Now) -> int:
    """Forget a person; also one whom the state does not know any more, since older files of it still may."""
    with _locked(_folder(state_key), now), _opened(state_key, now, is_read_only=False) as ledger:
        profile = person.identifiers.get("klaviyo_id", "").strip()
        digests = [*person.digests(), *ledger.people.ids.persons(profile)]
        found = {row for digest in digests for row in ledger.keys_of_person(digest)}
        on_list = list(ledger.people.identities(digests))  # also of rows that name somebody else by now
        if key:
            found.update(
                digest for digest in key_hashes([tuple(key)]) if digest is not None and ledger.knows(digest)
            )
        shared = ledger.shared.known(digests)
        ledger.forget(sorted(found), [*on_list, *shared])
        return len(found) or len(on_list) or len(shared)


# --- where states are -------------------------------------------------------------------------------------------


def _state_keys(now: Now) -> Iterator[str]:
    for folder in folders_in(Storage(storage_path()).states):
        entries = StateLog(store_of(folder), writer=_writer(), now=now).entries
        if entries:
            yield str(entries[0].facts["target"]["state_key"])


def _folder(state_key: str) -> Any:
    folder = Storage(storage_path()).state(state_key)
    if not folder.exists():
        msg = f"No state {state_key!r} in {folder.parent}. The command `list` shows the states there are."
        raise LookupError(msg)
    return folder


@contextmanager
def _opened(state_key: str, now: Now, *, is_read_only: bool = True) -> Iterator[Ledger]:
    folder = _folder(state_key)
    with tempfile.TemporaryDirectory(prefix="klaviyo-") as scratch:
        ledger = open_ledger(
            store_of(folder), Path(scratch), None, writer=_writer(), now=now, is_read_only=is_read_only
        )
        try:
            yield ledger
        finally:
            ledger.close()


@contextmanager
def _locked(folder: Any, now: Now) -> Iterator[None]:
    holder = Holder("command line", "state", "by hand", -1, 0, socket.gethostname(), os.getpid())
    lock = StateLock(store_of(folder), holder, now=now)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _writer() -> str:
    return f"command line on {socket.gethostname()}"


# --- how it looks -----------------------------------------------------------------------------------------------


def _run_line(run: Mapping[str, Any]) -> str:
    ended = datetime.fromtimestamp(run["ended"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    names = ("rows_read", "accepted", "unchanged", "skipped", "rejected", "pending")
    counts = ", ".join(f"{run[name]:,} {name}" for name in names)
    line = f"  {ended}  {run['run']} try {run['try']}: {counts}"
    if run["error"]:
        line += f"\n    ended early: {run['error']}"
    if run["rejected_path"]:
        line += f"\n    rows that were not sent: {run['rejected_path']}"
    return line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_klaviyo")
    groups = parser.add_subparsers(required=True, metavar="GROUP")
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
    return parser
