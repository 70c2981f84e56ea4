"""Forgets a person: in states, in notes of what is on its way, and in the files of runs.

What cannot be searched does not stop it, and is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_klaviyo.cli.files import forget_in_files
from airflow_provider_klaviyo.cli.person import Person
from airflow_provider_klaviyo.cli.states import Now, key_in, locked, opened
from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.state.errors import StateLocked
from airflow_provider_klaviyo.state.keys import key_hashes
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.notes import forget_in_notes
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.sync.scratch.folder import Others, delete_abandoned
from airflow_provider_klaviyo.sync.storage import Storage

_SURELY_OVER = 7 * 86_400.0
"""Seconds after which a note no longer counts, however wrong this host's clock may be."""


@dataclass
class Forgotten:
    """What was forgotten, and what could not be searched.

    :param rows: how many rows, by state.
    :param files: how much in files of runs, by what they are.
    :param notes: out of how many notes of unsubscriptions on their way.
    :param runs: the temporary folders of runs on this machine.
    :param unread: what could not be searched, and why.
    """

    rows: dict[str, int] = field(default_factory=dict)
    files: Counter[str] = field(default_factory=Counter)
    notes: int = 0
    runs: Others = field(default_factory=lambda: Others(0, 0))
    unread: list[tuple[str, str]] = field(default_factory=list)

    def miss(self, what: object, why: object) -> None:
        """Note what could not be searched."""
        self.unread.append((str(what), str(why)))

    @property
    def is_anything(self) -> bool:
        """Whether the person was found anywhere."""
        return bool(sum(self.rows.values()) + self.files.total() + self.notes)


def forget(root: Any, folders: Sequence[Any], person: Person, key: Sequence[str], now: Now) -> Forgotten:
    """Forget a person.

    :param root: where all is kept.
    :param folders: of the states to look into.
    :param key: the values of the primary key of the person's row; none where it is not known.
    """
    forgotten = Forgotten()
    for folder in folders:
        try:
            if state_key := key_in(folder, now):
                forgotten.rows[state_key] = _forget_in_state(folder, person, key, now)
        except StateLocked as error:
            forgotten.miss(f"the state in {folder}", f"it is locked. {error}")
        except (KlaviyoError, OSError) as error:
            forgotten.miss(f"the state in {folder}", error)
    forgotten.runs = delete_abandoned(forgotten.miss)
    forgotten.files = forget_in_files(root, person, forgotten.miss)
    dead_before = now() - _SURELY_OVER
    notes = Storage(root).in_flight
    forgotten.notes = forget_in_notes(notes, person.digests(), dead_before=dead_before, unread=forgotten.miss)
    return forgotten


def _forget_in_state(folder: Any, person: Person, key: Sequence[str], now: Now) -> int:
    """Forget a person; also one whom the state does not know any more, since older files of it still may."""
    with locked(folder, now), opened(folder, now, is_read_only=False) as ledger:
        _delete_drafts(folder)
        return _forget_in_ledger(ledger, person, key)


def _forget_in_ledger(ledger: Ledger, person: Person, key: Sequence[str]) -> int:
    profile = person.identifiers.get("klaviyo_id", "").strip()
    digests = [*person.digests(), *ledger.people.ids.persons(profile)]
    found = {row for digest in digests for row in ledger.keys_of_person(digest)}
    on_list = list(ledger.people.identities(digests))  # also of rows that name somebody else by now
    if key:
        found.update(
            digest for digest in key_hashes([tuple(key)]) if digest is not None and ledger.knows(digest)
        )
    shared = ledger.shared.known(digests)
    ledger.forget(sorted(found), [*digests, *shared])
    return len(found) or len(on_list) or len(shared)


def _delete_drafts(folder: Any) -> None:
    """Delete what writers that were killed have left of entries."""
    store = store_of(folder)
    for name in store.names():
        if name.endswith(".draft"):
            store.delete(name)
