"""What happens to people on a list, and to identifiers that several people have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from airflow_provider_klaviyo.state.entries.entry import Entry, OfHashes, Written
from airflow_provider_klaviyo.state.packing import pack_hashes, unpack_hashes
from airflow_provider_klaviyo.state.replica import Replica


class Leaving(OfHashes, frozen=True, tag="leaving"):
    """These people are about to be taken off the list: whoever comes back is put on it again.

    :param run: whose tries do it; empty in entries of former releases.
    """

    run: str = ""
    counted = "people"

    def written(self) -> Written:
        facts = {"people": len(self.hashes), **({"run": self.run} if self.run else {})}
        return Written(self.kind, facts, pack_hashes(self.hashes))

    @classmethod
    def read(cls, written: Written) -> Self:
        return cls(unpack_hashes(written.payload), written.facts.get("run", ""))

    def apply(self, replica: Replica) -> None:
        replica.table.make_stale(self.hashes, replica.serial)
        replica.table.departed.add(self.run, self.hashes)


class Removed(OfHashes, frozen=True, tag="removed"):
    """These people are off the list."""

    counted = "people"

    def apply(self, replica: Replica) -> None:
        replica.table.forget_rows_of(self.hashes)
        replica.table.people.forget(self.hashes)


class Identified(Entry, frozen=True, tag="identified"):
    """The list was asked for Klaviyo's ids of these people.

    :param ids: what it shows, by person; none where it shows nobody.
    """

    ids: Mapping[int, Sequence[str]]

    def written(self) -> Written:
        payload = msgspec.msgpack.encode(
            (pack_hashes([*self.ids]), [list(each) for each in self.ids.values()])
        )
        return Written(self.kind, {"people": len(self.ids)}, payload)

    @classmethod
    def read(cls, written: Written) -> Self:
        persons, ids = msgspec.msgpack.decode(written.payload, type=tuple[bytes, list[list[str]]])
        return cls(dict(zip(unpack_hashes(persons), ids, strict=True)))

    def apply(self, replica: Replica) -> None:
        replica.table.people.ids.learn(self.ids)


class Shared(Entry, frozen=True, tag="shared"):
    """Who keeps which identifiers that several people have.

    :param field: what the identifiers are.
    :param owners: people by identifier, both as hashes.
    """

    field: str
    owners: Mapping[int, int]

    def written(self) -> Written:
        return Written(self.kind, {"field": self.field}, pack_hashes([*self.owners, *self.owners.values()]))

    @classmethod
    def read(cls, written: Written) -> Self:
        hashes = unpack_hashes(written.payload)
        half = len(hashes) // 2
        return cls(written.facts["field"], dict(zip(hashes[:half], hashes[half:], strict=True)))

    def apply(self, replica: Replica) -> None:
        replica.table.shared.keep(self.owners, self.field)


class Unshared(OfHashes, frozen=True, tag="unshared"):
    """Nobody keeps these identifiers any more."""

    counted = "identifiers"

    def apply(self, replica: Replica) -> None:
        replica.table.shared.release(self.hashes)
