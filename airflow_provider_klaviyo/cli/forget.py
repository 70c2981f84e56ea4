"""Takes one person out of the files that hold rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.contacts.kept import as_kept
from airflow_provider_klaviyo.state.keys import person_hash
from airflow_provider_klaviyo.sync.rejects import make_private

_NUMBER = re.compile(r"\+?[\d\s().\[\]/-]+")


@dataclass(frozen=True, slots=True)
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
        """Whether a value, or one inside of it, is one of the identifiers, in any letter case and spacing."""
        if isinstance(value, Mapping):
            return any(self.is_named_by(inner) for inner in value.values())
        if isinstance(value, list):
            return any(self.is_named_by(inner) for inner in value)
        if value is None:
            return False
        number = _digits(self.identifiers.get("phone_number", ""))
        is_number = bool(number) and _digits(str(value)) == number
        return is_number or _plain(str(value)) in {_plain(known) for known in self.identifiers.values()}


def forget_in_files(root: Any, person: Person) -> tuple[int, int]:
    """Delete a person's lines in files of rejected rows, and previews that show the person, below a folder.

    :returns: how many lines and how many previews.
    """
    lines = previews = 0
    if not person.identifiers:
        return lines, previews
    for file in _files(root):
        if file.name.endswith(".rejects.jsonl"):
            lines += _without(file, person)
        elif ".preview-" in file.name and _shows(file, person):
            file.unlink()
            previews += 1
    return lines, previews


def _files(folder: Any) -> Iterator[Any]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _without(file: Any, person: Person) -> int:
    with file.open("rb") as content:
        lines = content.read().splitlines(keepends=True)
    kept = [line for line in lines if not person.is_named_by(json.loads(line)["row"])]
    if len(kept) < len(lines):
        with file.open("wb") as content:
            content.write(b"".join(kept))
        make_private(file)
    return len(lines) - len(kept)


def _shows(file: Any, person: Person) -> bool:
    with file.open("rb") as content:
        return person.is_named_by(json.loads(content.read()))


def _plain(text: str) -> str:
    return "".join(text.split()).lower()


def _digits(text: str) -> str:
    """The digits of what is written like a phone number."""
    return "".join(filter(str.isdigit, text)) if _NUMBER.fullmatch(text) else ""
