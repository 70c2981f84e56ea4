"""What happens to a state as a whole: a run ends, takes the place of another, or asks for a refresh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from airflow_provider_klaviyo.state.entries.entry import Entry, Written
from airflow_provider_klaviyo.state.replica import Refreshed, Replica


class Refresh(Entry, frozen=True, tag="refresh"):
    """Nothing that was acknowledged so far counts.

    :param run: the run that asks for it; empty when it is none's.
    """

    run: str

    def apply(self, replica: Replica) -> None:
        replica.refreshed = Refreshed(self.run, replica.serial)


class TakenOver(Entry, frozen=True, tag="taken over"):
    """A run goes on in the place of one that may be alive: whatever that one still writes comes too late.

    :param left_by: who that is.
    """

    left_by: str

    def apply(self, replica: Replica) -> None:
        """What is known stays as it is."""


class Run(Entry, frozen=True, tag="run"):
    """A run has ended.

    :param told: what it counted.
    """

    told: Mapping[str, Any]

    def written(self) -> Written:
        return Written(self.kind, self.told)

    @classmethod
    def read(cls, written: Written) -> Self:
        return cls(written.facts)

    def apply(self, replica: Replica) -> None:
        replica.remember({**self.told, "serial": replica.serial})
        if self.told.get("succeeded"):
            replica.table.departed.clear()
