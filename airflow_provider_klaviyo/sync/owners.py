"""Whom earlier runs left identifiers to that several people share: no later run sends them for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from airflow_provider_klaviyo.identity import in_full
from airflow_provider_klaviyo.state.keys import person_hashes
from airflow_provider_klaviyo.state.ledger import Ledger

Values = Sequence[str | None]


class Owners(Protocol):
    """People are known by hashes, as records are."""

    def find(self, field: str, values: Values) -> Mapping[int, int]:
        """The indexes of values that were left to one person, and that person."""

    def note(self, field: str, owners: Mapping[str, int]) -> None:
        """Note the person that each value is left to, before anything is sent without the values."""

    def given_up(self, persons: Sequence[int], sent: Mapping[str, Values]) -> Mapping[int, Sequence[int]]:
        """By the index of a person: what was left to them while another identifier is sent for them now.

        :param sent: by field, what is sent for each person.
        """

    def release(self, given_up: Sequence[int]) -> None:
        """Let others have these values: the people that they were left to are known by other identifiers now."""


class NoOwners:
    """Without state nothing is known of earlier runs."""

    def find(self, field: str, values: Values) -> Mapping[int, int]:  # noqa: ARG002 - as the other
        """Nobody."""
        return {}

    def note(self, field: str, owners: Mapping[str, int]) -> None:
        """Nothing is kept."""

    def given_up(
        self,
        persons: Sequence[int],  # noqa: ARG002 - as the other
        sent: Mapping[str, Values],  # noqa: ARG002
    ) -> Mapping[int, Sequence[int]]:
        """Nothing."""
        return {}

    def release(self, given_up: Sequence[int]) -> None:
        """Nothing is kept."""


class KeptOwners:
    """Remembers in the sync's state.

    :param may_release: whether a person has one row, which tells what the person has now: of many events each tells
        of its own moment.
    """

    def __init__(self, ledger: Ledger, *, may_release: bool) -> None:
        self._ledger = ledger
        self._may_release = may_release

    def find(self, field: str, values: Values) -> Mapping[int, int]:
        """As the state has them."""
        if self._ledger.shared.is_empty():
            return {}
        present = {index: value for index, value in enumerate(values) if value is not None}
        hashes = dict(zip(present, _hashes(field, list(present.values())), strict=True))
        owners = self._ledger.shared.owners(list(hashes.values()))
        return {index: owners[value] for index, value in hashes.items() if value in owners}

    def note(self, field: str, owners: Mapping[str, int]) -> None:
        """Into the state."""
        self._ledger.share(field, dict(zip(_hashes(field, list(owners)), owners.values(), strict=True)))

    def given_up(self, persons: Sequence[int], sent: Mapping[str, Values]) -> Mapping[int, Sequence[int]]:
        """Who has none at all now is still known by it in Klaviyo, which clears no identifier."""
        if not self._may_release or self._ledger.shared.is_empty():
            return {}
        indexes = {person: index for index, person in enumerate(persons)}
        given_up: dict[int, list[int]] = {}
        for owned in self._ledger.shared.of(persons):
            index = indexes[owned.owner]
            value = sent[owned.field][index] if owned.field in sent else None
            if value is not None and _hashes(owned.field, [value]) != [owned.value]:
                given_up.setdefault(index, []).append(owned.value)
        return given_up

    def release(self, given_up: Sequence[int]) -> None:
        """From the state."""
        self._ledger.unshare(given_up)


def _hashes(field: str, values: Sequence[str]) -> list[int]:
    """As the state knows people, so that somebody who is to be forgotten is found by any identifier."""
    return person_hashes(in_full(values, field))
