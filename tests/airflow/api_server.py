"""An API server of Airflow's in a process of its own, and a browser that looks at it."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.conftest import absent

if TYPE_CHECKING:
    from playwright.sync_api import Browser

START_SECONDS = 240.0


def find_chromium(unproved: str) -> str:
    """Path of a Chromium that playwright can drive; without one the test is skipped.

    :param unproved: what then was not looked at.
    """
    if importlib.util.find_spec("playwright") is None:
        absent("browser", f"playwright is not installed: {unproved}")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        absent("browser", f"there is no Chromium (apt-get install chromium): {unproved}")
    return path


@contextmanager
def browser_of(chromium: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without a sandbox of its own: in a container Chromium has no rights for one, and it only sees our pages.
        options = ["--no-sandbox", "--no-proxy-server"]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@contextmanager
def api_server(home: Path, settings: Mapping[str, str], path: str = "") -> Iterator[str]:
    """The address of an API server, on a copy of the migrated database.

    :param settings: of its environment.
    :param path: that Airflow is served below.
    """
    port = free_port()
    environment = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{copy_database(home / 'airflow.db')}",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "TMPDIR": str(home),
        **settings,
    }
    if path:
        environment["AIRFLOW__API__BASE_URL"] = f"http://127.0.0.1:{port}{path}"
    command = f"-m airflow api-server --host 127.0.0.1 --port {port} --workers 1".split()
    log = home / "api-server.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, *command], env=environment, stdout=output, stderr=output, start_new_session=True
        ) as server,
    ):
        try:
            wait_until_it_answers(f"http://127.0.0.1:{port}{path}/api/v2/version", server, log)
            yield f"http://127.0.0.1:{port}{path}"
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # nothing of it is to be kept


def copy_database(copy: Path) -> Path:
    original = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def opened(request: str | Request, timeout: float) -> Iterator[HTTPResponse]:
    """The answer of a server of ours; one that is an error is closed too, as it holds the connection."""
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=timeout) as answer:
            yield answer
    except HTTPError as error:
        error.close()
        raise


def wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with opened(url, timeout=5):
                return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the API server did not start:\n{log.read_text()[-3000:]}", pytrace=False)
            time.sleep(0.1)
