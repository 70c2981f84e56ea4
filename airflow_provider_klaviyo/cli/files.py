"""Takes one person out of the files of runs: rejected rows, previews, reports, and what deferred tasks have left."""

from __future__ import annotations

import json
import logging
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo.cli.person import Person
from airflow_provider_klaviyo.state.remote import listed
from airflow_provider_klaviyo.sync.deferral import forgotten_rows
from airflow_provider_klaviyo.sync.rejects import encode_json, make_private
from airflow_provider_klaviyo.sync.run_files import DRAFT, kind_of

log = logging.getLogger(__name__)

Unread = Callable[[object, object], None]
"""Told of a file, or a place in one, that could not be searched, and why."""

FORGOTTEN = "(forgotten)"
"""In place of what a report quotes of the person."""


def forget_in_files(root: Any, person: Person, unread: Unread) -> Counter[str]:
    """Delete what the files of runs below a folder have of a person.

    :param root: where all is kept. What is not the file of a run is left alone.
    :param unread: told of what could not be searched; the others are.
    :returns: how many ``rejects`` (lines), ``previews`` (files), ``deferred`` (rows), ``reports`` and
        ``rolls`` had the person.
    """
    found: Counter[str] = Counter()
    if not person.identifiers:
        return found
    for file in _files(root, unread):
        name = file.name.removeprefix(".").removesuffix(DRAFT)
        kind = kind_of(name)
        if kind is None:
            continue
        try:
            if file.name != name:
                file.unlink()  # left by a command that was killed
            else:
                found[kind] += _FORGET[kind](file, person, unread)
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            unread(file, error)
    return found


def _files(folder: Any, unread: Unread) -> Iterator[Any]:
    try:
        paths = sorted(listed(folder), key=str)
    except OSError as error:
        unread(folder, error)
        return
    for path in paths:
        if path.is_dir():
            yield from _files(path, unread)
        else:
            yield path


def _in_rejects(file: Any, person: Person, unread: Unread) -> int:
    lines = file.read_bytes().splitlines(keepends=True)
    kept = []
    for number, line in enumerate(lines, 1):
        try:
            has_person = person.is_named_by(json.loads(line))
        except (ValueError, RecursionError):
            has_person = person.may_be_in(line.decode(errors="replace"))
            if not has_person:
                unread(
                    f"{file}, line {number}", "it is torn, so whether it is of this person cannot be known"
                )
        if not has_person:
            kept.append(line)
    if len(kept) < len(lines):
        _rewrite(file, b"".join(kept))
    return len(lines) - len(kept)


def _in_preview(file: Any, person: Person, unread: Unread) -> int:  # noqa: ARG001 - one signature for all
    """Delete it with all that it shows; a damaged one, which shows nothing, too."""
    try:
        if not person.is_named_by(json.loads(file.read_bytes())):
            return 0
    except (ValueError, RecursionError):
        log.warning("%s is torn, and deleted", file)
    file.unlink()
    return 1


def _in_deferred(file: Any, person: Person, unread: Unread) -> int:  # noqa: ARG001 - one signature for all
    """Blank the person's rows, whose places in their job stay."""
    content, count = forgotten_rows(file.read_bytes(), person.is_named_by)
    if count:
        _rewrite(file, content)
    return count


def _in_roll(file: Any, person: Person, unread: Unread) -> int:  # noqa: ARG001 - one signature for all
    """Delete it whole, as it serves for a Dag run only; a torn one, too."""
    with file.open("rb") as content:
        content.readline()
        while block := content.read(1 << 20):
            found = array("q", block[: len(block) // 8 * 8])
            if not set(person.digests()).isdisjoint(found):
                break
        else:
            return 0
    file.unlink()
    return 1


def _in_report(file: Any, person: Person, unread: Unread) -> int:  # noqa: ARG001 - one signature for all
    report = json.loads(file.read_bytes())
    without = _without(report, person)
    if without == report:
        return 0
    _rewrite(file, encode_json(without))
    return 1


def _without(value: Any, person: Person) -> Any:
    """The value with other text in place of each text that is about the person; numbers are counts."""
    if isinstance(value, dict):
        return {name: _without(inner, person) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, person) for inner in value]
    return FORGOTTEN if isinstance(value, str) and person.is_named_by(value) else value


def _rewrite(file: Any, content: bytes) -> None:
    if isinstance(file, Path):
        draft = file.with_name(f".{file.name}{DRAFT}")
        draft.touch(mode=0o600)
        draft.write_bytes(content)
        draft.replace(file)
    else:
        file.write_bytes(content)
    make_private(file)


_FORGET: dict[str, Callable[[Any, Person, Unread], int]] = {
    "rejects": _in_rejects,
    "previews": _in_preview,
    "deferred": _in_deferred,
    "reports": _in_report,
    "rolls": _in_roll,
}
