"""Everybody on a list, read by several cursors side by side."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

from airflow_provider_klaviyo.client.abreast import Crew
from airflow_provider_klaviyo.client.endpoints import GET_LIST_PROFILES
from airflow_provider_klaviyo.client.filters import MAX_VALUES, before, from_on
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.list_ranges import Cursor, Joined, OutOfOrder, Ranges
from airflow_provider_klaviyo.client.members import Member, MemberPage, members_of, read_members
from airflow_provider_klaviyo.client.trail import is_last
from airflow_provider_klaviyo.exceptions import KlaviyoRequestError

log = logging.getLogger(__name__)

_JOINED = "joined_group_at"
_FIELDS = f"email,phone_number,external_id,{_JOINED}"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_REFUSED = 400


def all_members(client: KlaviyoClient, list_id: str) -> Generator[list[Member]]:
    """Everybody on a list, a page at a time and in no order; some come twice, as who changed meanwhile may.

    Whoever leaves or joins while it is read may come or not, and everybody else comes.
    """
    try:
        with closing(_Reading(client, list_id).pages()) as pages:
            yield from pages
    except _OneCursor as reason:
        for number, page in enumerate(_pages(client, list_id, {})):
            if not number:
                log.warning("%s: one cursor reads the list, page after page.", reason)
            yield members_of(page)


class _OneCursor(Exception):
    """The list cannot be read by ranges, for this reason."""


class _Reading:
    """The cursors of one list, each with its way through the pages, and who of them waits for a thread."""

    def __init__(self, client: KlaviyoClient, list_id: str) -> None:
        self._client = client
        self._list_id = list_id
        self._ranges = Ranges()
        self._newest: Cursor | None = None
        self._ways: dict[Cursor, Iterator[MemberPage]] = {}
        self._ready = [self._ranges.first]

    def pages(self) -> Generator[list[Member]]:
        """Everybody.

        :raises _OneCursor: where Klaviyo does not permit it, or does not keep to what was asked.
        """
        crew = Crew(self._client, self._client.pace(GET_LIST_PROFILES), self._read)
        try:
            while not self._ranges.is_read:
                self._give(crew)
                crew.wait()
                for piece in crew.ended():
                    self._take(piece.argument, piece.result)
                    yield members_of(piece.result)
        except OutOfOrder as error:
            msg = f"Klaviyo does not read a list's members by when they joined, since {error}"
            raise _OneCursor(msg) from None
        except KlaviyoRequestError as error:
            if error.status != _REFUSED:
                raise
            msg = "Klaviyo refuses to read a list's members by when they joined"
            raise _OneCursor(msg) from error
        finally:
            crew.stop()

    def _give(self, crew: Crew[Cursor, MemberPage]) -> None:
        self._ready += self._ranges.more(crew.pace.width - len(crew.begun) - len(self._ready))
        self._ready = [each for each in self._ready if not self._is_done(each)]
        while self._ready and crew.has_room:
            crew.give(self._ready.pop(0))

    def _read(self, cursor: Cursor) -> MemberPage:
        """The next page of a cursor; each has one thread at a time."""
        if cursor not in self._ways:
            self._ways[cursor] = _pages(self._client, self._list_id, _asked_by(cursor))
        return next(self._ways[cursor])

    def _take(self, cursor: Cursor, page: MemberPage) -> None:
        instants = _instants([each.attributes.joined_group_at for each in page["data"]])
        joined = [Joined(each.id, at) for each, at in zip(page["data"], instants, strict=True)]
        if cursor is self._newest:
            self._ranges.newest(joined)
            cursor.is_done = True
        else:
            self._ranges.take(cursor, joined, is_last=is_last(page))
        if not self._is_done(cursor):
            self._ready.append(cursor)
        if self._newest is None and not self._ranges.is_read:
            self._look_how_far(cursor)

    def _is_done(self, cursor: Cursor) -> bool:
        if cursor.is_done:
            self._ways.pop(cursor, None)
        return cursor.is_done

    def _look_how_far(self, cursor: Cursor) -> None:
        """After the first page, ask for the last one."""
        self._newest = Cursor(None, is_backwards=True)
        if cursor.at is None:
            log.warning(
                "The list does not show when its members joined: one cursor reads it, page after page."
            )
        else:
            self._ready.append(self._newest)


def _pages(client: KlaviyoClient, list_id: str, asked: Mapping[str, str]) -> Iterator[MemberPage]:
    query = {"fields[profile]": _FIELDS, "page[size]": str(MAX_VALUES), **asked}
    return client.pages(GET_LIST_PROFILES, resource_id=list_id, query=query, read=read_members)


def _asked_by(cursor: Cursor) -> dict[str, str]:
    sort = {"sort": f"-{_JOINED}" if cursor.is_backwards else _JOINED}
    if cursor.start is None:
        return sort
    start = (_EPOCH + cursor.start * _MICROSECOND).isoformat().replace("+00:00", "Z")
    return {**sort, "filter": before(_JOINED, start) if cursor.is_backwards else from_on(_JOINED, start)}


def _instants(shown: Sequence[object]) -> list[int | None]:
    """When members joined, in microseconds; None where that is not shown."""
    try:
        return [(each - _EPOCH) // _MICROSECOND for each in map(datetime.fromisoformat, shown)]  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # one of them is not shown, or has no offset
        return list(map(_instant, shown))


def _instant(shown: object) -> int | None:
    try:
        joined = datetime.fromisoformat(str(shown))
        return ((joined if joined.tzinfo else joined.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        return None
