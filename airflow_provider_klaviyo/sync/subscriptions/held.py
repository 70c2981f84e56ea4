"""People who wait on disk until every row was read that can speak of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from airflow_provider_klaviyo.records.record import Mapped, Record, all_of
from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord
from airflow_provider_klaviyo.sync.scratch.chunk_file import ChunkFile
from airflow_provider_klaviyo.sync.subscriptions.consent_words import Objections


class HeldForConsent:
    """Keeps people who are to be subscribed until it is known that no row says no.

    :param objections: what the rows of the run say; None where they cannot disagree, or do not decide together.
    """

    needs_every_row = True

    def __init__(self, folder: Path, objections: Objections | None) -> None:
        self._records: ChunkFile[list[SubscriptionRecord]] = ChunkFile(
            folder / "held", list[SubscriptionRecord]
        )
        self._objections = objections
        self._dropped = 0

    def keep(self, records: Sequence[Record]) -> None:
        """Write records down; they are kept when this has come to its end."""
        if records:
            self._records.add(all_of(SubscriptionRecord, records))

    def complete(self) -> None:
        """Every row was read."""
        if self._objections:
            self._objections.spread()

    def first(self) -> Sequence[Record]:
        """The first records that are still kept; none at the end."""
        return self._records[self._dropped] if self._dropped < len(self._records) else ()

    def drop_first(self) -> None:
        """Keep these no longer."""
        self._dropped += 1

    def judge(self, records: Sequence[Record]) -> Mapped:
        """The records without the channels that a row says no to."""
        return self._objections.judge(records) if self._objections else Mapped(list(records), [], [])

    def rest(self) -> Iterator[Sequence[Record]]:
        """The records that are still kept."""
        return (self._records[index] for index in range(self._dropped, len(self._records)))

    def close(self) -> None:
        """Forget everything."""
        self._records.close()
