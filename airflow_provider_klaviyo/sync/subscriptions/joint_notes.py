"""What several threads want to write at the same moment is written at once: each entry of a state takes its time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

Asking = Mapping[int, int]
"""Whose the addresses are that somebody is asked at, by address, both as hashes."""


class _Note:
    """What one thread has to write; ``error`` is what came of it when it ``is_over``, if anything."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.is_over = False
        self.error: BaseException | None = None


class JointNotes:
    """Who comes while another one writes waits, and the first to have its turn then writes for all who wait.

    :param write: writes one entry; it is stored when that returns.
    """

    def __init__(self, write: Callable[[Asking], object]) -> None:
        self._write = write
        self._waiting: list[_Note] = []
        self._queue = threading.Lock()
        self._writing = threading.Lock()

    def add(self, asking: Asking) -> None:
        """Have people noted; they are when this returns.

        :raises BaseException: what writing the entry raised that they were to be in.
        """
        note = _Note(asking)
        with self._queue:
            self._waiting.append(note)
        with self._writing:
            if not note.is_over:
                self._write_all()
        if note.error:
            raise note.error

    def _write_all(self) -> None:
        with self._queue:
            notes, self._waiting = self._waiting, []
        error: BaseException | None = None
        try:
            self._write({address: person for note in notes for address, person in note.asking.items()})
        except BaseException as raised:
            error = raised
        for note in notes:
            note.error, note.is_over = error, True
