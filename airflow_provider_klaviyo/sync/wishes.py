"""Which addresses are unsubscribed from everything together: those that the rows name together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow_provider_klaviyo.records.subscription import SubscriptionRecord
from airflow_provider_klaviyo.sync.held_wishes import Part
from airflow_provider_klaviyo.sync.scratch import FirstNotes


class WishesByAddress:
    """Divides rows so that every address is asked for once, beside the other address of the first row that names it.

    A person's second number is asked for on its own.
    """

    def __init__(self, folder: Path) -> None:
        self._homes = FirstNotes(folder / "homes.sqlite")
        self._taken = FirstNotes(folder / "taken.sqlite")

    def __call__(self, records: Sequence[SubscriptionRecord]) -> list[list[Part]]:
        """The parts of each row."""
        addresses = {address: hash(address) for record in records for address in record.addresses}
        homes = self._homes.find(addresses.values())
        places = [_place(_person(record), channel) for record in records for channel in record.channels]
        taken = self._taken.find(places)
        divided = []
        for record in records:
            by_home: dict[int, list[str]] = {}
            for address in record.addresses:
                asked, person = addresses[address], _person(record)
                if asked not in homes:
                    is_free = taken.setdefault(_place(person, address.channel), asked) == asked
                    homes[asked] = person if is_free else asked
                by_home.setdefault(homes[asked], []).append(address.channel)
            divided.append([Part(home, record.asking(channels)) for home, channels in by_home.items()])
        self._homes.note(homes)
        self._taken.note(taken)
        return divided

    def close(self) -> None:
        """Forget everything."""
        self._homes.close()
        self._taken.close()


def _person(record: SubscriptionRecord) -> int:
    return hash((record.matched_by, record.identifiers[record.matched_by]))


def _place(person: int, channel: str) -> int:
    """Where a person has one address of a channel."""
    return hash((person, channel))
