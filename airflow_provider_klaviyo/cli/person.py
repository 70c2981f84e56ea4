"""Whom to forget, and how values and texts are told to be about this person."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.contacts.kept import as_kept
from airflow_provider_klaviyo.state.keys import person_hash

_NUMBER = re.compile(r"\+?[\d\s().\[\]/-]+")


@dataclass(frozen=True)
class Person:
    """A person, by as many identifiers as are known: ``{"email": …, "external_id": …}``, in any spelling."""

    identifiers: Mapping[str, str]

    def digests(self) -> list[int]:
        """How the state may know this person."""
        return [
            person_hash(Identity(field, str(as_kept(field, [value.strip()])[0])))
            for field, value in self.identifiers.items()
        ]

    def is_named_by(self, value: object) -> bool:
        """Whether a value, or one inside of it, is one of the identifiers, in any letter case and spacing.

        An e-mail address also counts within other text.
        """
        if isinstance(value, Mapping):
            return any(self.is_named_by(inner) for inner in value.values())
        if isinstance(value, list):
            return any(self.is_named_by(inner) for inner in value)
        if value is None:
            return False
        text = str(value)
        is_number = bool(self._number) and _digits(text) == self._number
        return is_number or _plain(text) in self._plain or self.is_within(text)

    def is_within(self, text: str) -> bool:
        """Whether a text has the person's e-mail address in it."""
        return bool(self._address and self._address.search(text))

    def may_be_in(self, damaged: str) -> bool:
        """Whether what is left of a line has an identifier in it anywhere."""
        plain = _plain(damaged)
        return any(known in plain for known in self._plain) or bool(
            self._number and self._number in "".join(filter(str.isdigit, damaged))
        )

    @cached_property
    def _plain(self) -> set[str]:
        return {_plain(known) for known in self.identifiers.values()}

    @cached_property
    def _number(self) -> str:
        return _digits(self.identifiers.get("phone_number", ""))

    @cached_property
    def _address(self) -> re.Pattern[str] | None:
        address = _plain(self.identifiers.get("email", ""))
        return (
            re.compile(rf"(?<![\w.+-]){re.escape(address)}(?![\w-]|\.\w)", re.IGNORECASE) if address else None
        )


def _plain(text: str) -> str:
    return "".join(text.split()).lower()


def _digits(text: str) -> str:
    """The digits of what is written like a phone number."""
    return "".join(filter(str.isdigit, text)) if _NUMBER.fullmatch(text) else ""
