"""Klaviyo's lists: find or create one, look who is on it, add and remove."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Protocol

import msgspec

from airflow_provider_klaviyo.client.endpoints import (
    ADD_TO_LIST,
    CREATE_LIST,
    GET_LIST,
    GET_LISTS,
    REMOVE_FROM_LIST,
    Endpoint,
)
from airflow_provider_klaviyo.client.filters import equals
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.responses import (
    Document,
    Response,
    attributes_of,
    read_accepted,
    read_id,
    read_resource,
    read_resources,
    resources,
    text,
    unreadable,
)
from airflow_provider_klaviyo.client.retry import was_not_processed
from airflow_provider_klaviyo.exceptions import (
    KlaviyoConfigurationError,
    KlaviyoRateLimitError,
    KlaviyoRequestError,
    KlaviyoRetryableError,
    KlaviyoServerError,
    KlaviyoTimeout,
)

log = logging.getLogger(__name__)

_NOT_FOUND = (400, 404)
"""What Klaviyo answers to an id that it does not know, or that is not shaped as it expects."""

_PAUSES = (1.0, 2.0, 4.0)
"""Seconds between looks for a list whose creation may have succeeded: a new list may take a moment to be found."""

_CREATIONS = next(rate.limit for rate in CREATE_LIST.rates if rate.seconds > 60)

_MAX_CREATIONS = 3


class Creation(Protocol):
    """What keeps several from creating one list."""

    def held(self) -> AbstractContextManager[object]:
        """From the look for the name to the answer to the creation nobody else does the same."""

    def noted(self) -> str | None:
        """The id, if the list was created a moment ago, and Klaviyo's listing does not show it yet."""

    def note(self, list_id: str) -> None:
        """Note a creation for the others."""


class CreationAlone:
    """The creation of a list by one who shares nothing with others."""

    def held(self) -> AbstractContextManager[object]:
        """Nobody to wait for."""
        return nullcontext()

    def noted(self) -> str | None:
        """Nobody has created anything."""

    def note(self, list_id: str) -> None:
        """Nobody to tell."""


_ALONE = CreationAlone()


def find_list(client: KlaviyoClient, name: str) -> str | None:
    """The id of the list of exactly this name; else of the one that is named so without the blanks around it.

    :raises KlaviyoConfigurationError: when several lists have it; all ids are named.
    """
    found = find_list_as_shown(client, name)
    return str(found["id"]) if found else None


def find_list_as_shown(client: KlaviyoClient, name: str) -> Document | None:
    """The same with all that Klaviyo shows of the list.

    :raises KlaviyoConfigurationError: when several lists have the name; all ids are named.
    """
    spellings = dict.fromkeys((name, name.strip()))
    return next((found for spelling in spellings if (found := _find_exactly(client, spelling))), None)


def _find_exactly(client: KlaviyoClient, name: str) -> Document | None:
    pages = client.pages(GET_LISTS, query={"filter": equals("name", name)}, read=read_resources)
    lists = [found for page in pages for found in resources(page) if attributes_of(found).get("name") == name]
    if len(lists) > 1:
        ids = ", ".join(str(found["id"]) for found in lists)
        msg = f"Klaviyo has {len(lists)} lists named {name!r} ({ids}): use the id of the one you mean."
        raise KlaviyoConfigurationError(msg)
    return lists[0] if lists else None


def refuse_alike(client: KlaviyoClient, name: str) -> None:
    """Make sure that no list has nearly this name, before one is created that nobody wanted.

    :raises KlaviyoConfigurationError: when one differs only by letter case, Unicode form or blanks.
    """
    wanted = _folded(name)
    alike = [
        f"{shown!r} ({found['id']})"
        for page in client.pages(GET_LISTS, read=read_resources)
        for found in resources(page)
        if _folded(shown := text(attributes_of(found).get("name"))) == wanted
    ]
    if alike:
        msg = (
            f"Klaviyo has no list named {name!r}, but it has {' and '.join(alike)}. No list was created: use that "
            "name, or the id as list_id. If both are wanted, create the other one in Klaviyo."
        )
        raise KlaviyoConfigurationError(msg)


def _folded(name: str) -> str:
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def list_as_shown(client: KlaviyoClient, list_id: str) -> Document | None:
    """What Klaviyo shows of a list; None when there is no list of this id."""
    try:
        return client.send(GET_LIST, resource_id=list_id, read=partial(read_resource, expected_id=list_id))
    except KlaviyoRequestError as error:
        if error.status in _NOT_FOUND:
            return None
        raise


def name_of_list(client: KlaviyoClient, list_id: str) -> str | None:
    """The name of a list; None when there is no list of this id."""
    found = list_as_shown(client, list_id)
    return None if found is None else text(attributes_of(found).get("name")) or list_id


def count_members(client: KlaviyoClient, list_id: str) -> int:
    """How many profiles are on a list; Klaviyo counts for 15 callers a minute."""
    return client.send(
        GET_LIST,
        resource_id=list_id,
        query={"additional-fields[list]": "profile_count"},
        read=_read_count,
    )


def create_list(
    client: KlaviyoClient, name: str, opt_in_process: str | None = None, creation: Creation = _ALONE
) -> str:
    """The id of the list of this name, created if there is none.

    A creation whose answer was lost is looked for before it is repeated.

    :raises KlaviyoConfigurationError: when several lists have the name.
    :raises KlaviyoTimeout: when Klaviyo's 150 creations a day are used up.
    :raises KlaviyoServerError: when the answer was lost again and again: each creation counts among the 150.
    """
    for _ in range(_MAX_CREATIONS):
        with creation.held():
            found = find_list(client, name) or creation.noted()
            if not found:
                refuse_alike(client, name)
                if found := _create(client, name, opt_in_process):
                    creation.note(found)
        if found or (found := _appears(client, name)):
            return found
    msg = (
        f"Klaviyo was asked {_MAX_CREATIONS} times to create the list {name!r}, and the answer was lost each time. "
        "A retry looks for the list before it asks again."
    )
    raise KlaviyoServerError(msg)


def creation_body(name: str, opt_in_process: str | None = None) -> bytes:
    """The request that creates a list."""
    attributes = {"name": name} | ({"opt_in_process": opt_in_process} if opt_in_process else {})
    return msgspec.json.encode({"data": {"type": "list", "attributes": attributes}})


def _create(client: KlaviyoClient, name: str, opt_in_process: str | None) -> str | None:
    """The id of a new list; None when Klaviyo's answer was lost."""
    try:
        created = client.send(CREATE_LIST, body=creation_body(name, opt_in_process), read=read_id)
    except (KlaviyoTimeout, KlaviyoRateLimitError) as error:
        msg = (
            f"The list {name!r} cannot be created now: {error} Klaviyo allows {_CREATIONS} new lists a day for the "
            "whole account. Use a list that exists, or try again tomorrow."
        )
        raise KlaviyoTimeout(msg) from error
    except KlaviyoRetryableError as error:
        if was_not_processed(error):
            raise
        log.warning("Whether the list was created is not known, so it is looked for: %s", error)
        return None
    log.info("Created the list %r: %s.", name, created)
    return created


def _appears(client: KlaviyoClient, name: str) -> str | None:
    """Look for a list that may have been created, for a while.

    :raises KlaviyoTimeout: when the client's time is up.
    """
    late = (
        f"The time is up, and whether the list {name!r} was created is not known. A retry looks for it first."
    )
    with client.waiting_for(lambda: late):
        for pause in _PAUSES:
            client.rest(pause)
            if found := find_list(client, name):
                return found
    return None


# --- members --------------------------------------------------------------------------------------------------


def add_members(client: KlaviyoClient, list_id: str, profiles: Sequence[bytes]) -> None:
    """Put profiles, given as encoded resources, on a list."""
    client.send(ADD_TO_LIST, resource_id=list_id, body=membership_body(profiles), read=read_accepted)


def remove_members(
    client: KlaviyoClient,
    list_id: str,
    ids: Sequence[str],
    check: Callable[[Sequence[str]], Sequence[str]] | None = None,
    check_seconds: float = 0.0,
) -> None:
    """Take profiles off a list; changes nobody's consent.

    :param check: who of them may be taken off, asked right before each try; nothing is sent where that is nobody.
    :param check_seconds: how long that may take.
    """

    def body() -> bytes:
        left = check(ids) if check else ids
        if not left:
            raise _NobodyLeft
        return membership_body([profile_reference(each) for each in left])

    with suppress(_NobodyLeft):
        client.send(REMOVE_FROM_LIST, resource_id=list_id, body=body, hold=check_seconds, read=read_accepted)


class _NobodyLeft(Exception):
    """There is nothing to be sent."""


def membership_body(profiles: Sequence[bytes]) -> bytes:
    """The request that adds or removes profiles."""
    return b'{"data":[' + b",".join(profiles) + b"]}"


def profile_reference(profile_id: str) -> bytes:
    """A profile as such a request names it."""
    return msgspec.json.encode({"type": "profile", "id": profile_id})


def _read_count(endpoint: Endpoint, response: Response) -> int:
    count = attributes_of(read_resource(endpoint, response)).get("profile_count")
    if not isinstance(count, int):
        raise unreadable(endpoint, response, "does not say how many profiles are on the list")
    return count
