"""Which list a sync works on: found by name or id, or created once among all who share a folder."""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import create_list, find_list, name_of_list
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoTimeout
from airflow_provider_klaviyo.state.storage import create, listed

log = logging.getLogger(__name__)

_LIFETIME = 300.0
"""Seconds after which the lock of one who died is passed over; a creation takes one or two requests."""

_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class ListTarget:
    """A list by its name or its id, as an operator's parameters name it.

    :param creates: whether a list of this name is created where there is none.
    :param folder: a folder that all who might create the list share.
    """

    name: str | None
    id: str | None
    creates: bool
    opt_in_process: str | None
    folder: Any

    def __str__(self) -> str:
        return f"the list {self.name!r}" if self.id is None else f"the list of the id {self.id}"

    def find(self, client: KlaviyoClient) -> str | None:
        """The list's id; None where there is none yet.

        :raises KlaviyoConfigurationError: when the id is nobody's, or several lists have the name.
        """
        if self.id is None:
            return find_list(client, self.name or "")
        if name_of_list(client, self.id) is None:
            msg = f"Klaviyo has no list with the id {self.id}. Nothing was sent: check list_id, or use list_name."
            raise KlaviyoConfigurationError(msg)
        return self.id

    def obtain(self, client: KlaviyoClient) -> str:
        """The list's id; it is created if need be.

        :raises KlaviyoConfigurationError: when there is none and none may be created.
        """
        found = self.find(client)
        if found:
            return found
        if not self.creates:
            raise KlaviyoConfigurationError(self.missing())
        return create_list_once(client, self.name or "", self.opt_in_process, self.folder)

    def missing(self, what_to_do: str = "create it, or set create_list=True") -> str:
        """That there is no such list, and what to do."""
        return f"Klaviyo has no list named {self.name!r}. Nothing was sent: check the spelling, {what_to_do}."


def create_list_once(client: KlaviyoClient, name: str, opt_in_process: str | None, folder: Any) -> str:
    """The id of the list of this name; all who share the folder create it once."""
    lock = _CreationLock(client, name, folder)
    return create_list(client, name, opt_in_process, lock=lock.held)


class _Claim(msgspec.Struct):
    token: str
    until: float


class _CreationLock:
    """Numbered files, each created by one only; the highest one counts, until it is deleted or its time is up.

    A dead holder's file is never replaced but outnumbered, so that of two who find it only one goes on.
    """

    def __init__(self, client: KlaviyoClient, name: str, folder: Any) -> None:
        told = f"{client.config.base_url}\0{client.config.quota_name}\0{name}"
        self._prefix = f"{hashlib.sha256(told.encode()).hexdigest()[:24]}-"
        self._client = client
        self._folder = folder

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; waits for others who create the same list.

        :raises KlaviyoTimeout: when the client's time is up.
        """
        while (number := self._claim()) is None:
            deadline = self._client.deadline
            if deadline is not None and self._client.clock.now() + _PAUSE > deadline:
                msg = "The time is up while another task creates the list. A retry finds it."
                raise KlaviyoTimeout(msg)
            self._client.sleep(_PAUSE)
        try:
            yield
        finally:
            self._release(number)

    def _claim(self) -> int | None:
        """The number of a claim of our own; None while somebody else's counts."""
        claims = self._claims()
        last = max(claims, default=0)
        if last and self._counts(claims[last]):
            return None
        line = msgspec.json.encode(_Claim(uuid.uuid4().hex, time.time() + _LIFETIME)) + b"\n"
        is_ours = create(self._folder, f"{self._prefix}{last + 1}", line, lambda: iter(()))
        return last + 1 if is_ours else None

    def _claims(self) -> dict[int, Any]:
        return {
            int(file.name.removeprefix(self._prefix)): file
            for file in listed(self._folder)
            if file.name.startswith(self._prefix) and file.name.removeprefix(self._prefix).isdecimal()
        }

    def _counts(self, file: Any) -> bool:
        try:
            with file.open("rb") as content:
                return msgspec.json.decode(content.readline(), type=_Claim).until > time.time()
        except (OSError, msgspec.DecodeError):  # just deleted, or half written by one who died
            return False

    def _release(self, number: int) -> None:
        for claimed, file in self._claims().items():
            if claimed <= number:
                with suppress(Exception):
                    file.unlink()
