"""Which profiles a request will change, found out before any of them is changed.

A request that is carried out as a whole or not at all needs this when one of its records may depend on what an
earlier one does to a profile's identifiers.
"""

from __future__ import annotations

from airflow_provider_klaviyo.emulator.account.profile_store import Conflict, ProfileStore
from airflow_provider_klaviyo.emulator.requests.profile_schema import IDENTIFIERS, Change


class Rehearsal:
    """Goes through changes in their order and remembers what each would do."""

    def __init__(self, profiles: ProfileStore) -> None:
        self._profiles = profiles
        self._next = len(profiles)
        self._owners: dict[tuple[str, str], int | None] = {}
        self._held: dict[int, dict[str, str | None]] = {}

    def number_of(self, change: Change) -> int:
        """The number of the profile that a change is about; a new one has the number that it will get.

        Raises `Conflict` where `ProfileStore.owner` would.
        """
        given = [(field, value) for field in IDENTIFIERS if (value := getattr(change, field)) is not None]
        if any(pair in self._owners for pair in given):
            number = self._owner_by_now(change, given)
        else:
            stored = self._profiles.owner(change)
            number = None if stored is None else stored.number
        if number is None:
            number, self._next = self._next, self._next + 1
        self._take_over(number, given)
        return number

    def _owner_by_now(self, change: Change, given: list[tuple[str, str]]) -> int | None:
        """The owner, where identifiers have changed hands since the beginning."""
        untouched = Change(id=change.id)
        for field, value in given:
            if (field, value) not in self._owners:
                setattr(untouched, field, value)
        stored = self._profiles.owner(untouched)
        numbers = {self._owners[pair] for pair in given if pair in self._owners} - {None}
        numbers |= set() if stored is None else {stored.number}
        if len(numbers) > 1 and self._profiles.takes_over():
            return self._first_owner(change.id, given)
        if len(numbers) > 1:
            detail = "The identifiers belong to several profiles."
            raise Conflict(detail, profile=stored)
        return next(iter(numbers), None)

    def _first_owner(self, profile_id: str | None, given: list[tuple[str, str]]) -> int | None:
        """The owner of the first identifier that has one by now."""
        by_id = [] if profile_id is None else [("id", profile_id)]
        for field, value in (*by_id, *given):
            stored = self._profiles.holder(field, value)
            number = self._owners.get((field, value), None if stored is None else stored.number)
            if number is not None:
                return number
        return None

    def _take_over(self, number: int, given: list[tuple[str, str]]) -> None:
        held = self._held_by(number)
        for field, value in given:
            before = held[field]
            if value == before:
                continue
            if before is not None:
                self._owners[field, before] = None
            self._owners[field, value] = number
            held[field] = value

    def _held_by(self, number: int) -> dict[str, str | None]:
        if number not in self._held:
            is_stored = number < len(self._profiles)
            self._held[number] = {
                field: getattr(self._profiles[number], field) if is_stored else None for field in IDENTIFIERS
            }
        return self._held[number]
