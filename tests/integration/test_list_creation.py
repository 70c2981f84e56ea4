"""A list is created once, whatever happens on the way."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.exceptions import KlaviyoTimeout
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from airflow_provider_klaviyo.sync import list_target
from airflow_provider_klaviyo.sync.list_target import create_list_once
from tests.integration.conftest import StartEmulator

pytestmark = pytest.mark.integration

CREATE = "create_list"


def create(folder: Any, name: str = "VIPs", seconds: float = 30) -> str:
    with KlaviyoHook().get_client(deadline=time.time() + seconds) as client:
        return create_list_once(client, name, "single_opt_in", folder)


def lists(klaviyo: Emulator) -> list[str]:
    return [each.id for each in klaviyo._account.lists]


@pytest.mark.parametrize(
    ("kind", "calls"),
    [("reset_after", 1), ("not_json", 1), ("reset_before", 2), ("status", 2)],
)
def test_a_creation_whose_answer_was_lost_is_looked_for_before_it_is_repeated(
    klaviyo: Emulator, tmp_path: Path, kind: str, calls: int
) -> None:
    klaviyo.inject(Fault(kind, CREATE, status=503))  # type: ignore[arg-type]
    found = create(tmp_path)
    assert lists(klaviyo) == [found]
    assert len(klaviyo.requests(CREATE)) == calls


def test_tasks_that_start_together_create_one_list(klaviyo: Emulator, tmp_path: Path) -> None:
    klaviyo.inject(Fault("slow", CREATE, seconds=0.5, count=None))
    found: list[str] = []
    tasks = [threading.Thread(target=lambda: found.append(create(tmp_path))) for _ in range(6)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert lists(klaviyo) == [found[0]]
    assert found == [found[0]] * 6
    assert not list(tmp_path.iterdir()), "locks were left behind"


def test_tasks_that_start_together_in_an_object_store(klaviyo: Emulator, s3_storage: str) -> None:
    from airflow.sdk import ObjectStoragePath

    klaviyo.inject(Fault("slow", CREATE, seconds=0.5, count=None))
    found: list[str] = []
    tasks = [
        threading.Thread(target=lambda: found.append(create(ObjectStoragePath(s3_storage) / "locks")))
        for _ in range(3)
    ]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert lists(klaviyo) == [found[0]]
    assert found == [found[0]] * 3


def test_the_lock_of_a_task_that_died_does_not_block_for_ever(
    klaviyo: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_target, "_LIFETIME", 1.5)
    with KlaviyoHook().get_client() as client:
        dead = list_target._CreationLock(client, "VIPs", tmp_path)
        assert dead._claim() == 1
        started = time.monotonic()
        found = create(tmp_path)
    assert time.monotonic() - started > 1
    assert lists(klaviyo) == [found]


def test_a_lock_that_is_held_too_long_ends_with_the_time(klaviyo: Emulator, tmp_path: Path) -> None:
    with KlaviyoHook().get_client() as client:
        list_target._CreationLock(client, "VIPs", tmp_path)._claim()
    with pytest.raises(KlaviyoTimeout, match="another task creates the list"):
        create(tmp_path, seconds=1)


def test_other_names_do_not_wait(klaviyo: Emulator, tmp_path: Path) -> None:
    with KlaviyoHook().get_client() as client:
        list_target._CreationLock(client, "VIPs", tmp_path)._claim()
    assert create(tmp_path, "Others", seconds=5) in lists(klaviyo)


def test_the_daily_limit_is_told(start_emulator: StartEmulator, tmp_path: Path) -> None:
    klaviyo = start_emulator(time_factor=1.0)
    klaviyo.inject(Fault("status", CREATE, status=429, retry_after=80_000, count=None))
    with pytest.raises(KlaviyoTimeout, match="150 new lists a day"):
        create(tmp_path)
    assert len(klaviyo.requests(CREATE)) == 1


def test_the_hook_creates_once_too(klaviyo: Emulator) -> None:
    klaviyo.inject(Fault("reset_after", CREATE))
    hook = KlaviyoHook()
    assert [hook.create_list("VIPs"), hook.create_list("VIPs"), hook.find_list("VIPs")] == lists(klaviyo) * 3
