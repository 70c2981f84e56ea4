"""A store that answers no more from some request on: the run ends in words, and the next one goes on from there."""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.exceptions import KlaviyoError
from tests.integration.conftest import Shop, Sync

pytestmark = pytest.mark.integration

PEOPLE, ENDLESS = 12, 1_000_000
IS_EVERY_STEP = bool(os.environ.get("KLAVIYO_TESTS_EVERY_STEP"))


class Door:
    """Passes requests on to a store, as long as it is open."""

    def __init__(self, store: str) -> None:
        self.left = ENDLESS
        """Requests until it closes."""
        self.passed = 0
        self._to = urlsplit(store).netloc
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                door.left -= 1
                if door.left < 0:
                    self.close_connection = True
                    return
                door.passed += 1
                store = http.client.HTTPConnection(door._to)
                store.request(self.command, self.path, body, dict(self.headers))
                answer = store.getresponse()
                content = answer.read()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                length = (
                    answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
                )
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)
                store.close()

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def door(s3_server: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    door = Door(s3_server)
    connection = {
        "conn_type": "aws",
        "login": "test",
        "password": "test",
        "extra": {
            "endpoint_url": door.url,
            "region_name": "us-east-1",
            "config_kwargs": {"retries": {"max_attempts": 0}, "s3": {"addressing_style": "path"}},
        },
    }
    monkeypatch.setenv("AIRFLOW_CONN_DOOR", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", f"s3://door@{s3_bucket}/klaviyo")
    yield door
    door.close()


def test_wherever_the_store_drops_out_the_run_says_so_and_the_next_try_goes_on(
    klaviyo: Emulator, shop: Shop, sync: Sync, door: Door
) -> None:
    parameters: dict[str, Any] = {"primary_key": "id", "only_changes": True, "lock_timeout": 0}
    shop.fill_with_people(PEOPLE)
    assert sync(**parameters).error is None
    needed = door.passed
    for passes in range(needed) if IS_EVERY_STEP else (1, 6, needed - 4):
        shop.execute(f"UPDATE customers SET tier = 'tier {passes}'")
        door.left = passes
        run = sync(**parameters)
        door.left = ENDLESS
        if run.error:
            assert isinstance(run.error, KlaviyoError), passes
            assert "storage_path" in str(run.error)
            assert "retry" in str(run.error)
            again = sync(**parameters, try_number=2)
            assert again.error is None
        tiers = {profile["properties"]["Tier"] for profile in klaviyo.profiles()}
        assert tiers == {f"tier {passes}"}
