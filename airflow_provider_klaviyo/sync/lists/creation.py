"""One list, created once: those who share a folder take turns, and tell each other what Klaviyo does not show yet."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from airflow_provider_klaviyo.client.clock import moment_of
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import name_of_list
from airflow_provider_klaviyo.state.storage import usable
from airflow_provider_klaviyo.state.stores import Store, store_of

log = logging.getLogger(__name__)

_LIFETIME = 300.0
"""Seconds after which the lock of one who died is passed over; a creation takes one or two requests."""

_REMEMBERED = 600.0
"""Seconds that a creation is remembered, because Klaviyo's listing may not show the list at once."""

_HIDDEN = 60.0
"""Seconds that a new list may be unknown to Klaviyo even by its id; later it is one that was deleted."""

_PAUSE = 0.5
_NOTE = "created"


class _Claim(msgspec.Struct):
    token: str
    until: float


class _Created(msgspec.Struct):
    """What is noted of a creation; without the list's name, of which the file's own name holds a hash."""

    account: str
    list_id: str
    at: float


class ListCreation:
    """The creation of a list, among all who share a folder: one at a time, and remembered for some minutes.

    The lock is made of numbered files, each created by one only; the highest one counts, until it is deleted or its
    time is up. A dead holder's file is never replaced but outnumbered, so that of two who find it only one goes on.

    :param name: of the list, as it is created.
    :param lifetime: seconds for which a lock counts.
    """

    def __init__(self, client: KlaviyoClient, name: str, folder: Any, *, lifetime: float = _LIFETIME) -> None:
        self.name = name
        self._account = _account(client)
        self._prefix = _digest(f"{self._account}\0{name}") + "-"
        self._client = client
        self._lifetime = lifetime
        self._now = client.clock.now
        self._met: dict[str, float] = {}
        self._store = store_of(folder)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; waits for others who create the same list.

        :raises KlaviyoTimeout: when the client's time is up.
        :raises KlaviyoConfigurationError: when nothing can be written to the folder, or its store lets two of them
            create the same file.
        """
        with usable(self._store, names="the ids of Dag and task"):
            self._store.prove_exclusive(
                "No list can be created by tasks that take turns in", "two of them could each create the list"
            )
        with self._client.waiting_for(_late_for_another):
            while (number := self._claim()) is None:
                self._client.rest(_PAUSE)
        try:
            yield
        finally:
            self._release(number)

    def noted(self) -> str | None:
        """The id of the list, if it was created a moment ago and still has the name; waits until Klaviyo knows it."""
        created = self._read(f"{self._prefix}{_NOTE}")
        if created and _name_of_new(self._client, created) == self.name:
            return created.list_id
        return None

    def note(self, list_id: str) -> None:
        """Note a creation, and forget those of long ago; the list is there, so a failure to do so is only logged."""
        try:
            created = _Created(self._account, list_id, self._now())
            self._store.put(f"{self._prefix}{_NOTE}", msgspec.json.encode(created))
            for old in _notes(self._store):
                if self._read(old) is None:
                    self._store.delete(old)
        except Exception as error:
            log.warning("The creation of the list could not be noted in %s: %s", self._store, error)

    def _read(self, name: str) -> _Created | None:
        return _read(self._store, name, self._now())

    def _claim(self) -> int | None:
        """The number of a claim of our own; None while somebody else's counts."""
        with usable(self._store, names="the ids of Dag and task"):
            claims = self._claims()
            last = max(claims, default=0)
            if last and self._counts(claims[last]):
                return None
            line = msgspec.json.encode(_Claim(uuid.uuid4().hex, self._now() + self._lifetime)) + b"\n"
            is_ours = self._store.create(f"{self._prefix}{last + 1}", line, lambda: iter(()))
        return last + 1 if is_ours else None

    def _claims(self) -> dict[int, str]:
        return {
            int(name.removeprefix(self._prefix)): name
            for name in self._store.names()
            if name.startswith(self._prefix) and name.removeprefix(self._prefix).isdecimal()
        }

    def _counts(self, claim: str) -> bool:
        """Whether its time is not up, by the time of day, nor by how long it was met: another's clock may be wrong."""
        now = self._client.clock.monotonic()
        try:
            is_over = msgspec.json.decode(self._store.read(claim), type=_Claim).until <= self._now()
        except (OSError, msgspec.DecodeError):  # just deleted, or half written by one who died
            return False
        return not is_over and now < self._met.setdefault(claim, now) + self._lifetime

    def _release(self, number: int) -> None:
        for claimed, name in self._claims().items():
            if claimed <= number:
                with suppress(Exception):
                    self._store.delete(name)


def appears(client: KlaviyoClient, folder: Any, list_id: str) -> bool:
    """Whether a list that Klaviyo does not know was created a moment ago; waits until Klaviyo knows it.

    :param folder: that of those who create lists.
    """
    account = _account(client)
    store = store_of(folder)
    try:
        notes = [_read(store, name, client.clock.now()) for name in _notes(store)]
    except OSError:  # nobody could have noted anything there
        return False
    return any(
        _name_of_new(client, created) is not None
        for created in notes
        if created and (created.account, created.list_id) == (account, list_id)
    )


def _name_of_new(client: KlaviyoClient, created: _Created) -> str | None:
    """The name of a list, as soon as Klaviyo knows it; None when it is too old to be merely unknown yet."""
    late = f"The time is up, and Klaviyo does not know the new list {created.list_id} yet."
    clock = client.clock
    until = min(moment_of(clock, created.at), clock.monotonic()) + _HIDDEN
    with client.waiting_for(lambda: late):
        while (name := name_of_list(client, created.list_id)) is None and clock.monotonic() < until:
            client.rest(_PAUSE)
    return name


def _late_for_another() -> str:
    return "The time is up while another task creates the list. A retry finds it."


def _notes(store: Store) -> list[str]:
    return [name for name in store.names() if name.endswith(f"-{_NOTE}")]


def _read(store: Store, name: str, now: float) -> _Created | None:
    """What is noted of a creation; None where there is no note that still counts."""
    try:
        created = msgspec.json.decode(store.read(name), type=_Created)
    except (OSError, msgspec.DecodeError):
        return None
    return created if now < created.at + _REMEMBERED else None


def _account(client: KlaviyoClient) -> str:
    return _digest(f"{client.config.base_url}\0{client.config.quota_name}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
