"""What stands for values of a query that cannot be sent, and says why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a value that the SQL driver could not turn into an object of Python."""

    reason: str


class Unsendable(Exception):
    """Carries the reason why a value cannot be sent."""
