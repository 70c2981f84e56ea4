"""The bytes of an answer, unpacked, and never many more of them than somebody can have to say."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

ENCODING = "gzip"
"""How answers may be packed. What else ``requests`` would ask for depends on what else is installed."""

_CHUNK = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_PADDING = b"\0"


class BodyTooLarge(Exception):
    """The body is larger than its limit."""


class BodyUnreadable(Exception):
    """The body cannot be unpacked; the text says why."""


class RawAnswer(Protocol):
    """As much of urllib3's answer as is read."""

    def stream(self, amt: int, decode_content: bool) -> Iterator[bytes]:  # noqa: FBT001 - as urllib3 has it
        """The bytes as they came over the network."""


def read_body(answer: RawAnswer, encoding: str, limit: int) -> bytes:
    """The whole body.

    :param encoding: the header that says how it is packed; empty where it is not.
    :param limit: bytes, unpacked; not many more are unpacked before it is given up.
    :raises BodyTooLarge: for more.
    :raises BodyUnreadable: when it cannot be unpacked.
    """
    body = bytearray()
    for piece in _unpacked(answer.stream(_CHUNK, decode_content=False), encoding.strip().lower()):
        body += piece
        if len(body) > limit:
            raise BodyTooLarge
    return bytes(body)


def _unpacked(pieces: Iterable[bytes], encoding: str) -> Iterable[bytes]:
    if encoding in ("", "identity"):
        return pieces
    if encoding in (ENCODING, "x-gzip"):
        return _gunzipped(pieces)
    msg = f"it is packed as {encoding[:20]!r}, which was not asked for"
    raise BodyUnreadable(msg)


def _gunzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Never more at once than a chunk: a kilobyte may hold a megabyte."""
    unpacker, is_whole = zlib.decompressobj(_GZIP), True
    try:
        for packed in pieces:
            piece = packed.lstrip(_PADDING) if is_whole else packed
            while piece:
                yield unpacker.decompress(piece, _CHUNK)
                piece, is_whole = unpacker.unconsumed_tail, unpacker.eof
                if is_whole:
                    piece, unpacker = unpacker.unused_data.lstrip(_PADDING), zlib.decompressobj(_GZIP)
        yield unpacker.flush()
    except zlib.error:
        msg = f"its {ENCODING} is broken"
        raise BodyUnreadable(msg) from None
    if not is_whole:
        msg = f"its {ENCODING} breaks off"
        raise BodyUnreadable(msg)
