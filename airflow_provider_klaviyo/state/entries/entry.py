"""What all entries of a state's log have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import msgspec

from airflow_provider_klaviyo.state.packing import pack_hashes, unpack_hashes
from airflow_provider_klaviyo.state.replica import Replica


class Written(NamedTuple):
    """An entry as the log has it.

    :param kind: tells entries apart.
    :param facts: what is written as JSON, for those who read the log by eye.
    :param payload: what is written behind them.
    """

    kind: str
    facts: Mapping[str, Any]
    payload: bytes = b""


class Entry(msgspec.Struct, frozen=True, tag_field="kind"):
    """Something that happened; entries without a payload are written as they are."""

    @property
    def kind(self) -> str:
        """By what the log tells it from others."""
        return str(self.__struct_config__.tag)

    def written(self) -> Written:
        """How the log has it."""
        facts = msgspec.to_builtins(self)
        return Written(facts.pop("kind"), facts)

    @classmethod
    def read(cls, written: Written) -> Self:
        """The entry that was written so.

        :raises msgspec.ValidationError: when none was.
        """
        return msgspec.convert(written.facts, cls)

    def apply(self, replica: Replica) -> None:
        """Change what the entries before it add up to; its own number is the replica's ``serial``."""
        raise NotImplementedError


class OfHashes(Entry, frozen=True):
    """About rows, people or identifiers, of which it has the hashes; how many is written as a fact."""

    hashes: Sequence[int]
    counted: ClassVar[str] = "rows"

    def written(self) -> Written:
        return Written(self.kind, {self.counted: len(self.hashes)}, pack_hashes(self.hashes))

    @classmethod
    def read(cls, written: Written) -> Self:
        return cls(unpack_hashes(written.payload))
