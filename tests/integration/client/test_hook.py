"""The calls that people make by hand."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.exceptions import (
    KlaviyoConfigurationError,
    KlaviyoRequestError,
    KlaviyoRevisionError,
    KlaviyoServerError,
)
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from tests.clocks import SleepingClock
from tests.integration.conftest import StartEmulator

pytestmark = pytest.mark.integration


def test_a_list_is_found_by_its_exact_name_or_created_once(klaviyo: Emulator) -> None:
    hook = KlaviyoHook()
    assert hook.find_list('VIP "gold"') is None
    created = hook.create_list('VIP "gold"', opt_in_process="single_opt_in")
    assert hook.create_list('VIP "gold"') == hook.find_list('VIP "gold"') == created
    assert hook.find_list("vip") is None


def test_two_lists_of_one_name_are_an_error_that_names_both(klaviyo: Emulator) -> None:
    ids = [klaviyo.add_list("VIP"), klaviyo.add_list("VIP")]
    with pytest.raises(KlaviyoConfigurationError) as caught:
        KlaviyoHook().find_list("VIP")
    assert all(list_id in str(caught.value) for list_id in ids)


def test_profiles_are_looked_up_a_hundred_at_a_time(klaviyo: Emulator) -> None:
    klaviyo.add_profiles([{"email": f"p+{n}@shop.io"} for n in range(150)])
    found = KlaviyoHook().get_profiles([f"p+{n}@shop.io" for n in range(250)])
    assert len(found) == 150
    assert len(klaviyo.requests("get_profiles")) == 3


@pytest.mark.parametrize("name", ["it's", 'a "b" c', "back\\slash", "plus+amp&eq=", "ünï"])
def test_any_value_survives_the_filter(klaviyo: Emulator, name: str) -> None:
    klaviyo.add_profiles([{"external_id": name}])
    assert len(KlaviyoHook().get_profiles([name], field="external_id")) == 1


def test_any_endpoint_can_be_called(klaviyo: Emulator) -> None:
    hook = KlaviyoHook()
    body = {"data": {"type": "profile", "attributes": {"email": "ada@shop.io"}}}
    created = hook.request("POST", "/api/profiles", json=body)
    assert created["data"]["attributes"]["email"] == "ada@shop.io"  # type: ignore[index]
    found = hook.request("get", "/api/profiles", query={"filter": 'equals(email,"ada@shop.io")'})
    assert len(found["data"]) == 1  # type: ignore[arg-type]
    with pytest.raises(KlaviyoRequestError, match="404"):
        hook.request("GET", "/api/lists/Nolist")


@pytest.mark.parametrize(
    "paths",
    [
        [f"/api/lists/L{n:03}/profiles" for n in range(100)],
        [f'/api/profiles?filter=equals(email,"p{n}%40shop.io")' for n in range(100)],
        [f"/api/profiles?additional-fields%5Bprofile%5D=predictive_analytics&filter=equals(email,%22p{n}%40shop.io%22)"
         for n in range(30)],
        [f"/api/profiles/01GDDKASAP8TKDDA2GRZDSV{n:03}" for n in range(100)],
        [f"/api/lists/L{n:03}?additional-fields%5Blist%5D=profile_count" for n in range(5)],
    ],
    ids=["ids", "addresses", "a parameter that lowers the limit", "unknown to syncs", "counts"],
)  # fmt: skip
def test_calls_by_hand_never_exceed_a_limit_whatever_is_in_their_paths(
    start_emulator: StartEmulator, paths: list[str]
) -> None:
    clock = SleepingClock()
    klaviyo = start_emulator(clock=clock)
    hook = KlaviyoHook()
    hook.clock = clock
    for path in paths:
        with suppress(KlaviyoRequestError):  # there is no such list
            hook.request("GET", path)
    seen = klaviyo.stats()["windows"]
    assert sum(each["requests"] for each in seen) >= len(paths)
    assert not any(each["exceeded"] for each in seen), seen


def test_calls_by_hand_and_syncs_share_their_windows(start_emulator: StartEmulator) -> None:
    clock = SleepingClock()
    klaviyo = start_emulator(clock=clock)
    hook = KlaviyoHook()
    hook.clock = clock
    vips = klaviyo.add_list("VIPs")
    for n in range(60):
        hook.request("GET", f"/api/lists?page[size]=1&filter=equals(name,%22{n}%22)")
        assert hook.find_list("VIPs") == vips
    assert not any(each["exceeded"] for each in klaviyo.stats()["windows"])


def test_windows_of_calls_by_hand_name_nobody(
    klaviyo: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    hook = KlaviyoHook()
    hook.request("GET", "/api/profiles?filter=equals(email,%22ada%40shop.io%22)")
    hook.request("GET", "/api/profiles", query={"filter": 'equals(email,"ada@shop.io")'})
    with suppress(KlaviyoRequestError):
        hook.request("GET", "/api/profiles/01GDDKASAP8TKDDA2GRZDSVP4H")
    names = [quoted.name for quoted in tmp_path.rglob("*") if quoted.is_file()]
    assert sorted(unquote(name).partition(":")[2] for name in names) == [
        "GET /api/profiles/{id}",
        "get_profiles",
    ]


@pytest.mark.parametrize("path", ["@{other}/api/lists", "http://{other}/api/lists", "//{other}/api/lists"])
def test_the_key_goes_to_no_other_host(klaviyo: Emulator, start_emulator: StartEmulator, path: str) -> None:
    other = start_emulator()
    start_emulator()
    with pytest.raises(KlaviyoConfigurationError, match='does not begin with "/api/"'):
        KlaviyoHook().request("GET", path.format(other=other.url.removeprefix("http://")))
    assert not other.requests()


@pytest.mark.parametrize(
    ("method", "path", "tries"),
    [
        ("POST", "/api/profile-subscription-bulk-create-jobs", 1),
        ("POST", "/api/event-bulk-create-jobs", 1),
        ("POST", "/api/profile-import", 1),
        ("POST", "/api/profiles", 1),
        ("GET", "/api/metrics", 2),
    ],
)
def test_a_call_by_hand_whose_answer_is_lost_is_sent_again_only_when_it_reads(
    start_emulator: StartEmulator, method: str, path: str, tries: int
) -> None:
    clock = SleepingClock()
    klaviyo = start_emulator(clock=clock)
    klaviyo.inject(Fault("status", status=503, count=1))
    hook = KlaviyoHook()
    hook.clock = clock
    with suppress(KlaviyoServerError):
        hook.request(method, path, json={"data": {}} if method == "POST" else None)
    assert len(klaviyo.requests()) == tries


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"timeout": "soon"}, "timeout must be a number"),
        ({"rate_limit": 1}, "unknown extra fields: rate_limit"),
        ({"rate_limit_share": "2"}, "rate_limit_share"),
    ],
)
def test_a_connection_that_cannot_work_names_the_field(
    start_emulator: StartEmulator, extra: dict[str, object], told: str
) -> None:
    start_emulator(extra=extra)
    with pytest.raises(KlaviyoConfigurationError, match=told):
        KlaviyoHook().get_client()
    assert told.split(":")[0].split(" ")[0] in KlaviyoHook().test_connection()[1]


@pytest.mark.parametrize(
    ("host", "schema", "port"),
    [("{host}", "http", True), ("http://{host}:{port}/", None, False), ("http://{host}", None, True)],
)
def test_the_host_may_come_in_parts_as_a_uri_gives_it(
    klaviyo: Emulator, monkeypatch: pytest.MonkeyPatch, host: str, schema: str | None, port: bool
) -> None:
    import json

    connection = {
        "conn_type": "klaviyo",
        "password": klaviyo.api_key,
        "host": host.format(host="127.0.0.1", port=klaviyo.port),
        "schema": schema,
        "port": klaviyo.port if port else None,
    }
    monkeypatch.setenv("AIRFLOW_CONN_KLAVIYO_DEFAULT", json.dumps(connection))
    assert KlaviyoHook().test_connection() == (
        True,
        "Connected to the Klaviyo account EmuLtr (Emulated Outfitters), a test account.",
    )


def test_limits_can_be_shared_through_redis(
    start_emulator: StartEmulator, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    klaviyo = start_emulator(extra={"rate_limit_conn_id": "limits"})
    monkeypatch.setenv("AIRFLOW_CONN_LIMITS", redis_url)
    assert KlaviyoHook().test_connection()[0]
    assert len(klaviyo.requests("get_accounts")) == 1


def test_a_retired_revision_is_an_error_and_never_another_revisions_shapes(
    start_emulator: StartEmulator,
) -> None:
    start_emulator(extra={"revision": "2023-02-22"})
    with pytest.raises(KlaviyoRevisionError, match="retired"):
        KlaviyoHook().find_list("VIP")


def test_a_revision_that_ends_soon_is_told_of_in_the_log_and_by_the_test_button(
    start_emulator: StartEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    start_emulator(extra={"revision": "2024-10-15"}, revisions=("2024-10-15", "2026-07-15"))
    hook = KlaviyoHook()
    hook.find_list("VIP")
    told = "Klaviyo's API revision 2024-10-15 was to be retired on 2026-10-15."
    assert told in caplog.text
    assert told in hook.test_connection()[1]


@pytest.mark.parametrize("endless", [float("inf"), float("nan")])
def test_a_client_whose_time_never_ends_is_asked_for_by_none(klaviyo: Emulator, endless: float) -> None:
    with pytest.raises(
        KlaviyoConfigurationError, match="timeout must be a number of seconds with an end, or None"
    ):
        KlaviyoHook().get_client(timeout=endless)
