"""Small servers that speak the protocols of warehouses which no package brings: as much of them as a query needs."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PIECE = 1 << 16


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = self.server.answer(self.command, self.path, body)  # type: ignore[attr-defined]
        data = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Elastic-Product", "Elasticsearch")  # without it, its client talks to nobody
        self.send_header("Connection", "close")  # clients keep connections longer than a test
        if self.path.startswith("/druid/"):  # which does not know how long its answer is when it begins
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(data), _PIECE):
                piece = data[start : start + _PIECE]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(stub: Any) -> Iterator[str]:
    """The address of a server that answers as the stub does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.answer = stub.answer  # type: ignore[attr-defined]
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stub.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving_apart(stub: Any) -> Iterator[str]:
    """The same from a process of its own, so that this one's memory tells of the client alone."""
    forking = multiprocessing.get_context("fork")
    here, there = forking.Pipe()

    def serve() -> None:
        with serving(stub) as url:
            there.send(url)
            there.recv()

    process = forking.Process(target=serve, daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.kill()
        process.join()


class BigQuery:
    """The service's REST protocol: a job, its result page by page (reference of jobs.insert and getQueryResults).

    :param columns: by the text of a query, its column and the rows' values as the service writes them.
    """

    PAGE = 1_000
    url: str

    def __init__(self, columns: Mapping[str, tuple[Mapping[str, Any], list[Any]]]) -> None:
        self._columns = columns
        self._queries: dict[str, str] = {}

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """What the service answers."""
        path, _, arguments = path.partition("?")
        if method == "POST":
            job = json.loads(body)
            name = job["jobReference"]["jobId"]
            self._queries[name] = job["configuration"]["query"]["query"]
            return self._job(name)
        *_, collection, name = path.split("/")
        return self._result(name, arguments) if collection == "queries" else self._job(name)

    def _job(self, name: str) -> dict[str, Any]:
        query = {"query": self._queries[name], "destinationTable": _reference(tableId="anonymous")}
        return {
            "id": f"shop:EU.{name}",
            "jobReference": {"projectId": "shop", "jobId": name, "location": "EU"},
            "configuration": {"jobType": "QUERY", "query": query},
            "status": {"state": "DONE"},
            "statistics": {"query": {"statementType": "SELECT"}},
        }

    def _result(self, name: str, arguments: str) -> dict[str, Any]:
        column, values = self._columns[self._queries[name]]
        given = dict(part.split("=") for part in arguments.split("&"))
        first, most = int(given.get("pageToken", 0)), int(given.get("maxResults", self.PAGE))
        end = min(first + min(most, self.PAGE), len(values))
        shown = (str(value) if isinstance(value, int) else value for value in values[first:end])
        page = {"rows": [{"f": [{"v": value}]} for value in shown]}
        return {
            "jobComplete": True,
            "jobReference": {"projectId": "shop", "jobId": name, "location": "EU"},
            "schema": {"fields": [{"name": "a", "mode": "NULLABLE", **column}]},
            "totalRows": str(len(values)),
            **(page if most else {}),
            **({"pageToken": str(end)} if end < len(values) else {}),
        }


def _reference(**parts: str) -> dict[str, str]:
    return {"projectId": "shop", "datasetId": "results", **parts}


class Trino:
    """The client protocol: a statement, then its result page by page (Trino's documentation, "Client REST API").

    :param columns: by the text of a query, the type of its column and the rows' values as the server writes them.
    """

    PAGE = 1_000
    url: str

    def __init__(self, columns: Mapping[str, tuple[dict[str, Any], list[Any]]]) -> None:
        self._columns = columns
        self._queries: list[str] = []

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """What the server answers."""
        if method == "POST":
            self._queries.append(body.decode())
            return self._page(len(self._queries) - 1, None)
        if method == "DELETE":
            return {}
        *_, query, first = path.split("/")
        return self._page(int(query), int(first))

    def _page(self, query: int, first: int | None) -> dict[str, Any]:
        signature, values = self._columns[self._queries[query]]
        end = 0 if first is None else min(first + self.PAGE, len(values))
        is_last = first is not None and end == len(values)
        page: dict[str, Any] = {
            "id": f"query_{query}",
            "infoUri": f"{self.url}/ui",
            "stats": {"state": "FINISHED" if is_last else "RUNNING"},
        }
        if not is_last:
            page["nextUri"] = f"{self.url}/v1/statement/executing/{query}/{end}"
        if first is not None:
            kind = signature["type"] if "type" in signature else signature["rawType"]
            page["columns"] = [{"name": "a", "type": kind, "typeSignature": signature}]
            page["data"] = [[value] for value in values[first:end]]
        return page


class Druid:
    """The SQL API: all rows as one array of objects, after a header if that is asked for (its reference).

    :param columns: by the text of a query, the values of its rows.
    """

    url: str

    def __init__(self, columns: Mapping[str, list[Any]]) -> None:
        self._columns = columns

    def answer(self, method: str, path: str, body: bytes) -> list[dict[str, Any]]:
        """What the broker answers."""
        asked = json.loads(body)
        header = [{"a": None}] if asked["header"] else []
        return [*header, *({"a": value} for value in self._columns[asked["query"]])]


class Elasticsearch:
    """The SQL API: the first page has the columns, the last one no cursor any more (its reference).

    :param columns: by the text of a query, the type of its column and the values of its rows.
    """

    url: str

    def __init__(self, columns: Mapping[str, tuple[str, list[Any]]]) -> None:
        self._columns = columns

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """What the node answers."""
        asked = json.loads(body)
        query, _, first = asked["cursor"].partition("@") if "cursor" in asked else (asked["query"], "", "0")
        kind, values = self._columns[query]
        end = int(first) + asked.get("fetch_size", 1_000)
        page: dict[str, Any] = {"rows": [[value] for value in values[int(first) : end]]}
        if "cursor" not in asked:
            page["columns"] = [{"name": "a", "type": kind}]
        if end < len(values):
            page["cursor"] = f"{query}@{end}"
        return page


class Pinot:
    """The broker's query API: the whole result, ten rows of it where the query has no LIMIT (its reference).

    :param columns: by the text of a query without its limit, the type of its column and the values of its rows.
    """

    url: str

    def __init__(self, columns: Mapping[str, tuple[str, list[Any]]]) -> None:
        self._columns = columns

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """What the broker answers."""
        query, _, limit = json.loads(body)["sql"].partition(" LIMIT ")
        kind, values = self._columns[query]
        rows = [[value] for value in values[: int(limit or 10)]]
        schema = {"columnNames": ["a"], "columnDataTypes": [kind]}
        return {
            "resultTable": {"dataSchema": schema, "rows": rows},
            "exceptions": [],
            "numServersQueried": 1,
            "numServersResponded": 1,
        }
