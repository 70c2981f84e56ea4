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


def not_checked(told: Mapping[str, str]) -> set[str]:
    return {name for name, line in told.items() if line.endswith(f"{name}: not checked, see connection")}


def test_a_key_that_lacks_the_first_scope_is_asked_for_the_others(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(Settings(keys={"pk_reader": ("profiles:read",)})) as emulator:
        code, told = doctor(emulator, monkeypatch, capsys)
    assert (code, wrong(told)) == (1, {"connection", "scopes"})
    assert "lacks accounts:read, lists:read" in told["scopes"]


def test_a_key_of_another_account_is_looked_at_all_the_same(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator() as emulator:
        code, told = doctor(emulator, monkeypatch, capsys, extra={"account_id": "XyZ987"})
    assert (code, wrong(told), not_checked(told)) == (1, {"connection"}, set())


def test_a_wrong_key_and_a_lost_storage_are_told_once_each(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.write_text("a file where a folder should be")
    with Emulator() as emulator:
        code, told = doctor(emulator, monkeypatch, capsys, password="pk_wrong")
    assert code == 1
    assert (wrong(told), not_checked(told)) == ({"connection", "storage"}, {"scopes", "clock"})
    assert "storage_path" in told["storage"]
    assert "pk_wrong" not in "".join(told.values())


def test_a_connection_that_is_missing_is_told_once(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "nobody"])
    told = {line[6:].partition(":")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert (code, wrong(told), not_checked(told)) == (1, {"connection"}, {"scopes", "rate limits", "clock"})
    assert "klaviyo_conn_id='nobody': Airflow has no connection of this id" in told["connection"]


def test_a_limiter_that_is_not_there_is_told_once(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator() as emulator:
        code, told = doctor(emulator, monkeypatch, capsys, extra={"rate_limit_conn_id": "no_redis"})
    assert (code, wrong(told), not_checked(told)) == (1, {"connection"}, {"scopes", "rate limits", "clock"})
    assert "rate_limit_conn_id='no_redis'" in told["connection"]


def test_a_host_that_speaks_no_tls_is_not_asked_for_long(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator() as emulator:
        host = emulator.url.removeprefix("http://")
        began = SystemClock().monotonic()
        _, told = doctor(emulator, monkeypatch, capsys, host=host)
    assert SystemClock().monotonic() - began < 15
    assert (wrong(told), not_checked(told)) == ({"connection"}, {"scopes", "clock"})
    assert f"write http://{host}" in told["connection"]


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
