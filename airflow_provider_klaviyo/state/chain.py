"""Which entries of a state's log count: the newest whole one, and what it builds upon."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from airflow_provider_klaviyo.state.errors import StateDamaged
from airflow_provider_klaviyo.state.stored import WHAT_TO_DO, Stored, Torn, name_of, read
from airflow_provider_klaviyo.state.stores import Store
from airflow_provider_klaviyo.workers import side_by_side

log = logging.getLogger(__name__)


_AT_ONCE = 8
"""So many entries are read at once: a store far away answers each after a tenth of a second."""


def chain_in(store: Store, names: Mapping[int, str], scratch: Path | None) -> list[Stored]:
    """The entries that count, from their base on; none where there are none.

    A state whose very first entry is torn, and alone, was never begun: its worker was killed as it wrote that.

    :param names: the files of all entries, by number.
    :param scratch: a private folder of this run, where long payloads are kept.
    :raises StateDamaged: when one is missing, or torn although others build upon it.
    :raises StateUnreadable: when one is in a format of another release.
    """
    chain: list[Stored] = []
    torn: list[str] = []
    for number, entry in _newest_first(store, names, scratch):
        if isinstance(entry, Torn):
            parent = chain[0].header.parent if chain else None
            if parent and parent.number == number:
                msg = (
                    f"The state is damaged: {store.path(names[number])} {entry}. Later entries build upon it. "
                    f"{WHAT_TO_DO}"
                )
                raise StateDamaged(msg)
            torn.append(names[number])
            continue
        if chain and chain[0].header.parent != entry.as_parent:
            continue  # somebody's who had not seen the entry before it; nothing builds upon it
        chain.insert(0, entry)
        if entry.number == entry.header.base:
            break
    _check_base(store, chain, torn)
    for name in torn:
        path = store.path(name)
        log.warning("%s was not written to its end, as when a worker is killed. It does not count.", path)
    return chain


def _newest_first(
    store: Store, names: Mapping[int, str], scratch: Path | None
) -> Iterator[tuple[int, Stored | Torn]]:
    """Every entry from the newest on, down to the base of the newest whole one."""

    def read_one(number: int) -> tuple[int, Stored | Torn]:
        try:
            return number, read(store, number, names[number], scratch)
        except Torn as error:
            return number, error

    numbers = sorted(names, reverse=True)
    for index, number in enumerate(numbers):
        found = read_one(number)
        yield found
        if isinstance(found[1], Stored):
            base = found[1].header.base
            rest = [each for each in numbers[index + 1 :] if each >= base]
            for first in range(0, len(rest), _AT_ONCE):
                yield from side_by_side(read_one, rest[first : first + _AT_ONCE])
            return


def newest_before(store: Store, names: Mapping[int, str], base: int) -> Stored | None:
    """The newest whole entry before a base; None where there is none.

    :param names: the files of all entries, by number.
    """
    for number in sorted((number for number in names if number < base), reverse=True):
        try:
            return read(store, number, names[number])
        except Torn:
            continue
    return None


def _check_base(store: Store, chain: list[Stored], torn: list[str]) -> None:
    if chain and chain[0].number != chain[0].header.base:
        header = chain[0].header
        missing = header.parent.number if header.parent else header.base
        msg = (
            f"The state is damaged: {store.path(name_of(missing))} is missing or not what was written, and "
            f"{chain[0].name} builds upon it. {WHAT_TO_DO}"
        )
        raise StateDamaged(msg)
    if torn and not chain and torn != [name_of(1)]:
        path = store.path(torn[0])
        msg = f"The state is damaged: {path} is torn, and there is no whole entry before it. {WHAT_TO_DO}"
        raise StateDamaged(msg)
