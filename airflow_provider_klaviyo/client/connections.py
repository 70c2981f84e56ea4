"""Connections that another thread can end, and the sessions that keep them open.

A thread that waits for a socket cannot be told anything. What ends the wait is the socket being shut down, so every
connection of urllib3's tells the line of its exchange which one it is about to wait for.
"""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    import requests

_LINE: ContextVar[Line | None] = ContextVar("klaviyo_line", default=None)


class Line:
    """What one exchange waits for. Who leaves its context ends the exchange, in whatever thread that is.

    ``was_sent`` says whether the request has begun to leave: before that, nobody can have got it. ``awaited_since`` is
    when all of it had. ``query`` is what the request's path lacks until it leaves.

    :param now: the time, on a scale that never jumps.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.query = ""
        self.was_sent = False
        self.awaited_since: float | None = None
        self._now = now
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cut()

    def carry(self) -> None:
        """Let the connections that this thread uses from now on belong to the line."""
        _LINE.set(self)

    def hold(self, held: socket.socket, *, to_send: bool = False) -> None:
        """Tell what is waited for next.

        :param to_send: whether the request leaves now.
        :raises ConnectionAbortedError: when the exchange was given up, so that nothing leaves any more.
        """
        with self._lock:
            if self._is_cut:
                msg = "the exchange was given up"
                raise ConnectionAbortedError(msg)
            self._socket = held
            self.was_sent = self.was_sent or to_send

    def await_answer(self) -> None:
        """Tell that nothing of the request is left to be sent."""
        self.awaited_since = self._now()

    def let_go(self) -> bool:
        """End the exchange in its own thread; False when another was first, so that its connection is of no use."""
        with self._lock:
            self._socket = None
            return not self._is_cut

    def _cut(self) -> None:
        with self._lock:
            self._is_cut = True
            held, self._socket = self._socket, None
        if held is not None:
            with suppress(OSError):  # closed meanwhile
                held.shutdown(socket.SHUT_RDWR)


class _Told:
    """Makes a connection of urllib3's tell its line, right before it waits."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        _hold(self.sock)

    def putrequest(self, method: str, url: str, *arguments: Any, **named: Any) -> None:
        if self.sock is None:
            self.connect()
        _hold(self.sock, to_send=True)
        line = _LINE.get()
        super().putrequest(method, url + line.query if line else url, *arguments, **named)  # type: ignore[misc]

    def getresponse(self, *arguments: Any, **named: Any) -> Any:
        if line := _LINE.get():
            line.await_answer()
        return super().getresponse(*arguments, **named)  # type: ignore[misc]

    def _new_conn(self) -> Any:
        # A proxy is spoken to before ``connect`` comes back.
        connected = super()._new_conn()  # type: ignore[misc]
        try:
            _hold(connected)
        except ConnectionAbortedError:
            connected.close()
            raise
        return connected

    def _tunnel(self) -> None:
        super()._tunnel()  # type: ignore[misc]
        _hold(self.sock)


def _hold(held: Any, *, to_send: bool = False) -> None:
    if line := _LINE.get():
        line.hold(held, to_send=to_send)


@functools.cache
def _telling(pool: type) -> type:
    """A kind of pool whose connections tell their lines."""
    kind = pool.ConnectionCls  # type: ignore[attr-defined]
    return type(pool.__name__, (pool,), {"ConnectionCls": type(kind.__name__, (_Told, kind), {})})


def _make_telling(manager: Any) -> Any:
    manager.pool_classes_by_scheme = {
        scheme: _telling(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
    }
    return manager


class TellingAdapter(HTTPAdapter):
    """Gives a session connections that tell their lines, through whatever proxy.

    The query stays with the line: urllib3 would spell a filter of a hundred people anew, byte by byte, which takes
    longer than all else of a request, and would write it into its log.
    """

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """Make the pools for connections without a proxy."""
        super().init_poolmanager(*arguments, **named)
        _make_telling(self.poolmanager)

    def request_url(self, *arguments: Any, **named: Any) -> str:
        """The URL as urllib3 gets it: without the query, which the line of this thread has from now on."""
        url, mark, query = super().request_url(*arguments, **named).partition("?")
        if (line := _LINE.get()) is None:
            return url + mark + query
        line.query = mark + query
        return url

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        """The pools for connections through a proxy."""
        is_known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **named)
        return manager if is_known else _make_telling(manager)


class Sessions:
    """Sessions that nobody uses at the moment, with their open connections; safe to share among threads.

    :param make: makes a session when there is none.
    """

    def __init__(self, make: Callable[[], requests.Session]) -> None:
        self._make = make
        self._idle: list[requests.Session] = []
        self._is_closed = False
        self._lock = threading.Lock()

    def take(self) -> requests.Session:
        """A session for one thread, until it is given back."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        session = self._make()
        session.mount("https://", TellingAdapter())
        session.mount("http://", TellingAdapter())
        return session

    def give_back(self, session: requests.Session, *, is_usable: bool) -> None:
        """Keep a session for the next one, or close it when its connection is of no use any more."""
        with self._lock:
            is_kept = is_usable and not self._is_closed
            if is_kept:
                self._idle.append(session)
        if not is_kept:
            session.close()

    def close(self) -> None:
        """Close all connections, those in use as soon as they are given back."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._is_closed = True
        for session in idle:
            session.close()
