"""How numbers are told."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and what it is of: ``1 import job``, ``1,200 import jobs``.

    :param plural: of the noun, where that is not an added s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
