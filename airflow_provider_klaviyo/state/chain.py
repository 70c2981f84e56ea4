"""Which entries of a state's log count: the newest whole one, and what it builds upon."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from airflow_provider_klaviyo.state.errors import StateDamaged
from airflow_provider_klaviyo.state.stored import WHAT_TO_DO, Stored, Torn, read
from airflow_provider_klaviyo.state.stores import Store

log = logging.getLogger(__name__)


def chain_in(store: Store, names: Mapping[int, str]) -> list[Stored]:
    """The entries that count, from their base on; none where there are none.

    :param names: the files of all entries, by number.
    :raises StateDamaged: when one is missing, or torn although others build upon it.
    :raises StateUnreadable: when one is in a format of another release.
    """
    chain: list[Stored] = []
    torn: list[str] = []
    for number in sorted(names, reverse=True):
        try:
            entry = read(store, number, names[number])
        except Torn as error:
            parent = chain[0].header.parent if chain else None
            if parent and parent.number == number:
                msg = (
                    f"The state is damaged: {store.path(names[number])} {error}. Later entries build upon it. "
                    f"{WHAT_TO_DO}"
                )
                raise StateDamaged(msg) from None
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
            f"The state is damaged: entry {missing} is missing or not what was written, and "
            f"{store.path(chain[0].name)} builds upon it. {WHAT_TO_DO}"
        )
        raise StateDamaged(msg)
    if torn and not chain:
        path = store.path(torn[0])
        msg = f"The state is damaged: {path} is torn, and there is no whole entry before it. {WHAT_TO_DO}"
        raise StateDamaged(msg)
