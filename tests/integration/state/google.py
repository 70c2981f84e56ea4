"""A server with as much of Google Cloud Storage as a client of files asks for, preconditions among it.

The servers that can be installed do not look at ``ifGenerationMatch``.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_OBJECT = re.compile(r"(?:/upload|/download)?/storage/v1/b/(?P<bucket>[^/]+)/o/?(?P<name>.*)")


class GoogleStorage(ThreadingHTTPServer):
    """Buckets of objects; any bucket is there.

    :param honours_conditions: whether an object that is there is not written over by who forbids it.
    """

    daemon_threads = True

    def __init__(self, *, honours_conditions: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.honours_conditions = honours_conditions
        self.objects: dict[tuple[str, str], tuple[bytes, str]] = {}
        self.uploads: dict[str, tuple[str, str, bool, bytearray]] = {}
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[GoogleStorage]:
        thread = threading.Thread(target=self.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: GoogleStorage

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        bucket, name = self._where()
        if not name:
            self._tell(200, self._listing(bucket))
        elif (found := self.server.objects.get((bucket, name))) is None:
            self._tell(404, {"error": {"code": 404, "message": f"No such object: {bucket}/{name}"}})
        elif self._asked("alt") == "media":
            self._send_content(found[0])
        else:
            self._tell(200, self._resource(bucket, name))

    def do_POST(self) -> None:
        bucket, _ = self._where()
        body, is_new = self._body(), self._asked("ifGenerationMatch") == "0"
        if self._asked("uploadType") == "resumable":
            upload = uuid.uuid4().hex
            self.server.uploads[upload] = (bucket, json.loads(body)["name"], is_new, bytearray())
            self._tell(
                200, {}, {"Location": f"{self.server.url}/upload/storage/v1/b/{bucket}/o?upload_id={upload}"}
            )
        elif upload := self._asked("upload_id"):
            self._go_on(upload, body)
        else:
            _, head, rest = body.split(b"--==0==", 2)
            content = rest.partition(b"\n\n")[2].removesuffix(b"\n--==0==--")
            self._store(bucket, json.loads(head.partition(b"\n\n")[2])["name"], content, is_new=is_new)

    do_PUT = do_POST  # noqa: N815

    def do_DELETE(self) -> None:
        self._body()
        if upload := self._asked("upload_id"):
            self.server.uploads.pop(upload, None)
            self._tell(499, {})
        elif self.server.objects.pop(self._where(), None) is None:
            self._tell(404, {"error": {"code": 404, "message": "No such object"}})
        else:
            self._answer(204, b"")

    def _go_on(self, upload: str, body: bytes) -> None:
        bucket, name, is_new, content = self.server.uploads[upload]
        content += body
        if self.headers["Content-Range"].endswith("/*"):
            self._answer(308, b"", {"Range": f"bytes=0-{len(content) - 1}"})
        else:
            self._store(bucket, name, bytes(content), is_new=is_new)

    def _store(self, bucket: str, name: str, content: bytes, *, is_new: bool) -> None:
        with self.server.lock:
            if is_new and self.server.honours_conditions and (bucket, name) in self.server.objects:
                self._tell(412, {"error": {"code": 412, "message": "conditionNotMet"}})
                return
            self.server.objects[bucket, name] = content, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        self._tell(200, self._resource(bucket, name))

    def _listing(self, bucket: str) -> dict[str, Any]:
        prefix, delimiter = self._asked("prefix"), self._asked("delimiter")
        items, prefixes = [], set()
        for holder, name in sorted(self.server.objects):
            if holder == bucket and name.startswith(prefix):
                inner = name[len(prefix) :]
                if delimiter and delimiter in inner:
                    prefixes.add(prefix + inner.partition(delimiter)[0] + delimiter)
                else:
                    items.append(self._resource(bucket, name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}

    def _resource(self, bucket: str, name: str) -> dict[str, Any]:
        content, updated = self.server.objects[bucket, name]
        return {
            "bucket": bucket,
            "name": name,
            "size": str(len(content)),
            "updated": updated,
            "timeCreated": updated,
            "generation": "1",
        }

    def _where(self) -> tuple[str, str]:
        found = _OBJECT.fullmatch(urlsplit(self.path).path)
        assert found, self.path
        return found["bucket"], unquote(found["name"])

    def _asked(self, name: str) -> str:
        return parse_qs(urlsplit(self.path).query).get(name, [""])[0]

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send_content(self, content: bytes) -> None:
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(asked[1]), int(asked[2] or len(content))
            if first >= len(content):
                self._answer(416, b"")
            else:
                self._answer(206, content[first : last + 1])
        else:
            self._answer(200, content)

    def _tell(self, status: int, said: object, headers: dict[str, str] | None = None) -> None:
        self._answer(status, json.dumps(said).encode(), headers)

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
