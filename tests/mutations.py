"""A proxy that passes requests on and answers back, some of them broken on the way."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections.abc import Iterator, MutableMapping, MutableSequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

_MARK = "here it becomes deep"
_DEEP = (b"[" * 2_000 + b"]" * 2_000, b"[" * 300 + b"]" * 300, b'{"a":' * 3_000)
_STATUSES = (200, 202, 204, 302, 400, 404, 407, 413, 429, 500, 503)


class Answer(NamedTuple):
    """What goes back to the client."""

    status: int
    headers: dict[str, str]
    body: bytes


class Place(NamedTuple):
    """A value inside a document: what holds it, and under which key."""

    holder: Any
    key: Any

    @property
    def value(self) -> Any:
        return self.holder[self.key]

    def put(self, value: object) -> None:
        self.holder[self.key] = value


def places(document: Any) -> Iterator[Place]:
    """Every value inside a document."""
    keys: Any = range(len(document)) if isinstance(document, MutableSequence) else list(document)
    for key in keys:
        yield Place(document, key)
        if isinstance(document[key], MutableMapping | MutableSequence):
            yield from places(document[key])


class Mutator:
    """Breaks answers in ways that show.

    What no client could see is left alone: that a list lacks an entry, or that a value is another of the same kind. Ids
    are changed where only one thing was asked for, since then the client knows which.
    """

    def __init__(self, seed: int, share: float) -> None:
        self._random = random.Random(seed)
        self.share = share
        self._lock = threading.Lock()
        self.done: list[str] = []

    def __call__(self, answer: Answer, what: str) -> Answer:
        with self._lock:
            if self._random.random() >= self.share:
                return answer
            kinds = [*[self._drop] * 2, *[self._retype] * 3, self._duplicate, self._rename, self._deepen]
            kinds += [self._truncate, self._break_byte, self._restate, self._empty]
            mutation = self._random.choice(kinds)
            self.done.append(f"{what}: {mutation.__name__.strip('_')}")
            return mutation(answer)

    # --- of the document ----------------------------------------------------------------------------------------

    def _at(self, answer: Answer, kind: type | tuple[type, ...] = object) -> tuple[Any, Place | None]:
        try:
            document = json.loads(answer.body)
        except ValueError:
            return None, None
        found = [place for place in places(document) if isinstance(place.value, kind)] if document else []
        return document, self._random.choice(found) if found else None

    def _drop(self, answer: Answer) -> Answer:
        document, place = self._at(answer)
        if place is None or isinstance(place.holder, list):
            return answer
        self.done[-1] += f" {place.key}"
        del place.holder[place.key]
        return _with(answer, document)

    def _retype(self, answer: Answer) -> Answer:
        document, place = self._at(answer)
        if place is None:
            return answer
        odd = [None, 7, -1, 1.5, True, ["x"], [[]], {"a": {}}, "", "x"]
        fitting = [value for value in odd if not isinstance(value, type(place.value))]
        value = self._random.choice(fitting)
        self.done[-1] += f" {place.key} to {value!r}"
        place.put(value)
        return _with(answer, document)

    def _duplicate(self, answer: Answer) -> Answer:
        document, place = self._at(answer, list)
        if place is None:
            return answer
        place.put([*place.value, *place.value])
        return _with(answer, document)

    def _rename(self, answer: Answer) -> Answer:
        document, _ = self._at(answer)
        data = document.get("data") if isinstance(document, dict) else None
        if not isinstance(data, dict) or data.get("type") == "profile":
            return answer
        data["id"] = "anothers"
        return _with(answer, document)

    def _deepen(self, answer: Answer) -> Answer:
        document, place = self._at(answer)
        if place is None:
            return answer
        place.put(_MARK)
        body = json.dumps(document).encode().replace(f'"{_MARK}"'.encode(), self._random.choice(_DEEP))
        return answer._replace(body=body)

    # --- of the bytes -------------------------------------------------------------------------------------------

    def _truncate(self, answer: Answer) -> Answer:
        return answer._replace(body=answer.body[: self._random.randrange(len(answer.body) + 1)])

    def _break_byte(self, answer: Answer) -> Answer:
        if not answer.body:
            return answer._replace(body=b"\xff")
        at = self._random.randrange(len(answer.body))
        return answer._replace(body=answer.body[:at] + b"\xff" + answer.body[at + 1 :])

    def _restate(self, answer: Answer) -> Answer:
        status = self._random.choice(_STATUSES)
        self.done[-1] += f" {answer.status} to {status}"
        return answer._replace(status=status, body=b"" if status == 204 else answer.body)

    def _empty(self, answer: Answer) -> Answer:
        return answer._replace(body=b"")


def _with(answer: Answer, document: object) -> Answer:
    return answer._replace(body=json.dumps(document).encode())


class MutatingProxy:
    """Stands before a Klaviyo, and breaks some of its answers after they have had their effect."""

    def __init__(self, url: str, mutate: Mutator) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(urlsplit(url).netloc, mutate))
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


def _handler(target: str, mutate: Mutator) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            there = http.client.HTTPConnection(target, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name != "Accept-Encoding"}
            there.request(self.command, self.path, body, headers)
            got = there.getresponse()
            answer = Answer(got.status, dict(got.headers.items()), got.read())
            there.close()
            answer = mutate(answer, f"{self.command} {self.path.partition('?')[0]}")
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_DELETE = pass_on  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    return Handler
