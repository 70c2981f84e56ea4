"""Who keeps the windows freezes, or holds their lock and freezes: nobody waits for that longer than there is time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_klaviyo
from airflow_provider_klaviyo.client import rate_limit
from airflow_provider_klaviyo.client.clock import SystemClock
from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import GET_LISTS
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.rate_limit import RateLimiter
from airflow_provider_klaviyo.client.rate_limit_files import FileWindows
from airflow_provider_klaviyo.client.rate_limit_redis import RedisWindows, with_timeouts
from airflow_provider_klaviyo.client.rate_limit_slots import Rate
from airflow_provider_klaviyo.client.rate_limit_waits import (
    RateLimitStoreError,
    StoreUnreachable,
    WaitStopped,
)
from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from tests.conftest import absent

pytestmark = pytest.mark.integration

MANY = (Rate(1_000, 1.0),)
LIMITERS: list[RateLimiter] = []
"""Those of the test, which are closed behind it."""

SOON = 10.0
"""Seconds in which everything here is over, on a busy machine too; what hangs takes for ever."""


def after(seconds: float) -> float:
    return SystemClock().monotonic() + seconds


def take(limiter: RateLimiter, seconds: float = 1.5, stop: Callable[[], bool] | None = None) -> None:
    with limiter.permit("e", MANY, hold=5.0, deadline=after(seconds), stop=stop):
        pass


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "_CALL_SECONDS", 1.0)
    monkeypatch.setattr(rate_limit, "_PATIENCE", 3.0)


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    began = time.monotonic()
    yield
    while LIMITERS:
        LIMITERS.pop().close()
    assert time.monotonic() - began < 2 * SOON


# --- Redis ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A Redis of the test's own, and its port."""
    program = shutil.which("redis-server")
    if program is None:
        absent("redis", "redis-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        end = time.monotonic() + SOON
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.02)
        yield server, port
        server.send_signal(signal.SIGCONT)
        server.kill()


def redis_at(port: int, **settings: Any) -> Any:
    redis = pytest.importorskip("redis", reason="the redis package is not installed")
    once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    return redis.Redis(port=port, retry=once, socket_timeout=None, socket_connect_timeout=None, **settings)


def limiter_at(port: int, **settings: Any) -> RateLimiter:
    windows = RedisWindows(redis_at(port, **settings), where=f"connection limits, 127.0.0.1:{port}")
    LIMITERS.append(RateLimiter(windows, account="a", share=1.0))
    return LIMITERS[-1]


def test_a_client_that_is_closed_leaves_no_connection_to_redis(redis_server: Any) -> None:
    _, port = redis_server
    limiter = limiter_at(port)
    take(limiter, SOON)
    with redis_at(port) as inspector:
        assert len(inspector.client_list()) == 2
        KlaviyoClient(KlaviyoConfig("pk_closed"), limiter).close()
        deadline = time.monotonic() + SOON
        while len(inspector.client_list()) > 1:
            assert time.monotonic() < deadline
    take(limiter, SOON)


NOT_ANSWERED = r"Redis \(connection limits, 127.0.0.1:\d+\) cannot be kept \(no answer within 1 s\)"


@pytest.mark.usefixtures("quick")
def test_a_redis_that_is_stopped_is_waited_for_until_the_deadline_and_named(redis_server: Any) -> None:
    server, port = redis_server
    limiter = limiter_at(port)
    take(limiter, SOON)
    server.send_signal(signal.SIGSTOP)
    with pytest.raises(StoreUnreachable, match=f"{NOT_ANSWERED}.*nothing is sent.*Tried for 1 s"):
        take(limiter)


@pytest.mark.usefixtures("quick")
def test_without_a_deadline_it_is_waited_for_a_while(redis_server: Any) -> None:
    server, port = redis_server
    server.send_signal(signal.SIGSTOP)
    with (
        pytest.raises(StoreUnreachable, match=r"Tried for [23] s"),
        limiter_at(port).permit("e", MANY, hold=5.0),
    ):
        pass


def test_a_redis_that_comes_back_in_time_is_an_outage_that_is_survived(
    redis_server: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "_CALL_SECONDS", 1.0)
    server, port = redis_server
    server.send_signal(signal.SIGSTOP)
    timer = threading.Timer(1.5, server.send_signal, [signal.SIGCONT])
    timer.start()
    take(limiter_at(port), 60.0)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "It is tried for another" in caplog.text


def test_a_redis_that_dies_and_is_started_again_is_survived_too(redis_server: Any, tmp_path: Path) -> None:
    server, port = redis_server
    limiter = limiter_at(port)
    take(limiter, SOON)
    server.kill()
    server.wait()
    again: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        again.append(subprocess.Popen([*server.args, "--daemonize", "no"], stdout=subprocess.DEVNULL))

    timer = threading.Timer(1.0, start)
    timer.start()
    try:
        take(limiter, 60.0)
    finally:
        timer.join()
        again[0].kill()
        again[0].wait()


def test_who_is_told_to_stop_waits_for_no_redis(redis_server: Any) -> None:
    server, port = redis_server
    server.send_signal(signal.SIGSTOP)
    end = time.monotonic() + 0.5
    with pytest.raises(WaitStopped):
        take(limiter_at(port), 600.0, stop=lambda: time.monotonic() > end)


def test_an_answer_in_hand_is_kept_when_redis_freezes(
    redis_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server, port = redis_server
    limiter, answers = limiter_at(port), []
    with limiter.permit("e", MANY, hold=5.0):
        server.send_signal(signal.SIGSTOP)
        answers.append("accepted")
    assert answers == ["accepted"]
    assert "stays taken until its time is up" in caplog.text
    limiter.pause("e", 60.0)
    assert "are not told of its pause" in caplog.text


def test_a_wrong_password_is_told_at_once(redis_server: Any) -> None:
    import redis

    _, port = redis_server
    redis.Redis(port=port).config_set("requirepass", "secret")
    began = time.monotonic()
    with pytest.raises(RateLimitStoreError, match="AuthenticationError") as caught:
        take(limiter_at(port, password="wrong-password"), 60.0)
    assert time.monotonic() - began < SOON
    assert "wrong-password" not in str(caught.value)


class Endless:
    """Accepts connections, and then says nothing, or a byte at a time and never an end."""

    def __init__(self, word: bytes) -> None:
        self._word = word
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._is_over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._trickle, args=[connection], daemon=True).start()

    def _trickle(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self._word:
                connection.sendall(b"+")
            while not self._is_over.wait(0.05):
                connection.sendall(self._word)

    def close(self) -> None:
        self._is_over.set()
        self._server.close()


@pytest.fixture(params=[b"", b"x"], ids=["silent", "trickling"])
def endless(request: pytest.FixtureRequest) -> Iterator[Endless]:
    server = Endless(request.param)
    yield server
    server.close()


@pytest.mark.usefixtures("quick")
def test_an_answer_that_never_ends_is_given_up(endless: Endless) -> None:
    with pytest.raises(StoreUnreachable, match=NOT_ANSWERED):
        take(limiter_at(endless.port))


def test_a_call_that_was_given_up_leaves_no_thread_behind_for_ever(redis_server: Any) -> None:
    """Airflow's hook sets no timeout of the socket, and a triggerer lives for weeks."""
    import redis

    server, port = redis_server
    client = with_timeouts(
        redis.Redis(port=port, socket_timeout=None, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0)),
        2.0,
    )
    server.send_signal(signal.SIGSTOP)
    before = threads()
    LIMITERS.append(RateLimiter(RedisWindows(client), account="a"))
    with pytest.raises(StoreUnreachable):
        take(LIMITERS[-1], 1.0)
    assert threads() > before
    deadline = time.monotonic() + SOON
    while threads() > before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def threads() -> int:
    """How many there are in this process, those that Python's threading does not know of among them."""
    return len(list(Path("/proc/self/task").iterdir()))


def test_the_hook_names_the_connection_and_the_host_and_no_secret(
    redis_server: Any, klaviyo: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, port = redis_server
    shared = {"conn_type": "redis", "host": "127.0.0.1", "port": port, "password": "hush-hush"}
    monkeypatch.setenv("AIRFLOW_CONN_LIMITS", json.dumps(shared))
    connection = json.loads(os.environ["AIRFLOW_CONN_KLAVIYO_DEFAULT"])
    connection["extra"] = {"rate_limit_conn_id": "limits"}
    monkeypatch.setenv("AIRFLOW_CONN_KLAVIYO_DEFAULT", json.dumps(connection))
    server.send_signal(signal.SIGSTOP)
    with (
        KlaviyoHook().get_client(timeout=1.5) as client,
        pytest.raises(StoreUnreachable, match=f"connection limits, 127.0.0.1:{port}") as caught,
    ):
        client.get(GET_LISTS)
    assert "hush-hush" not in str(caught.value)
    assert klaviyo.requests() == []


# --- files ----------------------------------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from airflow_provider_klaviyo.client.clock import SystemClock
from airflow_provider_klaviyo.client.file_lock import locked
from airflow_provider_klaviyo.client.rate_limit_waits import Caller

with locked(Path(sys.argv[1]), Caller(SystemClock())):
    print("locked", flush=True)
    sys.stdin.readline()
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(airflow_provider_klaviyo.__file__).parents[1])}


@pytest.fixture
def limiter(tmp_path: Path) -> RateLimiter:
    return RateLimiter(FileWindows(tmp_path), account="a", share=1.0)


@pytest.fixture
def frozen(limiter: RateLimiter, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that was stopped while it had the lock of the file."""
    take(limiter)
    (file,) = tmp_path.iterdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"locked\n"
        process.send_signal(signal.SIGSTOP)
        yield process
        process.send_signal(signal.SIGCONT)
        process.kill()


def test_a_file_that_a_stopped_process_has_locked_is_named_with_the_process(
    limiter: RateLimiter, frozen: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with pytest.raises(StoreUnreachable) as caught:
        take(limiter)
    told = str(caught.value)
    assert f"windows at {tmp_path}" in told
    assert f"locked by process {frozen.pid}, which is stopped" in told
    assert f"kill -CONT {frozen.pid}" in told


def test_a_holder_that_is_not_stopped_is_not_to_be_continued(
    limiter: RateLimiter, frozen: subprocess.Popen[bytes]
) -> None:
    frozen.send_signal(signal.SIGCONT)
    with pytest.raises(StoreUnreachable, match=f"locked by process {frozen.pid}, for.*If it hangs") as caught:
        take(limiter)
    assert "kill -CONT" not in str(caught.value)


@pytest.mark.usefixtures("quick")
def test_without_a_deadline_a_lock_is_waited_for_a_while(
    limiter: RateLimiter, frozen: subprocess.Popen[bytes]
) -> None:
    with (
        pytest.raises(StoreUnreachable, match=r"Tried for [23] s"),
        limiter.permit("e", MANY, hold=5.0),
    ):
        pass


def test_who_is_told_to_stop_waits_for_no_lock(limiter: RateLimiter, frozen: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 0.3
    with pytest.raises(WaitStopped):
        take(limiter, 600.0, stop=lambda: time.monotonic() > end)


def test_a_lock_whose_holder_goes_on_is_waited_out(
    limiter: RateLimiter, frozen: subprocess.Popen[bytes]
) -> None:
    def go_on() -> None:
        frozen.send_signal(signal.SIGCONT)
        assert frozen.stdin
        frozen.stdin.write(b"go\n")
        frozen.stdin.flush()

    threading.Timer(0.5, go_on).start()
    take(limiter, 60.0)


def test_a_locked_file_that_is_deleted_keeps_nobody(
    limiter: RateLimiter, frozen: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    (file,) = tmp_path.iterdir()
    threading.Timer(0.3, file.unlink).start()
    take(limiter, 60.0)


def test_an_answer_in_hand_is_kept_when_the_file_is_locked(
    limiter: RateLimiter, frozen: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    limiter._release(limiter._key("e"), 1)
    assert "stays taken until its time is up" in caplog.text
    limiter.pause("e", 60.0)
    assert "are not told of its pause" in caplog.text
