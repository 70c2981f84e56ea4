"""ClickHouse's HTTP interface in front of chdb, which is its engine as a library: `python … PORT`.

The engine writes the blocks that the client reads; what is here takes the query and its settings from the request
(ClickHouse's documentation, "HTTP Interface"). A process of its own, since the library is half a gigabyte.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chdb.session import Session

_OF_THE_PROTOCOL = frozenset(
    ("query", "database", "session_id", "query_id", "default_format", "client_protocol_version")
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    session = Session()
    turn = threading.Lock()  # the library takes one query at a time

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        arguments = dict(parse_qsl(urlsplit(self.path).query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        sql = "\n".join(part for part in (arguments.get("query"), body) if part) or "SELECT 'Ok.' FORMAT TSV"
        with self.turn:
            try:
                for name in arguments.keys() - _OF_THE_PROTOCOL:
                    self._set(name, arguments[name])
                blocks = self._run(sql)
            except Exception as error:
                self._send(500, iter([str(error).encode()]))
            else:
                self._send(200, blocks)

    def _set(self, name: str, value: str) -> None:
        try:
            self.session.query(f"SET {name} = '{value}'")
        except Exception:  # of the connection, not of the query
            return

    def _run(self, sql: str) -> Iterator[bytes]:
        """The first block tells whether the query fails."""
        if "LIMIT 0" in sql or not sql.rstrip().endswith("Native"):
            return iter([self.session.query(sql, "TSV").bytes()])
        found: Any = self.session.send_query(
            sql.rstrip().removesuffix("Native").rstrip().removesuffix("FORMAT"), "Native"
        )
        blocks = (block.bytes() for block in found)
        first = next(blocks, b"")
        return (block for each in (iter([first]), blocks) for block in each)

    def _send(self, status: int, blocks: Iterator[bytes]) -> None:
        self.send_response(status)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("X-ClickHouse-Summary", "{}")
        if status != 200:
            self.send_header("X-ClickHouse-Exception-Code", "1")
        self.end_headers()
        for block in blocks:
            if block:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler)
    print(server.server_address[1], flush=True)  # noqa: T201
    server.serve_forever()
