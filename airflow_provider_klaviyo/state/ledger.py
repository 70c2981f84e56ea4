"""What Klaviyo has acknowledged, for each primary key: the log is the truth, the table answers quickly."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from airflow_provider_klaviyo.state.errors import StateDamaged, StateOfAnotherTarget, StateUnreadable
from airflow_provider_klaviyo.state.log import Entry, StateLog
from airflow_provider_klaviyo.state.owner import BELONGS_TO, Claim
from airflow_provider_klaviyo.state.shared import SharedIdentifiers
from airflow_provider_klaviyo.state.storage import StateFolder
from airflow_provider_klaviyo.state.table import Known, Met, StateTable, Status
from airflow_provider_klaviyo.state.tracked import TrackedPeople

log = logging.getLogger(__name__)

_REHASHED = 50_000
"""So many rows that were hashed anew share an entry."""

_RUNS = 20
"""So many runs are remembered for those who look at a state."""

_MOST_ENTRIES = 300
_MOST_BYTES = 16_000_000
_MOST_OF_SNAPSHOT = 0.2


class Sent(NamedTuple):
    """A row that is about to be sent; ``identity`` only where the sync must be able to remove the person."""

    key: int
    fingerprint: int
    person: int
    identity: str | None = None


_NOBODY = Sent(0, 0, 0)
_REHEARSAL = 1 << 40
_TABLE = "state.sqlite"


@dataclass(frozen=True, slots=True)
class OpenImport:
    """An import job without a verdict, and the rows that are in it, in its order."""

    id: str
    ticket: int
    rows: Sequence[Sent]


@dataclass(slots=True)
class _Chain:
    """What the entries since the base add up to, beside the table."""

    jobs: dict[int, str] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    refresh: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """The state of one sync during one run.

    Every change is an entry of the log before it counts. Rows are in doubt from before their request leaves until
    Klaviyo's verdict, and doubt is not acknowledgement: after a kill they are sent again, unless the job that took
    them is known, which then tells. Methods may be called from any thread.
    """

    def __init__(self, chain: StateLog, table: StateTable, target: Mapping[str, str], scratch: Path) -> None:
        self._log = chain
        self._table = table
        self._scratch = scratch
        self._target = dict(target)
        self._chain = _Chain()
        self._appliers: Mapping[str, Callable[[int, Mapping[str, Any], bytes], None]] = {
            "doubt": self._apply_doubt,
            "job": self._apply_job,
            "verdict": self._apply_verdict,
            "failed": self._apply_failed,
            "stale": self._apply_stale,
            "refresh": self._apply_refresh,
            "run": self._apply_run,
            "moved": self._apply_moved,
            "leaving": self._apply_leaving,
            "removed": self._apply_removed,
            "hashed": self._apply_hashed,
            "shared": self._apply_shared,
            "unshared": self._apply_unshared,
        }
        self._hashes: dict[int, int] = {}
        self._rehearsed = 0
        self._is_read_only = False
        self._lock = threading.RLock()
        self._bytes = 0
        self._snapshot_bytes = 0
        self._entries = 0

    @classmethod
    def open(
        cls,
        folder: StateFolder,
        scratch: Path,
        target: Mapping[str, str] | None,
        *,
        writer: str,
        now: Callable[[], float],
        full_refresh: bool = False,
        is_read_only: bool = False,
        may_change: Collection[str] = (),
        claim: Claim | None = None,
    ) -> Ledger:
        """The state as the last acknowledged change left it.

        :param folder: where the log is.
        :param scratch: a private folder of this run, for the table.
        :param target: what this is to be a state of: base URL, account, sync type and so on; None takes what is there.
        :param full_refresh: permits to start anew over a state of another target, or one that cannot be read.
        :param may_change: parts of the target over whose change a full refresh keeps what the state remembers.
        :param claim: by what right the state is used.
        :raises StateOfAnotherTask: when the state is another task's, whatever ``full_refresh`` says.
        :raises StateOfAnotherTarget: when the state is of another target; both are shown.
        :raises StateDamaged: when the log cannot be read to its end.
        """
        try:
            chain = StateLog(folder, writer=writer, now=now)
            ledger = cls._of(chain, scratch, target, is_read_only=is_read_only)
            if claim:
                ledger.hand_over(claim)
            if target is not None:
                ledger.aim(target, may_change if full_refresh else ())
        except (StateOfAnotherTarget, StateDamaged, StateUnreadable) as error:
            if not full_refresh:
                raise
            log.warning("full_refresh starts a new state: %s", error)
        else:
            return ledger
        (scratch / _TABLE).unlink(missing_ok=True)
        chain = StateLog(folder, writer=writer, now=now, anew=True)
        return cls._of(chain, scratch, target, is_read_only=is_read_only)

    @classmethod
    def _of(
        cls, chain: StateLog, scratch: Path, target: Mapping[str, str] | None, *, is_read_only: bool
    ) -> Ledger:
        """What a log adds up to."""
        path = scratch / _TABLE
        base = chain.entries[0] if chain.entries else None
        if base and base.kind == "snapshot":
            chain.copy_payload(base, path)
        found = base.facts["target"] if base else target or {}
        ledger = cls(chain, StateTable(path), found, scratch)
        ledger._is_read_only = is_read_only
        with ExitStack() as unless_whole:
            unless_whole.callback(ledger.close)
            ledger._replay()
            if base is None and not is_read_only:
                chain.begin({"target": found})
            unless_whole.pop_all()
        return ledger

    def hand_over(self, claim: Claim) -> None:
        """Let somebody go on with this state.

        :raises StateOfAnotherTask: when it is another's.
        """
        try:
            claim.check(self._target.get(BELONGS_TO), self.runs)
        except BaseException:
            self.close()
            raise
        self.become({**self._target, BELONGS_TO: claim.owner})

    def aim(self, target: Mapping[str, str], may_change: Collection[str]) -> None:
        """Make sure that this is the state of a target.

        :raises StateOfAnotherTarget: when it holds anything of another one, in more than what may change.
        """
        differing = {
            name for name in {**self._target, **target} if self._target.get(name) != target.get(name)
        }
        if not differing:
            return
        if self.holds_nothing:
            self._table.clear()
            self.become(target)
        elif differing <= set(may_change):
            self.retarget(target)
        else:
            self.close()
            raise _of_another_target(self._target, target, differing)

    # --- what is known ----------------------------------------------------------------------------------------

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever acknowledged under this name."""
        return not self._chain.runs and self._table.is_empty()

    @property
    def holds_nothing(self) -> bool:
        """Whether nothing is here that was sent, no row, no person and no job: such a state is good for any target."""
        return not self._chain.jobs and not self.people.count() and self.counts().keys() <= {Status.STALE}

    @property
    def target(self) -> Mapping[str, str]:
        """What this is a state of."""
        return self._target

    @property
    def runs(self) -> Sequence[Mapping[str, Any]]:
        """The last runs, oldest first, as ``record_run`` was told of them."""
        return self._chain.runs

    @property
    def open_imports(self) -> list[OpenImport]:
        """Jobs that were started and whose verdict is not known."""
        with self._lock:
            return [
                OpenImport(job, ticket, self._rows_of(ticket)) for ticket, job in self._chain.jobs.items()
            ]

    def has_acknowledged(self) -> bool:
        """Whether anything of this state was acknowledged, and still counts."""
        return bool(self._table.counts().get(Status.ACKNOWLEDGED))

    def counts(self) -> Mapping[Status, int]:
        """How many keys the state holds, by status."""
        return self._table.counts()

    def meet(self, keys: Sequence[int]) -> Met:
        """Which keys occur for the first time in this run, and what Klaviyo has acknowledged under them."""
        return self._table.meet(keys, self._chain.refresh.get("serial", 0))

    @property
    def people(self) -> TrackedPeople:
        """Whom the sync has put on its list."""
        return self._table.people

    @property
    def shared(self) -> SharedIdentifiers:
        """Whose the identifiers are that several people have."""
        return self._table.shared

    # --- what happens -----------------------------------------------------------------------------------------

    def send(self, rows: Sequence[Sent], *, overrules: bool = True) -> int:
        """Put rows in doubt, before their request leaves; the ticket stands for them.

        :param overrules: whether a row ends the acknowledgement of other rows of its person.
        """
        return self._add("doubt", {"rows": len(rows), "overrules": overrules}, _pack(rows))

    def start(self, ticket: int, job_id: str) -> None:
        """Note which job took the rows of a ticket."""
        self._add("job", {"ticket": ticket, "job": job_id})

    def settle(self, ticket: int, failed: Sequence[int] = (), pending: Sequence[int] = ()) -> None:
        """Klaviyo's verdict on the rows of a ticket: all are acknowledged but those at the places given.

        :param pending: places of rows that stay in doubt.
        """
        facts = {"ticket": ticket}
        self._add("verdict", facts, msgspec.msgpack.encode((list(failed), list(pending))))

    def fail(self, keys: Sequence[int]) -> None:
        """Note whom Klaviyo refused, so that they are tried again even when they do not change."""
        self._add("failed", {"rows": len(keys)}, _pack_keys(keys))

    def invalidate(self, keys: Sequence[int]) -> None:
        """Let acknowledgements count no longer, because another row speaks for the same person."""
        known = self._table.look_up(keys)
        stale = [key for key, found in known.items() if found.status is Status.ACKNOWLEDGED]
        if stale:
            self._add("stale", {"rows": len(stale)}, _pack_keys(stale))

    def move(self, rows: Sequence[Sent], *, is_acknowledged: bool) -> None:
        """Note whom rows name now that are not sent, because another row or the list itself has the person already.

        A row whose value is bad one day still stands for its person, so rows that the state does not know are entered.

        :param is_acknowledged: whether the people are on the list; otherwise the rows count as stale.
        """
        keys = [row.key for row in rows]
        named = self._table.persons_of(keys)
        known = self._table.look_up(keys) if is_acknowledged else {}
        doubted = {key for key, found in known.items() if found.status is not Status.ACKNOWLEDGED}
        moved = [row for row in rows if row.key in doubted or named.get(row.key) != row.person]
        if moved:
            self._add("moved", {"rows": len(moved), "acknowledged": is_acknowledged}, _pack(moved))

    def rehash(self, hashes: Mapping[int, int]) -> None:
        """Note the fingerprints, by key, of rows that are acknowledged as they are and were hashed another way before.

        They are written with the run at the latest: until then, and after a kill, the old ones serve.
        """
        with self._lock:
            self._hashes |= hashes
            if len(self._hashes) >= _REHASHED:
                self._write_hashes()

    def share(self, field: str, owners: Mapping[int, int]) -> None:
        """Note who keeps which identifiers of a field, before anything is sent for others who have them, too."""
        self._add("shared", {"field": field}, _pack_keys([*owners, *owners.values()]))

    def unshare(self, values: Sequence[int]) -> None:
        """Note that whoever comes may have these identifiers."""
        self._add("unshared", {"identifiers": len(values)}, _pack_keys(values))

    def leave(self, persons: Sequence[int]) -> set[int]:
        """Note who is about to be taken off the list: who comes back from now on is put on it again.

        :returns: those of them of whom an earlier run had noted the same.
        """
        with self._lock:
            settled = self._table.people_with_settled_rows(persons)
            self._add("leaving", {"people": len(persons)}, _pack_keys(persons))
        return set(persons) - settled

    def remove(self, persons: Sequence[int]) -> None:
        """Note who is off the list, and keep nothing else of them."""
        self._add("removed", {"people": len(persons)}, _pack_keys(persons))

    def retarget(self, target: Mapping[str, str]) -> None:
        """Go on as the state of another target: what is remembered of people stays, rows count no longer."""
        self._add("refresh", {"run": ""})
        self.become(target)

    def become(self, target: Mapping[str, str]) -> None:
        """Go on as the state of another target with all that is remembered."""
        if target == self._target:
            return
        self._target = dict(target)
        if not self._is_read_only:
            self.compact()

    def restart(self) -> None:
        """Begin anew: nothing that was acknowledged so far counts, and nobody was put on a list."""
        with self._lock:
            if not self._is_read_only:
                self._log.begin({"target": self._target})
            self._table.clear()
            self._chain = _Chain()

    def refresh(self, run_id: str) -> None:
        """Let every acknowledgement so far count no longer; once for all tries of a run."""
        last = self._chain.refresh
        is_under_way = last.get("run") == run_id and not any(
            run.get("run") == run_id and run.get("succeeded") and run["serial"] > last["serial"]
            for run in self._chain.runs
        )
        if not is_under_way:
            self._add("refresh", {"run": run_id})

    def record_run(self, facts: Mapping[str, Any]) -> None:
        """Remember a run and what it counted, and compact the log when it has grown."""
        self._write_hashes()
        self._add("run", facts)
        self.compact_if_grown()

    def compact_if_grown(self) -> None:
        """Compact a log that takes long to read; not while jobs are open, whose rows a snapshot would hold at once."""
        has_grown = self._entries > _MOST_ENTRIES or self._bytes > max(
            _MOST_BYTES, _MOST_OF_SNAPSHOT * self._snapshot_bytes
        )
        if has_grown and not self._chain.jobs:
            self.compact()

    def forget(self, keys: Sequence[int], persons: Sequence[int] = ()) -> None:
        """Delete what is kept of some rows and people, from the log too."""
        with self._lock:
            persons = [*self._table.persons_of(keys).values(), *persons]
            self.people.forget(persons)
            self.shared.forget(persons)
            self._table.forget(keys)
            gone = set(keys)
            for ticket in self._chain.jobs:
                rows = self._rows_of(ticket)
                self._keep_doubt(ticket, [_NOBODY if row.key in gone else row for row in rows])
        self.compact(keep_previous=False)

    def knows(self, key: int) -> bool:
        """Whether anything is kept of a row."""
        return bool(self._table.look_up([key]))

    def look_up(self, keys: Sequence[int]) -> Mapping[int, Known]:
        """What is kept of some rows, or of what else a sync remembers under a key."""
        return self._table.look_up(keys)

    def keys_of_person(self, person: int) -> list[int]:
        """The rows that name a person."""
        return self._table.keys_of_person(person)

    def compact(self, *, keep_previous: bool = True) -> None:
        """Write a snapshot, and delete the entries that it replaces.

        :param keep_previous: keep the snapshot before it too, in case this one is damaged.
        """
        with self._lock:
            path = self._table.path.with_suffix(".frozen")
            self._table.freeze(path)
            facts = {
                "target": self._target,
                "runs": self._chain.runs,
                "refresh": self._chain.refresh,
                "open": [
                    {"ticket": ticket, "job": job, "rows": [list(row) for row in self._rows_of(ticket)]}
                    for ticket, job in self._chain.jobs.items()
                ],
            }
            self._log.append_file("snapshot", facts, path)
            self._snapshot_bytes, self._bytes, self._entries = path.stat().st_size, 0, 0
            path.unlink()
            self._log.prune(keep_previous=keep_previous)

    def close(self) -> None:
        """Give the table back; the log has everything."""
        self._table.close()

    # --- entries ----------------------------------------------------------------------------------------------

    def _add(self, kind: str, facts: Mapping[str, Any], payload: bytes = b"") -> int:
        with self._lock:
            number = self._rehearse() if self._is_read_only else self._log.append(kind, facts, payload)
            self._apply(kind, number, facts, payload)
            self._entries += 1
            self._bytes += len(payload)
            return number

    def _write_hashes(self) -> None:
        with self._lock:
            hashes, self._hashes = self._hashes, {}
            if hashes:
                payload = msgspec.msgpack.encode((_pack_keys([*hashes]), _pack_keys([*hashes.values()])))
                self._add("hashed", {"rows": len(hashes)}, payload)

    def _rehearse(self) -> int:
        """A number for what a preview would write: later than all entries there are."""
        self._rehearsed += 1
        return _REHEARSAL + self._rehearsed

    def _replay(self) -> None:
        for entry in self._log.entries:
            if entry.kind == "snapshot":
                self._restore(entry)
            elif entry.kind != "begin":
                self._apply(entry.kind, entry.number, entry.facts, self._log.payload(entry))
                self._entries += 1
                self._bytes += entry.payload_bytes

    def _restore(self, entry: Entry) -> None:
        self._chain.runs = list(entry.facts["runs"])
        self._chain.refresh = dict(entry.facts["refresh"])
        self._snapshot_bytes = entry.payload_bytes
        for kept in entry.facts["open"]:
            self._keep_doubt(kept["ticket"], [Sent(*row) for row in kept["rows"]])
            self._chain.jobs[kept["ticket"]] = kept["job"]

    def _apply(self, kind: str, number: int, facts: Mapping[str, Any], payload: bytes) -> None:
        apply = self._appliers.get(kind)
        if apply is None:
            msg = f"The state has an entry of the kind {kind!r}, which this release does not know: upgrade the package."
            raise StateUnreadable(msg)
        apply(number, facts, payload)

    def _apply_doubt(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:
        rows = _unpack(payload)
        if facts["overrules"]:
            self._table.overrule([row.key for row in rows], [row.person for row in rows], number)
        self.people.track({row.key: (row.person, row.identity) for row in rows if row.identity is not None})
        self._table.mark(rows, Status.IN_DOUBT, number)
        self._keep_doubt(number, rows)

    def _apply_job(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:  # noqa: ARG002
        self._chain.jobs[facts["ticket"]] = facts["job"]

    def _apply_verdict(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:
        ticket = facts["ticket"]
        rows = self._rows_of(ticket)
        self._doubt(ticket).unlink()
        self._chain.jobs.pop(ticket, None)
        failed, pending = msgspec.msgpack.decode(payload, type=tuple[list[int], list[int]])
        others = {*failed, *pending}
        taken = [row.key for place, row in enumerate(rows) if place not in others]
        refused = [rows[place].key for place in failed]
        self._table.settle_sent(taken, ticket, Status.ACKNOWLEDGED, number)
        self._table.settle_sent(refused, ticket, Status.FAILED, number)
        if any(row.identity is not None for row in rows):
            self.people.confirm([row.person for place, row in enumerate(rows) if place not in others])
            self.people.refuse([rows[place].person for place in failed])

    # The rows of a doubt are on disk: hundreds of jobs may be open at once.

    def _doubt(self, ticket: int) -> Path:
        return self._scratch / f"doubt-{ticket}"

    def _keep_doubt(self, ticket: int, rows: Sequence[Sent]) -> None:
        self._doubt(ticket).write_bytes(_pack(rows))

    def _rows_of(self, ticket: int) -> list[Sent]:
        return _unpack(self._doubt(ticket).read_bytes())

    def _apply_stale(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:  # noqa: ARG002
        self._table.settle(_unpack_keys(payload), Status.STALE, number)

    def _apply_failed(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:  # noqa: ARG002
        keys = _unpack_keys(payload)
        self._table.settle(keys, Status.FAILED, number)
        self.people.refuse(list(self._table.persons_of(keys).values()))

    def _apply_moved(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:
        rows = _unpack(payload)
        self.people.leave({row.key: row.person for row in rows})
        status = Status.ACKNOWLEDGED if facts["acknowledged"] else Status.STALE
        self._table.mark(rows, status, number)

    def _apply_leaving(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:  # noqa: ARG002
        self._table.unsettle(_unpack_keys(payload), number)

    def _apply_removed(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:  # noqa: ARG002
        persons = _unpack_keys(payload)
        self._table.forget_rows_of(persons)
        self.people.forget(persons)

    def _apply_hashed(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:  # noqa: ARG002
        keys, fingerprints = msgspec.msgpack.decode(payload, type=tuple[bytes, bytes])
        self._table.rehash(dict(zip(_unpack_keys(keys), _unpack_keys(fingerprints), strict=True)))

    def _apply_shared(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:  # noqa: ARG002
        hashes = _unpack_keys(payload)
        half = len(hashes) // 2
        self.shared.keep(dict(zip(hashes[:half], hashes[half:], strict=True)), facts["field"])

    def _apply_unshared(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:  # noqa: ARG002
        self.shared.release(_unpack_keys(payload))

    def _apply_refresh(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:  # noqa: ARG002
        self._chain.refresh = {"run": facts["run"], "serial": number}

    def _apply_run(self, number: int, facts: Mapping[str, Any], payload: bytes) -> None:  # noqa: ARG002
        self._chain.runs = [*self._chain.runs, {**facts, "serial": number}][-_RUNS:]


def _of_another_target(
    found: Mapping[str, str], target: Mapping[str, str], differing: Collection[str]
) -> StateOfAnotherTarget:
    told = "; ".join(
        f"{name} was {found.get(name) or 'none'} and is now {target.get(name) or 'none'}"
        for name in {**found, **target}
        if name in differing
    )
    msg = (
        f"The state kept under this state_key is of another target: {told}. Nothing was sent. If that is meant, "
        "run once with full_refresh=True, which starts a new state for the new target and sends every row; "
        "to keep both, give this sync a state_key of its own."
    )
    return StateOfAnotherTarget(msg)


def _pack(rows: Sequence[Sent]) -> bytes:
    return msgspec.msgpack.encode(
        (
            _pack_keys([row.key for row in rows]),
            _pack_keys([row.fingerprint for row in rows]),
            _pack_keys([row.person for row in rows]),
            [row.identity for row in rows] if any(row.identity for row in rows) else None,
        )
    )


def _unpack(payload: bytes) -> list[Sent]:
    keys, fingerprints, persons, identities = msgspec.msgpack.decode(
        payload, type=tuple[bytes, bytes, bytes, list[str | None] | None]
    )
    unpacked = _unpack_keys(keys)
    named: Iterable[str | None] = identities or [None] * len(unpacked)
    return list(map(Sent, unpacked, _unpack_keys(fingerprints), _unpack_keys(persons), named))


def _pack_keys(keys: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(keys)}q", *keys)


def _unpack_keys(packed: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(packed) // 8}q", packed))
