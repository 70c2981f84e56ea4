"""Whom something is about: the one place that writes, reads and compares identities.

An identity is an identifier's name and a value of it. States keep it, and the hashes of it, as text: ``field NUL
value``. Records of a run are mostly known by one identifier, so most of them carry the value alone, which costs
nothing a row; ``in_full`` makes the whole text of it, and ``Identity.of`` reads either. No value holds a NUL
character: mappings refuse it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

_NUL = "\0"


class Identity(NamedTuple):
    """A value of an identifier (``klaviyo_id``, ``email``, ``phone_number``, ``external_id``), as Klaviyo keeps it."""

    field: str
    value: str

    @property
    def text(self) -> str:
        """As states keep it, and as it is hashed: this may never change."""
        return f"{self.field}{_NUL}{self.value}"

    @classmethod
    def of(cls, text: str, field: str = "") -> Identity:
        """Read a text, be it whole or a value alone.

        :param field: what a value alone is one of.
        """
        named, nul, value = text.partition(_NUL)
        return cls(named, value) if nul else cls(field, text)


def texts_of(identities: Iterable[tuple[str, str]]) -> list[str]:
    """The texts of many identities, as ``Identity.text`` gives each.

    :param identities: pairs of an identifier and its value.
    """
    return [f"{field}{_NUL}{value}" for field, value in identities]


def in_full(texts: Sequence[str], field: str) -> list[str]:
    """Whole texts of texts that may be values alone.

    :param field: what values alone are those of.
    """
    prefix = f"{field}{_NUL}"
    return [text if _NUL in text else prefix + text for text in texts]


def comparable(field: str, value: str) -> str:
    """A value in the one spelling that it is compared in: Klaviyo keeps e-mail addresses in lower case."""
    return value.lower() if field == "email" else value
