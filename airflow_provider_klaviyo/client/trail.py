"""The way through the pages of a collection: where the next one is, and that the way ends."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.responses import Document, Response, unreadable

Query = Mapping[str, str]

MOST_PAGES = 1_000_000
"""Pages of one scan: a hundred million people, a day of the account's quota, some 60 MB of memory to remember them."""

MOST_EMPTY = 100
"""Empty pages in a row. One may be empty, where people were deleted; so many are a scan that gets nowhere, and whose
fresh cursors would never be seen to come back."""


class Trail:
    """What a scan has asked for, so that it never asks for the same twice.

    :param query: what it asks for first.
    """

    def __init__(self, query: Query) -> None:
        self._asked: set[int] = set()
        self._empty = 0
        self.pages = 0
        self.query = query

    def next_query(self, endpoint: Endpoint, response: Response, document: Document) -> Query:
        """What to ask for after a page; empty when it was the last one.

        :raises KlaviyoResponseError: where there is more to read and the page does not say where, or leads back.
        """
        following = _next_query(endpoint, response, document)
        if following and (following == self.query or _hash(following) in self._asked):
            raise unreadable(
                endpoint, response, "leads back to a page that was read: its pages go in a circle"
            )
        if following and self.pages >= MOST_PAGES:
            raise unreadable(endpoint, response, f"has more than {MOST_PAGES:,} pages")
        if following and not document["data"] and self._empty >= MOST_EMPTY:
            raise unreadable(
                endpoint, response, f"has nothing on {MOST_EMPTY} pages in a row, and always a next one"
            )
        return following

    def go_on(self, document: Document, following: Query) -> None:
        """Take a page for read, and what follows for what is asked next."""
        self._asked.add(_hash(self.query))
        self._empty = 0 if document["data"] else self._empty + 1
        self.pages += 1
        self.query = following


def is_last(page: Document) -> bool:
    """Whether no page follows one that was read."""
    links = page.get("links")
    return not (isinstance(links, Mapping) and links.get("next"))


def _hash(query: Query) -> int:
    return hash(frozenset(query.items()))


def _next_query(endpoint: Endpoint, response: Response, page: Document) -> Query:
    """The query of ``links.next``; empty for the last page. Its host is left out: it may be another."""
    links = page.get("links") or {}
    following = links.get("next") if isinstance(links, Mapping) else links
    if following is None or following == "":
        return {}
    try:
        query = dict(parse_qsl(urlsplit(following).query)) if isinstance(following, str) else {}
    except ValueError:  # no URL
        query = {}
    if not query:
        raise unreadable(endpoint, response, "has more pages and does not say where")
    return query
