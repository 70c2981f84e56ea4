"""Which addresses are unsubscribed together: from everything those that rows name together, from a list a member's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord
from airflow_provider_klaviyo.sync.scratch.first_notes import FirstNotes
from airflow_provider_klaviyo.sync.subscriptions.held_unsubscribes import Part
from airflow_provider_klaviyo.sync.subscriptions.roster import Members, Roster


class GroupByAddress:
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
        indexes = [_place(_person(record), channel) for record in records for channel in record.channels]
        taken = self._taken.find(indexes)
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


class GroupByMember:
    """Divides rows by the members of a list that their addresses belong to.

    Whoever is unsubscribed from a list leaves it, and would be unsubscribed from everything by a second request.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def __call__(self, records: Sequence[SubscriptionRecord]) -> list[list[Part]]:
        """The parts of each row; what is nobody's on the list is one of them."""
        members = self._roster.look_up(records)
        return [list(_by_member(record, members)) for record in records]


def _by_member(record: SubscriptionRecord, members: Members) -> Iterator[Part]:
    left: Sequence[str] = record.channels
    while left:
        rest = record.asking(left)
        placed, channels = members.placed(rest)
        if not channels:
            yield Part(hash(("nobody", record.number)), rest)
            return
        part = rest.asking(channels).matched_as(placed.matched_by)
        yield Part(hash(placed.identifiers["klaviyo_id"]), part)
        left = [channel for channel in left if channel not in channels]


def _person(record: SubscriptionRecord) -> int:
    return hash((record.matched_by, record.identifiers[record.matched_by]))


def _place(person: int, channel: str) -> int:
    """Where a person has one address of a channel."""
    return hash((person, channel))
