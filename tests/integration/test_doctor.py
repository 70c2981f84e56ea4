"""The command that checks what syncs need, and says what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from airflow_provider_klaviyo.cli.program import main
from airflow_provider_klaviyo.client.clock import SystemClock
from airflow_provider_klaviyo.emulator import Emulator, Settings
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook

pytestmark = pytest.mark.integration


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    return tmp_path / "storage"


def doctor(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **more: object
) -> tuple[int, Mapping[str, str]]:
    """The exit status, and the line of each check by its name."""
    connection = {"conn_type": "klaviyo", "password": emulator.api_key, "host": emulator.url, **more}
    monkeypatch.setenv("AIRFLOW_CONN_OURS", json.dumps(connection))
    code = main(["doctor", "ours"])
    lines = capsys.readouterr().out.splitlines()
    return code, {line[6:].partition(":")[0]: line for line in lines}


def test_all_is_fine_and_nothing_is_left(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator() as emulator:
        code, told = doctor(emulator, monkeypatch, capsys)
        assert {request.method for request in emulator.requests()} == {"GET"}
    assert code == 0
    assert list(told) == ["connection", "scopes", "storage", "rate limits", "clock"]
    assert all(line.startswith("fine") for line in told.values())
    assert list(storage.iterdir()) == []


def wrong(told: Mapping[str, str]) -> set[str]:
    return {name for name, line in told.items() if line.startswith("WRONG")}


def test_a_missing_scope_is_named(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(Settings(keys={"pk_reader": ("accounts:read", "profiles:read")})) as emulator:
        code, told = doctor(emulator, monkeypatch, capsys)
    assert (code, wrong(told)) == (1, {"scopes"})
    assert "lacks lists:read" in told["scopes"]


def test_a_wrong_key_a_lost_storage_and_a_limiter_that_is_not_there_are_told_each_by_itself(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.write_text("a file where a folder should be")
    with Emulator() as emulator:
        extra = json.dumps({"rate_limit_conn_id": "no_redis"})
        code, told = doctor(emulator, monkeypatch, capsys, password="pk_wrong", extra=extra)
    assert code == 1
    assert {"connection", "storage", "rate limits"} <= wrong(told)
    assert "storage_path" in told["storage"]
    assert "pk_wrong" not in "".join(told.values())


def test_a_clock_that_is_wrong_is_told(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Ahead(SystemClock):
        def now(self) -> float:
            return super().now() + 3_600

    monkeypatch.setattr(KlaviyoHook, "clock", Ahead())
    with Emulator() as emulator:
        code, told = doctor(emulator, monkeypatch, capsys)
    assert (code, wrong(told)) == (1, {"clock"})
    assert "s ahead of Klaviyo's time" in told["clock"]
