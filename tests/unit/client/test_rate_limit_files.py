from __future__ import annotations

import itertools
import logging
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

import airflow_provider_klaviyo
from airflow_provider_klaviyo.client.file_lock import locked
from airflow_provider_klaviyo.client.rate_limit import RateLimiter
from airflow_provider_klaviyo.client.rate_limit_files import FileWindows
from airflow_provider_klaviyo.client.rate_limit_slots import Rate
from airflow_provider_klaviyo.client.rate_limit_waits import Caller, RateLimitStoreError

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(airflow_provider_klaviyo.__file__).parents[1])}
MINUTE = (Rate(3, 60.0),)


class Machine:
    """A host with a clock on the wall, a clock that counts since its start, and processes that share a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wall = 1_700_000_000.0
        self.uptime = 500.0
        self.boots = 1
        self._processes = itertools.count()

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.uptime

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.uptime += seconds

    def restart(self, *, down_for: float) -> None:
        self.wall += down_for
        self.uptime = 3.0
        self.boots += 1

    def process(self, account: str = "account") -> RateLimiter:
        windows = FileWindows(self.folder, boot_id=f"boot {self.boots}")
        return RateLimiter(windows, account=account, share=1.0, clock=self)

    def send(self, count: int = 1) -> float:
        """Send so many requests, each from a process of its own; the seconds they waited."""
        return sum(self._send() for _ in range(count))

    def _send(self) -> float:
        with self.process().permit("e", MINUTE, hold=10.0) as permit:
            return permit.waited

    @property
    def file(self) -> Path:
        (file,) = self.folder.iterdir()
        return file


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "deep" / "windows")


def test_processes_of_a_host_share_the_windows(machine: Machine) -> None:
    assert machine.send(3) == 0
    assert 60 <= machine.send() < 61


@pytest.mark.parametrize("jump", [-86_400.0, -1.0, 1.0, 86_400.0], ids="{:+.0f} s".format)
def test_setting_the_clock_on_the_wall_changes_nothing(machine: Machine, jump: float) -> None:
    machine.send(3)
    machine.wall += jump
    assert 60 <= machine.send() < 61


@pytest.mark.parametrize("uptime", [500.0, 2.0], ids=["after a long time", "and again at once"])
def test_a_restart_of_the_machine_forgets_nothing(machine: Machine, uptime: float) -> None:
    machine.uptime = uptime
    machine.send(3)
    machine.restart(down_for=20.0)
    assert 40 <= machine.send() < 41


def test_a_long_restart_leaves_the_windows_empty(machine: Machine) -> None:
    machine.send(3)
    machine.restart(down_for=300.0)
    assert machine.send(3) == 0


def test_a_restart_with_the_wall_clock_set_back_waits_a_window_at_most(machine: Machine) -> None:
    machine.send(3)
    machine.restart(down_for=-1e6)
    assert 60 <= machine.send() < 61


def test_a_clock_that_counts_from_elsewhere_without_a_restart_is_noticed(machine: Machine) -> None:
    """A restored snapshot, or a container with a clock of its own."""
    machine.send(3)
    machine.uptime -= 400
    assert 60 <= machine.send() < 61


def test_the_place_of_a_holder_that_died_is_free_after_its_hold_and_the_window(machine: Machine) -> None:
    with ExitStack() as graves:
        graves.enter_context(machine.process().permit("e", [Rate(1, 60.0)], hold=10.0))
        with machine.process().permit("e", [Rate(1, 60.0)], hold=10.0) as permit:
            assert 70 <= permit.waited < 71


def test_an_answer_after_the_hold_still_counts(machine: Machine) -> None:
    with machine.process().permit("e", [Rate(1, 60.0)], hold=10.0):
        machine.sleep(100.0)
    with machine.process().permit("e", [Rate(1, 60.0)], hold=10.0) as permit:
        assert permit.waited >= 60


def test_an_answer_after_the_hold_does_not_free_the_place_of_another(machine: Machine) -> None:
    late, other = (machine.process().permit("e", [Rate(1, 60.0)], hold=10.0) for _ in range(2))
    late.__enter__()
    machine.sleep(100.0)
    other.__enter__()
    late.__exit__(None, None, None)
    machine.sleep(5.0)
    other.__exit__(None, None, None)
    with machine.process().permit("e", [Rate(1, 60.0)], hold=10.0) as permit:
        assert permit.waited >= 60


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut within the header": lambda raw: raw[:40],
    "cut within a place": lambda raw: raw[:-5],
    "cut between places": lambda raw: raw[:-16],
    "noise": lambda raw: random.Random(1).randbytes(len(raw)),
    "noise in the header": lambda raw: raw[:24] + random.Random(2).randbytes(40) + raw[64:],
    "noise in a place": lambda raw: raw[:-16] + b"\x01\x02\x03\x04\x05\x06\x07\x7f" * 2,
    "not a number": lambda raw: raw[:-8] + b"\xff" * 8,
    "a token without its sign": lambda raw: raw[:-9] + bytes([raw[-9] ^ 0x80]) + raw[-8:],
    "another kind of file": lambda _: b"#!/bin/sh\n" * 40,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_starts_anew_after_a_pause(
    machine: Machine, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    machine.send(3)
    machine.file.write_bytes(damage(machine.file.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert 60 <= machine.send() <= 121
    damaged, paused = (record.getMessage() for record in caplog.records)
    assert str(machine.file) in damaged
    assert f"(its file was damaged). To go on sooner, delete {machine.file}." in paused
    assert machine.send(2) == 0
    assert machine.send() >= 60


def test_a_file_damaged_while_a_request_is_in_flight_counts_that_request(machine: Machine) -> None:
    with machine.process().permit("e", [Rate(1, 60.0)], hold=300.0):
        machine.file.write_bytes(b"?" * 100)
        machine.process().pause("e", 0.0)
        machine.sleep(200.0)
    with machine.process().permit("e", [Rate(1, 60.0)], hold=10.0) as permit:
        assert permit.waited >= 60


def test_a_file_that_was_just_created_and_never_written_is_not_damaged(machine: Machine) -> None:
    machine.send()
    machine.file.write_bytes(b"")
    assert machine.send() == 0


def test_a_deleted_file_is_made_again(machine: Machine) -> None:
    machine.send(3)
    machine.file.unlink()
    assert machine.send(3) == 0
    assert machine.send() >= 60


def test_who_waits_for_the_lock_of_a_file_that_is_deleted_uses_the_new_one(machine: Machine) -> None:
    windows = FileWindows(machine.folder)
    with ThreadPoolExecutor() as pool:
        caller, began = Caller(machine), machine.uptime
        with locked(windows._path("key"), caller):
            waiter = pool.submit(windows.acquire, "key", 1, MINUTE, 10.0, caller)
            while machine.uptime == began:
                time.sleep(0.001)
            machine.file.unlink()
        assert waiter.result() == 0
    assert machine.file.stat().st_size > 0


def test_a_file_does_not_grow_with_the_number_of_requests(machine: Machine) -> None:
    machine.send(4)
    size = machine.file.stat().st_size
    machine.send(20)
    assert machine.file.stat().st_size == size


def test_sharers_with_a_lower_limit_do_not_make_others_forget(machine: Machine) -> None:
    """Some parameters of a request lower the limits of its endpoint, here to a window that is shorter as well."""
    machine.send(3)
    machine.sleep(5.0)
    with machine.process().permit("e", [Rate(10, 1.0)], hold=10.0) as permit:
        assert permit.waited == 0
    assert machine.send() >= 54


def test_only_the_owner_can_read_the_folder_and_its_files(machine: Machine) -> None:
    machine.send()
    assert stat.S_IMODE(machine.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(machine.file.stat().st_mode) == 0o600


def test_neither_names_nor_contents_tell_the_account(machine: Machine) -> None:
    with machine.process("pk_0123456789").permit("../get_lists", MINUTE, hold=10.0):
        pass
    assert "pk_" not in machine.file.name
    assert b"pk_" not in machine.file.read_bytes()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RateLimitStoreError, match=r"file/windows.*Make the directory writable"):
        FileWindows(tmp_path / "file" / "windows")


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(RateLimitStoreError, match="can be written to by other users"):
        FileWindows(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12_345, -1)
    with pytest.raises(RateLimitStoreError, match="belongs to the user with the number 12345"):
        FileWindows(tmp_path)


def test_a_link_to_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(RateLimitStoreError, match=r"link is a link.*Delete it"):
        FileWindows(tmp_path / "link")


def test_nothing_is_sent_when_the_windows_cannot_be_kept(machine: Machine) -> None:
    machine.send()
    file = machine.file
    file.unlink()
    file.mkdir()
    with pytest.raises(RateLimitStoreError, match="so nothing is sent"):
        machine.send()


def test_an_answer_is_not_lost_when_the_windows_are(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    with machine.process().permit("e", MINUTE, hold=10.0):
        file = machine.file
        file.unlink()
        file.mkdir()
    assert "stays taken" in caplog.text


def test_a_link_is_not_followed(machine: Machine, tmp_path: Path) -> None:
    machine.send()
    file = machine.file
    file.unlink()
    (tmp_path / "target").touch()
    file.symlink_to(tmp_path / "target")
    with pytest.raises(RateLimitStoreError, match="is a link"):
        machine.send()


def test_a_file_that_others_can_write_to_is_refused(machine: Machine) -> None:
    machine.send()
    machine.file.chmod(0o666)
    with pytest.raises(RateLimitStoreError, match="can be written to by other users"):
        machine.send()


SENDER = """
import sys
from pathlib import Path
from airflow_provider_klaviyo.client.rate_limit import RateLimiter
from airflow_provider_klaviyo.client.rate_limit_slots import Rate
from airflow_provider_klaviyo.client.rate_limit_files import FileWindows

limiter = RateLimiter(FileWindows(Path(sys.argv[1])), account="account", share=1.0)
print("ready", flush=True)
while True:
    with limiter.permit("e", [Rate(100_000, 0.05)], hold=0.2):
        pass
"""


def test_a_process_killed_at_any_moment_leaves_windows_that_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limiter = RateLimiter(FileWindows(tmp_path), account="account", share=1.0)
    moments = random.Random(3)
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", SENDER, tmp_path],
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
        ) as sender:
            assert sender.stdout
            sender.stdout.readline()
            for _ in range(
                moments.randrange(400)
            ):  # work against it for a moment, then kill it in the middle
                with limiter.permit("e", [Rate(100_000, 0.05)], hold=0.2):
                    pass
            sender.send_signal(signal.SIGKILL)
        with limiter.permit("e", [Rate(100_000, 0.05)], hold=0.2) as permit:
            assert permit.waited < 60
    assert caplog.records == []


FORKER = """
import os, sys
from pathlib import Path
from airflow_provider_klaviyo.client.clock import SystemClock
from airflow_provider_klaviyo.client.file_lock import locked
from airflow_provider_klaviyo.client.rate_limit_files import FileWindows
from airflow_provider_klaviyo.client.rate_limit_waits import Caller

windows, caller, (reader, writer) = FileWindows(Path(sys.argv[1])), Caller(SystemClock()), os.pipe()
with locked(windows._path("key"), caller):
    if not os.fork():
        os.close(writer)
        os.read(reader, 1)  # lives until the parent is done
        os._exit(0)
print(windows.acquire("key", 1, [], 1.0, caller))
"""


def test_a_child_forked_while_the_file_is_locked_does_not_keep_the_lock(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", FORKER, tmp_path], capture_output=True, check=True, env=ENVIRONMENT, timeout=60
    )
    assert answer.stdout == b"0.0\n"
