"""What is on its way to Klaviyo about members of a list: known to every sync that could make it worse.

Klaviyo works an unsubscription from a list off some time after its answer, and then unsubscribes whoever is not on the
list any more from everything. So who was asked to be unsubscribed must stay on the list until then: nobody may take
them off it, or unsubscribe them from it again.

Whoever does one or the other leaves a note first, and reads the notes of others only then. Of two at the same moment at
least one therefore finds the other's note, and backs off; at worst both do.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

import msgspec

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
from airflow_provider_klaviyo.identity import texts_of
from airflow_provider_klaviyo.state.keys import person_hashes
from airflow_provider_klaviyo.state.notes import Note, NoteFolder, Who
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.sync.contracts import SyncContext
from airflow_provider_klaviyo.sync.in_flight.index import ActiveNote, NoteIndex

UNSUBSCRIPTION, REMOVAL = "unsubscription", "removal"

OUTSTANDING = 86_400.0
"""Seconds after which an unsubscription that showed no outcome will show none."""

QUICK = 60.0
"""Seconds that leaving a note and reading those of others may take; otherwise it is done anew."""

_LATE = 2 * QUICK
"""Seconds that a removal counts beyond the time for its answer: longer than a look at the list may be old that was
made before it, by somebody who reads its note afterwards."""

_TRIES = 5
_FEW = 100
"""So many notes of a run are left before they become one."""

_MINDS = {UNSUBSCRIPTION: (UNSUBSCRIPTION, REMOVAL), REMOVAL: (UNSUBSCRIPTION,)}
"""What each must not meet; two removals of one person do no harm."""

_REASONS = {
    UNSUBSCRIPTION: (
        "left for a later run: {by} has asked for this person to be unsubscribed from this list, at {at}. Klaviyo does "
        "that later, and unsubscribes from everything whoever is off the list by then. Waited for is that the list "
        "shows it, until {until} at the latest"
    ),
    REMOVAL: (
        "left for a later run: {by} is taking this person off this list, since {at}, and Klaviyo would unsubscribe "
        "whoever is not on it from everything. Waited for is the end of that, until {until} at the latest"
    ),
}


class Claim(NamedTuple):
    """Leave to send something about all people but some.

    :param note: stands for it until it is known what became of it; None when nobody is left.
    :param held: why some must be left for a later run, by their indexes.
    """

    note: str | None
    held: Mapping[int, str]


class InFlight:
    """The notes about one list; may be used from any thread.

    :param account: notes of another account do not count; empty when it is not known.
    :param by: who leaves notes, for those who find them.
    :param is_preview: leave no notes.
    """

    def __init__(
        self,
        client: KlaviyoClient,
        folder: NoteFolder,
        index: NoteIndex,
        *,
        account: str,
        by: str,
        is_preview: bool = False,
    ) -> None:
        self._client = client
        self._folder = folder
        self._index = index
        self._account = account
        self._by = by
        self._is_preview = is_preview
        self._lock = threading.Lock()
        self._sent: list[str] = []
        self._narrowed: set[str] = set()
        self._has_read = False

    @classmethod
    def on(cls, list_id: str, context: SyncContext) -> InFlight:
        """The notes about a list, below the folder that all syncs share."""
        client, ledger = context.client, context.ledger
        account = ledger.target.get("account") if ledger else client.config.account_id
        return cls(
            client,
            NoteFolder(store_of(context.in_flight / re.sub(r"\W", "_", list_id))),
            NoteIndex(context.scratch),
            account=account or "",
            by=context.task,
            is_preview=context.is_preview,
        )

    def claim(self, kind: str, people: Sequence[Who]) -> Claim:
        """Ask for leave to send something about people, right before it is sent, and keep others from meddling.

        :raises KlaviyoRetryableError: when the storage is too slow for that.
        """
        held = self.held(people, _MINDS[kind])
        for _ in range(_TRIES):
            free = [index for index in range(len(people)) if index not in held]
            if not free or self._is_preview:
                return Claim(None, held)
            began = self._client.clock.monotonic()
            note = self._leave(kind, [people[index] for index in free])
            late = self._held_after(note, [people[index] for index in free], kind)
            if not late and self._client.clock.monotonic() - began <= QUICK:
                return Claim(note, held)
            self.withdraw(note)
            held |= {free[index]: reason for index, reason in late.items()}
        msg = (
            f"Leaving and reading notes for other syncs takes longer than {QUICK:.0f} s, so nothing is sent: "
            "[klaviyo] storage_path is too slow."
        )
        raise KlaviyoRetryableError(msg)

    def held(self, people: Sequence[Who], kinds: Collection[str] = (UNSUBSCRIPTION,)) -> dict[int, str]:
        """Who must be left for a later run because of notes of others, by index, and why."""
        self._read_new(kinds)
        hashes = {digest for who in people for digest in who}
        active = self._index.active(hashes, kinds, self._client.server_now())
        if not active:
            return {}
        found = ((index, next(filter(None, map(active.get, who)), None)) for index, who in enumerate(people))
        return {index: _reason(each) for index, each in found if each}

    def withdraw(self, note: str) -> None:
        """Take a note away: what it stands for was certainly not sent."""
        self._folder.delete([note])
        self._index.drop([note])

    def keep(self, note: str) -> None:
        """Let a note stand: what it stands for was, or may have been, sent."""
        with self._lock:
            self._sent.append(note)
            if len(self._sent) > _FEW:
                self._rewrite(self._sent)
                self._sent = []

    def clear(self, hashes: Iterable[int]) -> None:
        """The list shows what became of these people's unsubscription."""
        gone = set(hashes)
        if self._is_preview or not gone:
            return
        if not self._has_read:
            self._read_new((UNSUBSCRIPTION,))
        with self._lock:
            empty, narrowed = self._index.clear(UNSUBSCRIPTION, gone)
            self._folder.delete(empty)
            self._index.drop(empty)
            self._narrowed |= narrowed

    def tidy(self) -> None:
        """Leave few notes, and nobody in them whose outcome is known."""
        with self._lock:
            sent, narrowed = set(self._sent), self._narrowed
            self._sent, self._narrowed = [], set()
            if len(sent) > 1 or sent & narrowed:
                self._rewrite(sent)
            for name in narrowed - sent:
                self._rewrite([name])

    def close(self) -> None:
        """Forget what was read."""
        self._index.close()

    # --- notes --------------------------------------------------------------------------------------------------

    def _leave(self, kind: str, people: Sequence[Who]) -> str:
        now, answered = self._client.server_now(), self._client.longest_exchange
        until = now + (OUTSTANDING if kind == UNSUBSCRIPTION else answered + _LATE)
        note = Note(kind, self._account, self._by, now, until, people)
        name = self._folder.write(note)
        self._index.add(name, note, is_own=True)
        return name

    def _held_after(self, note: str, people: Sequence[Who], kind: str) -> dict[int, str]:
        try:
            return self.held(people, _MINDS[kind])
        except BaseException:
            self.withdraw(note)
            raise

    def _read_new(self, kinds: Collection[str]) -> None:
        """Take in what others have noted since the last look, and what they have taken away."""
        known = self._index.names()  # before the look: what is added meanwhile is not missing
        self._has_read = True
        now = self._client.server_now()
        there = {each.name: each for each in self._folder}
        dead = {name for name, each in there.items() if each.until <= now}
        if not self._is_preview:
            self._folder.delete(dead)
        new = {name for name in there.keys() - known - dead if there[name].kind in kinds}
        for name in new:
            if not self._folder.is_own(name) and (note := self._folder.read(name)):
                self._index.add(name, self._of_account(note), is_own=False)
        self._index.drop(known - there.keys())

    def _of_account(self, note: Note) -> Note:
        is_other = note.account and self._account and note.account != self._account
        return msgspec.structs.replace(note, people=()) if is_other else note

    def _rewrite(self, names: Collection[str]) -> None:
        """One note in place of some, without those who were cleared; it is there before they are gone."""
        note = self._index.merged(names)
        if note and note.people:
            self._index.rename(names, self._folder.write(note))
        else:
            self._index.drop(names)
        self._folder.delete(names)


def who(identifiers: Iterable[tuple[str, str]]) -> Who:
    """A person, by pairs of an identifier and its value."""
    return everyone([identifiers])[0]


def everyone(people: Iterable[Iterable[tuple[str, str]]]) -> list[Who]:
    """Many people, each by pairs of an identifier and its value; none of these counts twice."""
    named = [dict.fromkeys(texts_of(identifiers)) for identifiers in people]
    hashes = iter(person_hashes([text for texts in named for text in texts]))
    return [tuple(islice(hashes, len(texts))) for texts in named]


def _reason(active: ActiveNote) -> str:
    at, until = (
        f"{datetime.fromtimestamp(each, UTC):%H:%M UTC on %Y-%m-%d}" for each in (active.at, active.until)
    )
    return _REASONS[active.kind].format(by=active.by, at=at, until=until)
