"""What happens to rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from airflow_provider_klaviyo.state.entries.entry import Entry, OfHashes, Written
from airflow_provider_klaviyo.state.packing import pack_hashes, pack_rows, unpack_hashes, unpack_rows
from airflow_provider_klaviyo.state.replica import Replica, StartedJob
from airflow_provider_klaviyo.state.rows import Sent, Status


class Doubt(Entry, frozen=True, tag="doubt"):
    """A request with these rows is about to leave; the entry's number is their ticket.

    :param overrules: whether a row ends the acknowledgement of other rows of its person.
    """

    rows: Sequence[Sent]
    overrules: bool

    def written(self) -> Written:
        return Written(self.kind, {"rows": len(self.rows), "overrules": self.overrules}, pack_rows(self.rows))

    @classmethod
    def read(cls, written: Written) -> Self:
        return cls(unpack_rows(written.payload), written.facts["overrules"])

    def apply(self, replica: Replica) -> None:
        table, rows = replica.table, self.rows
        if self.overrules:
            table.overrule([row.key for row in rows], [row.person for row in rows], replica.serial)
        table.people.track({row.key: (row.person, row.identity) for row in rows if row.identity is not None})
        table.mark(rows, Status.IN_DOUBT, replica.serial)
        replica.doubts.keep(replica.serial, rows)


class Job(Entry, frozen=True, tag="job"):
    """Klaviyo has a job for the rows of a ticket.

    :param job_kind: the name of the job's kind (``client.job_kinds``); absent where all jobs were profile imports.
    """

    ticket: int
    job: str
    job_kind: str = ""

    def apply(self, replica: Replica) -> None:
        replica.jobs[self.ticket] = StartedJob(self.job, self.job_kind)


class Verdict(Entry, frozen=True, tag="verdict"):
    """Klaviyo's verdict on the rows of a ticket: it has taken all but those at the places given.

    A second one on the same ticket says nothing.

    :param failed: places of rows that it refused.
    :param pending: places of rows that stay in doubt.
    """

    ticket: int
    failed: Sequence[int]
    pending: Sequence[int]

    def written(self) -> Written:
        places = msgspec.msgpack.encode((list(self.failed), list(self.pending)))
        return Written(self.kind, {"ticket": self.ticket}, places)

    @classmethod
    def read(cls, written: Written) -> Self:
        failed, pending = msgspec.msgpack.decode(written.payload, type=tuple[list[int], list[int]])
        return cls(written.facts["ticket"], failed, pending)

    def apply(self, replica: Replica) -> None:
        if not replica.doubts.has(self.ticket):
            return
        table = replica.table
        rows = replica.doubts.clear(self.ticket)
        replica.jobs.pop(self.ticket, None)
        others = {*self.failed, *self.pending}
        taken = [row for place, row in enumerate(rows) if place not in others]
        refused = [rows[place] for place in self.failed]
        for some, status in ((taken, Status.ACKNOWLEDGED), (refused, Status.FAILED)):
            table.settle([row.key for row in some], self.ticket, status, replica.serial)
        if any(row.identity is not None for row in rows):
            table.people.confirm([row.person for row in taken])
            table.people.refuse([row.person for row in refused])


class Failed(OfHashes, frozen=True, tag="failed"):
    """Klaviyo refused these rows."""

    def apply(self, replica: Replica) -> None:
        replica.table.set_status(self.hashes, Status.FAILED, replica.serial)
        replica.table.people.refuse(list(replica.table.persons_of(self.hashes).values()))


class Stale(OfHashes, frozen=True, tag="stale"):
    """Another row speaks for the people of these rows."""

    def apply(self, replica: Replica) -> None:
        replica.table.set_status(self.hashes, Status.STALE, replica.serial)


class Moved(Entry, frozen=True, tag="moved"):
    """Rows that are not sent name these people now.

    :param is_acknowledged: whether Klaviyo has the people; otherwise the rows count as stale.
    """

    rows: Sequence[Sent]
    is_acknowledged: bool

    def written(self) -> Written:
        facts = {"rows": len(self.rows), "acknowledged": self.is_acknowledged}
        return Written(self.kind, facts, pack_rows(self.rows))

    @classmethod
    def read(cls, written: Written) -> Self:
        return cls(unpack_rows(written.payload), written.facts["acknowledged"])

    def apply(self, replica: Replica) -> None:
        replica.table.people.keep_former({row.key: row.person for row in self.rows})
        status = Status.ACKNOWLEDGED if self.is_acknowledged else Status.STALE
        replica.table.mark(self.rows, status, replica.serial)


class Hashed(Entry, frozen=True, tag="hashed"):
    """Rows that are acknowledged as they are have other fingerprints, by key, than when they were sent."""

    fingerprints: Mapping[int, int]

    def written(self) -> Written:
        keys, fingerprints = pack_hashes([*self.fingerprints]), pack_hashes([*self.fingerprints.values()])
        payload = msgspec.msgpack.encode((keys, fingerprints))
        return Written(self.kind, {"rows": len(self.fingerprints)}, payload)

    @classmethod
    def read(cls, written: Written) -> Self:
        keys, fingerprints = msgspec.msgpack.decode(written.payload, type=tuple[bytes, bytes])
        return cls(dict(zip(unpack_hashes(keys), unpack_hashes(fingerprints), strict=True)))

    def apply(self, replica: Replica) -> None:
        replica.table.rehash(self.fingerprints)
