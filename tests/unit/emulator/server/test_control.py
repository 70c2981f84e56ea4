"""`/_emulator`, and the same from Python."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault, FaultKind, ManualClock, Settings


def test_faults_are_ordered_listed_and_removed(caller: Any) -> None:
    order = {"kind": "status", "status": 503, "operation": "get_lists", "count": None}
    assert caller.post("/_emulator/faults", order).json() == {"number": 1}
    assert [caller.get("/api/lists").status_code for _ in range(2)] == [503, 503]
    (fault,) = caller.get("/_emulator/faults").json()["faults"]
    assert (fault["struck"], fault["left"], fault["kind"]) == (2, None, "status")
    assert caller.call("DELETE", "/_emulator/faults/1").status_code == 204
    assert caller.call("DELETE", "/_emulator/faults/1").status_code == 404
    assert caller.get("/api/lists").status_code == 200


@pytest.mark.parametrize(
    "order", [[], {}, {"kind": "explosion"}, {"kind": "slow", "soon": 1}, {"kind": "slow", "seconds": "x"}]
)
def test_a_bad_order_is_told_why(caller: Any, order: Any) -> None:
    assert caller.post("/_emulator/faults", order).status_code == 400


def test_requests_are_logged_without_bodies(caller: Any) -> None:
    caller.bulk_import({"email": "ann@mail.com"}, {"email": "bob@mail.com"})
    caller.get("/api/lists", sort="name")
    log = caller.get("/_emulator/requests").json()
    assert log["count"] == 2
    first, second = log["requests"]
    assert (first["operation"], first["status"], first["records"], first["body"]) == (
        "bulk_import_profiles",
        202,
        2,
        None,
    )
    assert (second["path"], second["query"], second["number"]) == ("/api/lists", "sort=name", 2)
    later = caller.get("/_emulator/requests", after=1).json()["requests"]
    assert [entry["operation"] for entry in later] == ["get_lists"]
    assert caller.get("/_emulator/requests", operation="get_lists").json()["count"] == 1


def test_the_last_bodies_are_kept_on_request(emulator: Emulator, caller: Any) -> None:
    emulator.set(keep_bodies=2)
    for name in ("a", "b", "c"):
        caller.post("/api/lists", {"data": {"type": "list", "attributes": {"name": name}}})
    bodies = [entry.body for entry in emulator.requests()]
    assert bodies[0] is None
    assert b'"c"' in (bodies[2] or b"")


def test_stored_profiles_can_be_paged_through(emulator: Emulator, caller: Any) -> None:
    emulator.add_profiles([{"external_id": f"c{number}"} for number in range(5)])
    first = caller.get("/_emulator/profiles", limit=3).json()
    second = caller.get("/_emulator/profiles", offset=first["next_offset"]).json()
    assert first["profiles"] + second["profiles"] == emulator.profiles()
    assert (first["count"], second["next_offset"]) == (5, None)


def test_stats_tell_what_was_written_and_how_full_the_windows_were(caller: Any, clock: ManualClock) -> None:
    for number in range(3):
        caller.bulk_import({"external_id": f"c{number}"})
    caller.bulk_import({"email": "x"})
    clock.advance(10)
    stats = caller.get("/_emulator/stats").json()
    assert stats["stored"] == {"profiles": 3, "lists": 0, "jobs": 3, "events": 0}
    assert stats["writes"] == {"bulk_import_profiles": {"requests": 3, "records": 3}}
    assert stats["statuses"] == {"202": 3, "400": 1}
    assert stats["exceeded"] == 0
    (windows,) = stats["windows"]
    assert windows["max_per_window"] == {"1": 4, "60": 4}


def test_settings_change_while_it_runs(emulator: Emulator, caller: Any) -> None:
    shown = caller.post("/_emulator/settings", {"job_seconds": 0, "rate_limits": "off"}).json()
    assert (shown["job_seconds"], shown["rate_limits"]) == (0.0, "off")
    assert emulator.settings.job_seconds == 0
    assert "api_key" not in shown
    assert "keys" not in caller.get("/_emulator/settings").json()


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": 1},
        {"account_id": "BBBBBB"},
        {"rate_limits": "half"},
        {"job_seconds": "x"},
        {"job_seconds": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(
    emulator: Emulator, caller: Any, changes: dict[str, Any]
) -> None:
    before = emulator.settings
    assert caller.post("/_emulator/settings", changes).status_code == 400
    assert emulator.settings == before


def test_a_job_is_cancelled_over_http(emulator: Emulator, caller: Any) -> None:
    job_id = caller.bulk_import({"email": "ann@mail.com"}).json()["data"]["id"]
    assert caller.call("POST", f"/_emulator/jobs/{job_id}/cancel").status_code == 204
    assert caller.call("POST", f"/_emulator/jobs/{job_id}/cancel").status_code == 404
    assert [job.status for job in emulator.jobs()] == ["cancelled"]


def test_a_reset_forgets_everything_but_the_settings(emulator: Emulator, caller: Any) -> None:
    emulator.set(job_seconds=0)
    emulator.add_list("VIP", emulator.add_profiles([{"external_id": "c1"}]))
    caller.get("/api/accounts")
    assert caller.call("POST", "/_emulator/reset").status_code == 204
    assert emulator.stats()["stored"] == {"profiles": 0, "lists": 0, "jobs": 0, "events": 0}
    assert emulator.requests() == []
    assert caller.get("/api/accounts").status_code == 200
    assert emulator.settings.job_seconds == 0


def test_an_unknown_command_lists_those_that_exist(caller: Any) -> None:
    response = caller.get("/_emulator/magic")
    assert response.status_code == 404
    assert "POST /_emulator/faults" in response.json()["errors"][0]["detail"]


def test_profiles_given_in_python_obey_the_rules_too(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="email: Invalid email address"):
        emulator.add_profiles([{"email": "nobody"}])


def test_a_key_never_shows_in_a_representation() -> None:
    settings = Settings(api_key="pk_secret", keys={"pk_other": ()})
    assert "pk_" not in repr(settings)


@pytest.mark.parametrize(
    "bad",
    [{"account_id": "x"}, {"job_seconds": -1}, {"time_factor": 0}, {"rate_limits": "x"}, {"pointers": "x"}],
)
def test_settings_check_themselves(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Settings(**bad)


def test_a_key_may_not_be_handed_out_to_who_asks(caller: Any) -> None:
    assert "pk_emulator" not in caller.get("/_emulator/settings").text


def test_people_given_in_python_are_merged_and_listed(emulator: Emulator) -> None:
    ids = emulator.add_profiles([{"external_id": "c1"}, {"external_id": "c1", "title": "Dr."}])
    assert ids[0] == ids[1]
    assert emulator.profile(external_id="c1") == {"id": ids[0], "external_id": "c1", "title": "Dr."}
    assert emulator.profile(external_id="c2") is None
    with pytest.raises(ValueError, match="no profile"):
        emulator.add_list("VIP", ["01GDDKASAP8TKDDA2GRZDSVP4H"])
    with pytest.raises(KeyError):
        emulator.members("NoList")


def test_all_faults_go_at_once(emulator: Emulator, caller: Any) -> None:
    for _ in range(2):
        emulator.inject(Fault(FaultKind.STATUS, count=None))
    emulator.clear_faults()
    assert caller.get("/api/lists").status_code == 200


def test_a_stopped_emulator_frees_its_port(emulator: Emulator) -> None:
    port = emulator.port
    emulator.stop()
    with pytest.raises(RuntimeError):
        _ = emulator.port
    with Emulator(port=port) as again:
        assert again.port == port
