"""What stands for values of a query that cannot be sent, and says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a value that the SQL driver could not turn into an object of Python."""

    reason: str


class Unsendable(Exception):
    """Carries the reason why a value cannot be sent."""


def unreadable_in(values: Sequence[object]) -> dict[int, str]:
    """The reasons of those values that the driver could not read, by their places."""
    if Unreadable not in set(map(type, values)):
        return {}
    return {place: value.reason for place, value in enumerate(values) if isinstance(value, Unreadable)}
