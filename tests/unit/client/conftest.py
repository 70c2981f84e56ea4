"""A server that answers what a test tells it to, over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.rate_limit import MemoryWindows, RateLimiter


@dataclass
class Scripted:
    """One answer: status, body and headers; ``hang_up`` closes the connection instead."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False
    trickle: bool = False


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    """Gives its answers in turn; the last one is repeated."""

    def __init__(self, answers: list[Scripted]) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._answers = answers
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer in two pieces would wait for the client's word in between

            def setup(self) -> None:
                super().setup()
                server.connections += 1

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.requests.append(Request(self.command, self.path, headers, body))
                scripted = server._answers[min(len(server.requests), len(server._answers)) - 1]
                if scripted.hang_up:
                    self.close_connection = True
                    return
                self.send_response_only(scripted.status)
                length, date = str(len(scripted.body)), self.date_time_string()
                for name, value in {"Content-Length": length, "Date": date, **scripted.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.write(scripted)

            def write(self, scripted: Scripted) -> None:
                if not scripted.trickle:
                    self.wfile.write(scripted.body)
                    return
                for place in range(len(scripted.body)):
                    self.wfile.write(scripted.body[place : place + 1])
                    self.wfile.flush()
                    if server._over.wait(0.05):
                        return

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class FakeClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


@dataclass
class World:
    """A client, its clock and the server it speaks to."""

    client: KlaviyoClient
    server: ScriptedServer
    clock: FakeClock


MakeWorld = Callable[..., World]


@pytest.fixture
def world() -> Iterator[MakeWorld]:
    opened: list[World] = []

    def make(
        *answers: Scripted,
        deadline: float | None = None,
        timeout: float = 5,
        clock: FakeClock | None = None,
        **config: object,
    ) -> World:
        server = ScriptedServer(list(answers))
        clock = clock or FakeClock()
        settings = KlaviyoConfig("pk_secret123", **({"base_url": server.url, "timeout": timeout} | config))  # type: ignore[arg-type]
        limiter = RateLimiter(MemoryWindows(), account="test", clock=clock)
        end = None if deadline is None else clock.monotonic() + deadline
        opened.append(World(KlaviyoClient(settings, limiter, clock=clock, deadline=end), server, clock))
        return opened[-1]

    yield make
    for made in opened:
        made.client.close()
        made.server.close()
