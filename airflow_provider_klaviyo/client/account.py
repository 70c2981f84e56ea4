"""Which account a key belongs to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from airflow_provider_klaviyo.client.config import connection_named
from airflow_provider_klaviyo.client.endpoints import GET_ACCOUNTS, Endpoint
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.private_files import NotPrivate, open_private, private_folder
from airflow_provider_klaviyo.client.responses import (
    Response,
    attributes_of,
    read_resources,
    resources,
    text,
    unreadable,
)
from airflow_provider_klaviyo.exceptions import KlaviyoAccountError, KlaviyoConfigurationError

REMEMBERED_SECONDS = 3_600
"""Asking is scarce (15 a minute for the whole account), and a key never moves to another account."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account of a key, as far as people need it to recognise it."""

    id: str
    name: str
    is_test: bool

    def __str__(self) -> str:
        return f"{self.id} ({self.name})" if self.name else self.id


def get_account(client: KlaviyoClient) -> Account:
    """Ask Klaviyo which account the client's key belongs to (scope ``accounts:read``)."""
    return client.send(GET_ACCOUNTS, read=_read)


def known_account_id(client: KlaviyoClient, memory: Path) -> str:
    """The id of the account that the client's key belongs to, asked for at most once an hour.

    :param memory: a private folder of this host, where the answer is remembered.
    :raises KlaviyoConfigurationError: when it may be somebody else's.
    """
    return _remembered(client, memory) or _ask(client, memory).id


def check_account(client: KlaviyoClient, memory: Path) -> None:
    """Make sure that the key belongs to the account that the connection names, if it names one.

    :param memory: a private folder of this host, where a match is remembered for an hour.
    :raises KlaviyoAccountError: when it belongs to another; both are named.
    """
    expected = client.config.account_id
    if not expected or _remembered(client, memory) == expected:
        return
    account = _ask(client, memory)
    if account.id != expected:
        msg = (
            f"The key of {connection_named(client.config.conn_id)} belongs to the Klaviyo account {account}, "
            f"but its account_id is {expected}. Nothing was sent: use the key of that account, "
            "or change account_id."
        )
        raise KlaviyoAccountError(msg)


def _read(endpoint: Endpoint, response: Response) -> Account:
    found = resources(read_resources(endpoint, response))
    if not found:
        raise unreadable(endpoint, response, "names no account")
    attributes = attributes_of(found[0])
    contact = attributes.get("contact_information")
    name = contact.get("organization_name") if isinstance(contact, Mapping) else None
    return Account(text(found[0]["id"]), text(name), attributes.get("test_account") is True)


def _remembered(client: KlaviyoClient, memory: Path) -> str:
    try:
        with _opened(client, memory, "r") as note:
            age = client.clock.now() - os.fstat(note.fileno()).st_mtime
            return note.read() if 0 <= age < REMEMBERED_SECONDS else ""
    except OSError as error:
        _do_without(error)
        return ""


def _ask(client: KlaviyoClient, memory: Path) -> Account:
    account = get_account(client)
    now = client.clock.now()
    try:
        with _opened(client, memory, "w") as note:
            note.write(account.id)
            note.flush()
            os.utime(note.fileno(), (now, now))
    except OSError as error:
        _do_without(error)
    return account


def _opened(client: KlaviyoClient, memory: Path, mode: str) -> TextIO:
    text = f"{client.config.base_url}\0{client.config.api_key}"
    path = private_folder(memory) / f"account-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    return open(path, mode, encoding="ascii", errors="replace", opener=open_private)  # type: ignore[return-value]


def _do_without(error: OSError) -> None:
    """A note that cannot be read or written is no matter, unless it may be false."""
    if isinstance(error, NotPrivate):
        msg = f"Which account a key belongs to is noted on this host, but {error.strerror}."
        raise KlaviyoConfigurationError(msg) from None
