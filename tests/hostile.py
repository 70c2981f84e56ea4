"""A server that answers slowly, badly or not at all, over a real socket."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

_BETWEEN_PIECES = 0.03
"""Seconds; no timeout between two pieces is that short."""


class Conversation:
    """One request, which was read to its end, and what is said to it."""

    def __init__(self, peer: socket.socket, request: bytes, over: threading.Event) -> None:
        self._peer = peer
        self._over = over
        self.request = request

    def say(self, *lines: str, body: bytes = b"") -> None:
        """Send lines, an empty one after them, and what follows as it is."""
        self._peer.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1") + body)

    def drip(self, piece: bytes) -> None:
        """Send a piece again and again, until the client has gone or the test is over."""
        while not self._over.wait(_BETWEEN_PIECES):
            self._peer.sendall(piece)

    def keep_silent(self) -> None:
        """Say nothing until the client has gone or the test is over."""
        while not self._over.is_set():
            self._peer.settimeout(_BETWEEN_PIECES)
            with suppress(TimeoutError):
                if not self._peer.recv(1):
                    return


Manner = Callable[[Conversation], None]


class HostileServer:
    """Answers every request in one manner, and hangs up afterwards.

    :param manner: what it does with a request. It ends when the client hangs up.
    :param tls: speaks TLS with this.
    """

    def __init__(self, manner: Manner, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self._manner = manner
        self._tls = tls
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._talking = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self._listening.getsockname()[1]}"

    @property
    def is_alone(self) -> bool:
        """Whether every client has gone, and nothing is being said to any."""
        return self._talking == 0

    def _listen(self) -> None:
        while True:
            try:
                peer, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with self._lock:
            self._talking += 1
        try:
            with suppress(OSError), self._secured(peer) as secured:
                secured.settimeout(10)
                request = _read_request(secured)
                self.requests.append(request)
                self._manner(Conversation(secured, request, self._over))
        finally:
            with self._lock:
                self._talking -= 1

    def _secured(self, peer: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(peer, server_side=True) if self._tls else peer


def _read_request(peer: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        if not (piece := peer.recv(65_536)):
            raise ConnectionResetError
        request += piece
    head, _, body = request.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ),
        0,
    )
    while len(body) < length:
        if not (piece := peer.recv(65_536)):
            raise ConnectionResetError
        body += piece
    return head + b"\r\n\r\n" + body


# --- manners --------------------------------------------------------------------------------------------------------

_LONG = "Content-Length: 1000000000"
_CHUNKED = "Transfer-Encoding: chunked"


def after(*lines: str, drip: bytes, body: bytes = b"") -> Manner:
    """Say something in full, and go on in pieces for ever."""

    def manner(conversation: Conversation) -> None:
        conversation.say(*lines, body=body)
        conversation.drip(drip)

    return manner


def begun(first: bytes, drip: bytes) -> Manner:
    """Begin a line, and go on in pieces for ever."""

    def manner(conversation: Conversation) -> None:
        conversation._peer.sendall(first)
        conversation.drip(drip)

    return manner


SLOW: dict[str, Manner] = {
    "silence": Conversation.keep_silent,
    "a slow status line": begun(b"HTTP/1.1 200 ", b"O"),
    "slow continues": begun(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a slow header": begun(b"HTTP/1.1 200 OK\r\nX-Long: ", b"o"),
    "headers one by one": begun(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "a slow body": after("HTTP/1.1 200 OK", _LONG, drip=b" "),
    "a slow body of no length": after("HTTP/1.1 200 OK", drip=b" "),
    "a slow refusal": after("HTTP/1.1 400 Bad Request", _LONG, drip=b" "),
    "slow chunks": after("HTTP/1.1 200 OK", _CHUNKED, drip=b"1\r\n \r\n"),
    "a slow size of a chunk": after("HTTP/1.1 200 OK", _CHUNKED, drip=b"0"),
    "slow trailers": after("HTTP/1.1 200 OK", _CHUNKED, body=b"2\r\n{}\r\n0\r\n", drip=b"X: y\r\n"),
    "slow gzip": after("HTTP/1.1 200 OK", _LONG, "Content-Encoding: gzip", body=b"\x1f\x8b\x08", drip=b"\0"),
}
"""Answers that never end, each piece of which comes in time."""


def answering(status: str, body: bytes, *headers: str) -> Manner:
    """Answer as a server should."""

    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json",
        "Connection: close",
        *headers,
    )
    return lambda conversation: conversation.say(*lines, body=body)


def raw(answer: bytes) -> Manner:
    """Answer with these bytes, and hang up."""
    return lambda conversation: conversation._peer.sendall(answer)
