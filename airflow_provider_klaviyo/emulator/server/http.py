"""HTTP/1.1 over a socket: requests in, answers out, faults in between."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import msgspec

from airflow_provider_klaviyo.emulator.api.dispatch import CONTENT_TYPE, Api, Request, Response
from airflow_provider_klaviyo.emulator.core.errors import Problem
from airflow_provider_klaviyo.emulator.core.faults import Fault, FaultKind, Faults
from airflow_provider_klaviyo.emulator.core.settings import Clock
from airflow_provider_klaviyo.emulator.server.control import PREFIX, Control
from airflow_provider_klaviyo.emulator.server.request_log import LoggedRequest, RequestLog

#: More than this is not even read to be refused.
MAX_READ_BYTES = 64_000_000

_HTML = (
    b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"
)
#: How long stopping waits for calls that are being answered.
STOP_SECONDS = 10.0
_STATUSES = frozenset(HTTPStatus)
#: Stands for the status of an answer that never comes: the connection is reset.
RESET = 0
_LINGER_NOT = struct.pack("ii", 1, 0)


class Server(ThreadingHTTPServer):
    """The emulator's socket; a thread for each connection."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        *,
        api: Api,
        control: Control,
        faults: Faults,
        log: RequestLog,
        clock: Clock,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)
        self.api = api
        self.control = control
        self.faults = faults
        self.log = log
        self.clock = clock
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._connections_change = threading.Condition()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and remember it, so that stopping can end it."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._connections_change:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, politely unless it is to be reset."""
        if _is_reset(request):
            self.close_request(request)
        else:
            super().shutdown_request(request)
        with self._connections_change:
            self._connections.discard(request)
            self._connections_change.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is not the emulator's business; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """End every connection and the server; the listening socket is free afterwards."""
        self.stopping.set()
        self.shutdown()
        with self._connections_change:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._connections_change.wait_for(lambda: not self._connections, timeout=STOP_SECONDS)
        self.server_close()


def _is_reset(connection: socket.socket) -> bool:
    try:
        value = connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_LINGER_NOT))
    except OSError:
        return False
    return value == _LINGER_NOT


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "KlaviyoEmulator"
    timeout = 300
    rbufsize = 1 << 16

    @property
    def _server(self) -> Server:
        return cast("Server", self.server)

    def do_GET(self) -> None:
        """Answer any method; which of them a path takes is the API's business."""
        came, started = time.time(), time.monotonic()
        body = self._read_body()
        if body is None:
            return
        path, _, query = self.path.partition("?")
        if path == PREFIX or path.startswith(PREFIX + "/"):
            self._send(self._server.control.answer(self.command, path, query, body))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        host = headers.get("host") or "{}:{}".format(*self._server.server_address[:2])
        request = Request(self.command, path, query, headers, body, f"http://{host}")
        self._answer(request, came, started)

    do_POST = do_PATCH = do_DELETE = do_PUT = do_HEAD = do_OPTIONS = do_GET  # noqa: N815 - named by the base class

    def _answer(self, request: Request, came: float, started: float) -> None:
        operation = request.operation
        operation_id = operation.id if operation else None
        struck = self._server.faults.strike(operation_id)
        fault = next((each for each in struck if each.kind in _HANDLERS), None)
        if fault is None:
            response = self.real_answer(request, struck)
            self.sleep(response.seconds)
        else:
            response = _HANDLERS[fault.kind](self, request, struck, fault)
        entry = LoggedRequest(
            number=0,
            time=came,
            seconds=round(time.monotonic() - started, 6),
            method=request.method,
            path=request.path,
            query=request.query,
            operation=operation_id,
            status=response.status,
            request_bytes=len(request.body),
            response_bytes=len(response.body),
            records=response.records,
            fault=", ".join(str(each.kind) for each in struck) or None,
        )
        self._server.log.add(entry, request.body, self._server.control.settings.keep_bodies)
        if response.status == RESET:
            self._reset()
        elif fault is not None and fault.kind is FaultKind.TRICKLE:
            self._trickle(response, fault.seconds)
        else:
            self._send(response)

    def _read_body(self) -> bytes | None:
        """The body, or None after an answer to a request whose body cannot be read."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit():
            self._refuse(411, "length_required", "A Content-Length header is required.")
            return None
        if int(length) > MAX_READ_BYTES:
            self._refuse(413, "payload_too_large", "The maximum allowed payload size is 5MB.")
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            detail = "the client went away in the middle of a body"
            raise ConnectionResetError(detail)
        return body

    def _refuse(self, status: int, code: str, detail: str) -> None:
        self.close_connection = True
        error = Problem(detail, pointer="/data", code=code, title=detail).as_error(status)
        body = msgspec.json.encode({"errors": [error]})
        self._send(Response(status, {"Content-Type": CONTENT_TYPE, "Connection": "close"}, body))

    def _send(self, response: Response) -> None:
        body = b"" if self.command == "HEAD" else response.body
        # One packet for head and body: the client may wait for the second one.
        self.wfile.write(self._head(response) + body)

    def _trickle(self, response: Response, pause: float) -> None:
        self.wfile.write(self._head(response))
        for at in range(len(response.body)):
            if self._server.stopping.wait(pause):
                return
            self.wfile.write(response.body[at : at + 1])

    def _head(self, response: Response) -> bytes:
        phrase = HTTPStatus(response.status).phrase if response.status in _STATUSES else ""
        headers = {
            "Date": formatdate(self.now(), usegmt=True),
            "Server": self.server_version,
            **response.headers,
        }
        if response.status != 204:
            headers["Content-Length"] = str(len(response.body))
        lines = [
            f"HTTP/1.1 {response.status} {phrase}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the base class
        """Say nothing: the request log has it."""

    def now(self) -> float:
        """The time that the emulator lives by."""
        return self._server.clock.now()

    def sleep(self, seconds: float) -> None:
        """Wait, unless the server stops."""
        if seconds:
            self._server.stopping.wait(seconds)

    def count(self, request: Request) -> None:
        """Let a request that a fault keeps from being carried out count in its windows."""
        self._server.api.count(request)

    def real_answer(self, request: Request, struck: tuple[Fault, ...]) -> Response:
        """What the API says, faults of jobs and records included; the emulator's own mistakes are a 500."""
        try:
            return self._server.api.answer(request, struck)
        except Exception:
            traceback.print_exc()
            error = Problem("The emulator failed; its output says how.", code="error").as_error(500)
            return Response(500, {"Content-Type": CONTENT_TYPE}, msgspec.json.encode({"errors": [error]}))


# ------------------------------------------------------------------------------------------------------------
# Faults of the answer.


def _status(handler: Handler, request: Request, _: tuple[Fault, ...], fault: Fault) -> Response:
    handler.count(request)
    return _made_up(fault, handler.now())


def _status_after(handler: Handler, request: Request, struck: tuple[Fault, ...], fault: Fault) -> Response:
    return replace(_made_up(fault, handler.now()), records=handler.real_answer(request, struck).records)


def _made_up(fault: Fault, now: float) -> Response:
    headers: dict[str, str] = dict(fault.headers)
    if fault.retry_after is not None:
        until = fault.retry_after
        headers["Retry-After"] = (
            formatdate(now + float(until), usegmt=True) if fault.retry_as_date else str(until)
        )
    body, content_type = _fault_body(fault)
    has_type = body and not (fault.status == 429 and fault.body == "json")  # as Klaviyo's own 429
    return Response(fault.status, ({"Content-Type": content_type} if has_type else {}) | headers, body)


def _fault_body(fault: Fault) -> tuple[bytes, str]:
    if fault.body == "json":
        code, detail = _PLAIN.get(fault.status, ("error", "An error occurred."))
        errors = [dict(error) for error in fault.errors]
        errors = errors or [Problem(detail, code=code, title=detail).as_error(fault.status)]
        return msgspec.json.encode({"errors": errors}), CONTENT_TYPE
    return {"html": _HTML, "empty": b""}.get(fault.body, fault.body.encode()), "text/html; charset=UTF-8"


_PLAIN = {
    400: ("invalid", "Invalid input."),
    429: ("throttled", "Request was throttled."),
    500: ("error", "A server error occurred."),
    503: ("service_unavailable", "The service is temporarily unavailable."),
}


def _reset_before(handler: Handler, request: Request, _: tuple[Fault, ...], __: Fault) -> Response:
    handler.count(request)
    return Response(RESET, {}, b"")


def _reset_after(handler: Handler, request: Request, struck: tuple[Fault, ...], _: Fault) -> Response:
    return Response(RESET, {}, b"", handler.real_answer(request, struck).records)


def _slow(handler: Handler, request: Request, struck: tuple[Fault, ...], fault: Fault) -> Response:
    response = handler.real_answer(request, struck)
    handler.sleep(fault.seconds)
    headers: Mapping[str, str] = {**response.headers, **fault.headers}
    return Response(response.status, headers, response.body, response.records)


def _trickled(handler: Handler, request: Request, struck: tuple[Fault, ...], _: Fault) -> Response:
    return handler.real_answer(request, struck)


def _not_json(handler: Handler, request: Request, struck: tuple[Fault, ...], fault: Fault) -> Response:
    response = handler.real_answer(request, struck)
    body, content_type = (_HTML, "text/html") if fault.body == "json" else _fault_body(fault)
    return Response(
        response.status, {**response.headers, "Content-Type": content_type}, body, response.records
    )


_HANDLERS = {
    FaultKind.STATUS: _status,
    FaultKind.STATUS_AFTER: _status_after,
    FaultKind.RESET_BEFORE: _reset_before,
    FaultKind.RESET_AFTER: _reset_after,
    FaultKind.SLOW: _slow,
    FaultKind.TRICKLE: _trickled,
    FaultKind.NOT_JSON: _not_json,
}
