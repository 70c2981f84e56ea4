"""Waiting for import jobs, on a worker and in the triggerer."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_klaviyo.client.job_kinds import KINDS
from airflow_provider_klaviyo.client.jobs import start_job as start_job_of
from airflow_provider_klaviyo.client.profile_imports import PROFILE_IMPORTS, import_body
from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from airflow_provider_klaviyo.sensors.jobs import KlaviyoImportJobSensor
from airflow_provider_klaviyo.triggers.jobs import KlaviyoImportJobTrigger
from tests.clocks import JUMPS, JumpingClock
from tests.integration.jobs import suppressions
from tests.integration.jobs.suppressions import SUPPRESSIONS
from tests.late import LATE

pytestmark = pytest.mark.airflow


@pytest.fixture
def job_seconds() -> float:
    return 1.0


def start_job(people: int = 3) -> str:
    with KlaviyoHook().get_client() as client:
        profiles = [b'{"type":"profile","attributes":{"email":"p%d@shop.io"}}' % n for n in range(people)]
        return start_job_of(client, PROFILE_IMPORTS, import_body(profiles)).id


Wait = Callable[..., Any]


@pytest.fixture
def wait(run_in_airflow: Callable[[Any], Any]) -> Wait:
    """Runs a Dag of one sensor; its task instance."""

    def run(
        sensor_arguments: dict[str, Any], sensor: type[KlaviyoImportJobSensor] = KlaviyoImportJobSensor
    ) -> Any:
        from airflow.sdk import DAG

        with DAG("waiting", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
            sensor(task_id="wait", **sensor_arguments)
        (ti,) = run_in_airflow(dag).get_task_instances()
        return ti

    return run


WAYS = [
    {"deferrable": False, "poke_interval": 0.3},
    {"deferrable": True, "poke_interval": 0.3},
]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=["poke", "deferrable"])
def test_the_sensor_waits_until_all_jobs_are_complete(
    klaviyo: Emulator, wait: Wait, way: dict[str, Any]
) -> None:
    jobs = [start_job() for _ in range(3)]
    assert wait({"job_ids": jobs, **way}).state == "success"
    assert {job.status for job in klaviyo.jobs()} == {"complete"}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=["poke", "deferrable"])
@pytest.mark.parametrize(
    ("fault", "more", "state"),
    [
        (Fault("job_fails", records=2), {}, "failed"),
        (Fault("job_fails", records=2), {"max_failed": 2}, "success"),
        (Fault("job_cancelled"), {"max_failed": 99}, "failed"),
    ],
    ids=["failed profiles", "allowed failures", "cancelled"],
)
def test_failed_profiles_and_cancelled_jobs_fail_the_sensor(
    klaviyo: Emulator, wait: Wait, way: dict[str, Any], fault: Fault, more: dict[str, Any], state: str
) -> None:
    klaviyo.inject(fault)
    assert wait({"job_ids": start_job(), **way, **more}).state == state


@pytest.mark.slow
def test_what_is_there_already_needs_no_triggerer(
    klaviyo: Emulator, wait: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    klaviyo.set(job_seconds=0.0)
    assert wait({"job_ids": start_job(), "deferrable": True, "poke_interval": 600}).state == "success"


def test_the_trigger_says_what_it_waits_for(klaviyo: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    trigger = KlaviyoImportJobTrigger([start_job(), start_job()], "klaviyo_default", 0.2, rest=0.2)
    begun = time.monotonic()

    async def all_events() -> list[Any]:
        return [event async for event in trigger.run()]

    assert len(asyncio.run(all_events())) == 1
    assert time.monotonic() - begun >= 0.2
    told = [
        each.getMessage()
        for each in caplog.records
        if each.name.startswith("airflow_provider_klaviyo.triggers")
    ]
    assert told[0] == "Waiting for Klaviyo: 2 of 2 import jobs open. The next look is in 0.2 s."
    assert told[-1] == "Klaviyo has settled 2 import jobs."
    assert len(told) == len(set(told))


def test_the_trigger_survives_being_made_again() -> None:
    trigger = KlaviyoImportJobTrigger(job_ids=["a", "b"], klaviyo_conn_id="k", poll_interval=3)
    path, arguments = trigger.serialize()
    assert path == "airflow_provider_klaviyo.triggers.jobs.KlaviyoImportJobTrigger"
    assert KlaviyoImportJobTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)


def test_a_trigger_that_an_earlier_build_wrote_down_waits_for_profile_imports(klaviyo: Emulator) -> None:
    job = start_job()
    arguments = {
        "job_ids": [job],
        "klaviyo_conn_id": "klaviyo_default",
        "poll_interval": 0.3,
        "timeout": None,
    }

    async def first() -> Any:
        return await anext(KlaviyoImportJobTrigger(**arguments).run())

    payload = asyncio.run(first()).payload
    assert payload == {"is_settled": True, "open": [], "lost": {}, "total": 3, "failed": 0}


def test_the_trigger_never_blocks_the_event_loop(klaviyo: Emulator) -> None:
    job = start_job()
    klaviyo.inject(Fault("slow", seconds=1.5))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.02)
            ticks += 1

    async def both() -> list[Any]:
        ticking = asyncio.create_task(tick())
        trigger = KlaviyoImportJobTrigger([job], "klaviyo_default", 0.1)
        events = [event async for event in trigger.run()]
        ticking.cancel()
        return events

    (event,) = asyncio.run(both())
    assert event.payload["total"] == 3
    assert ticks > 30


def test_what_goes_wrong_in_the_trigger_reaches_the_sensor(klaviyo: Emulator) -> None:
    klaviyo.set(keys={"pk_other": ()})

    async def first() -> Any:
        return await anext(KlaviyoImportJobTrigger(["j"], "klaviyo_default", 0.1).run())

    event = asyncio.run(first())
    sensor = KlaviyoImportJobSensor(task_id="wait", job_ids="j")
    with pytest.raises(Exception, match="does not accept the private API key") as caught:
        sensor.execute_complete({}, event.payload)  # type: ignore[typeddict-item]
    assert type(caught.value).__name__ == "AirflowFailException"


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"max_failed": "many"}, "max_failed must be a whole number"),
        ({"max_failed": None}, "max_failed must be a whole number"),
        ({"max_failed": -1}, "max_failed must be a whole number"),
        ({"job_ids": 5}, "job_ids must be a name or a list of names"),
        ({"deferrable": "perhaps"}, "deferrable must be true or false"),
    ],
)
def test_wrong_settings_fail_the_sensor_at_once(
    klaviyo: Emulator, wrong: dict[str, Any], named: str, deferrable: bool
) -> None:
    settings: dict[str, Any] = {"job_ids": ["j"], "deferrable": deferrable} | wrong
    with pytest.raises(Exception, match=named) as caught:
        KlaviyoImportJobSensor(task_id="wait", **settings, **LATE).execute({})  # type: ignore[typeddict-item]
    assert type(caught.value).__name__ == "AirflowFailException"
    assert klaviyo.requests() == []


def test_a_wrong_key_fails_the_sensor_at_once(klaviyo: Emulator) -> None:
    klaviyo.set(keys={"pk_other": ()})
    with pytest.raises(Exception, match="does not accept the private API key") as caught:
        KlaviyoImportJobSensor(task_id="wait", job_ids="j").execute({})  # type: ignore[typeddict-item]
    assert type(caught.value).__name__ == "AirflowFailException"


def test_a_number_that_a_template_rendered_is_read_as_it_was_meant(klaviyo: Emulator) -> None:
    klaviyo.inject(Fault("job_fails", records=2))
    sensor = KlaviyoImportJobSensor(
        task_id="wait",
        job_ids=start_job(),
        max_failed="2",  # type: ignore[arg-type]
        deferrable="false",  # type: ignore[arg-type]
        poke_interval=0.3,
    )
    assert sensor.execute({}) is None  # type: ignore[typeddict-item]


@pytest.fixture
def hidden(klaviyo: Emulator) -> str:
    """A job that Klaviyo does not know for its first looks."""
    job = start_job()
    klaviyo.inject(Fault("status", "get_bulk_import_profiles_job", status=404, count=2))
    return job


def test_a_job_that_klaviyo_does_not_know_yet_is_waited_for(klaviyo: Emulator, hidden: str) -> None:
    sensor = KlaviyoImportJobSensor(task_id="wait", job_ids=hidden, poke_interval=0.3, timeout=30)
    sensor.execute({})  # type: ignore[typeddict-item]
    assert {job.status for job in klaviyo.jobs()} == {"complete"}


def test_the_trigger_waits_for_a_job_that_klaviyo_does_not_know_yet(klaviyo: Emulator, hidden: str) -> None:
    async def first() -> Any:
        return await anext(KlaviyoImportJobTrigger([hidden], "klaviyo_default", 0.3).run())

    assert asyncio.run(first()).payload["lost"] == {}


class QuickSensor(KlaviyoImportJobSensor):
    """Waits for jobs that are known everywhere within a second."""

    kind = "quick-import-job"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> type[QuickSensor]:
    kind = replace(PROFILE_IMPORTS, name=QuickSensor.kind, appears_within=1.0)
    monkeypatch.setitem(KINDS, kind.name, kind)
    return QuickSensor


def test_a_job_that_klaviyo_never_knows_fails_the_sensor_after_a_while(
    klaviyo: Emulator, quick: type[QuickSensor]
) -> None:
    sensor = quick(task_id="wait", job_ids="nobodys", poke_interval=0.3, timeout=30)
    with pytest.raises(Exception, match="nobodys is unknown") as caught:
        sensor.execute({})  # type: ignore[typeddict-item]
    assert type(caught.value).__name__ == "AirflowFailException"
    assert len(klaviyo.requests()) > 1


@pytest.mark.parametrize("jump", JUMPS)
def test_a_job_may_be_unknown_as_long_when_somebody_sets_the_clock(
    klaviyo: Emulator, quick: type[QuickSensor], jump: float
) -> None:
    sensor = quick(task_id="wait", job_ids="nobodys")
    sensor.clock = clock = JumpingClock(jump)
    assert not sensor.poke({})  # type: ignore[typeddict-item]
    clock.sleep(0.9)
    assert not sensor.poke({})  # type: ignore[typeddict-item]
    clock.sleep(0.2)
    with pytest.raises(Exception, match="nobodys is unknown"):
        sensor.poke({})  # type: ignore[typeddict-item]


@pytest.mark.slow
def test_a_sensor_that_is_rescheduled_counts_from_its_first_look(
    klaviyo: Emulator, wait: Wait, quick: type[QuickSensor]
) -> None:
    ti = wait({"job_ids": "nobodys", "mode": "reschedule", "poke_interval": 0.5}, quick)
    assert ti.state == "failed"
    assert len(klaviyo.requests()) > 1


# --- jobs of another kind ---------------------------------------------------------------------------------------


class SuppressionJobSensor(KlaviyoImportJobSensor):
    kind = SUPPRESSIONS.name


@pytest.fixture
def suppression_job(klaviyo: Emulator) -> Iterator[str]:
    klaviyo.set(suppression_jobs="tell")
    with suppressions.known() as kind, KlaviyoHook().get_client() as client:
        body = kind.body([suppressions.suppression(f"p{n}@shop.io") for n in range(3)])
        yield start_job_of(client, kind, body).id


def test_the_trigger_waits_for_jobs_of_any_kind(klaviyo: Emulator, suppression_job: str) -> None:
    trigger = KlaviyoImportJobTrigger([suppression_job], "klaviyo_default", 0.3, kind=SUPPRESSIONS.name)
    _, arguments = trigger.serialize()

    async def first() -> Any:
        return await anext(KlaviyoImportJobTrigger(**json.loads(json.dumps(arguments))).run())

    payload = asyncio.run(first()).payload
    assert payload == {"is_settled": True, "open": [], "lost": {}, "total": 3, "failed": 0}
    assert klaviyo.requests("get_bulk_import_profiles_job") == []


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=["poke", "deferrable"])
def test_the_sensor_waits_for_jobs_of_any_kind(
    klaviyo: Emulator, wait: Wait, suppression_job: str, way: dict[str, Any]
) -> None:
    assert wait({"job_ids": suppression_job, **way}, SuppressionJobSensor).state == "success"
    assert suppressions.suppressed(klaviyo) == {"p0@shop.io", "p1@shop.io", "p2@shop.io"}


def test_a_kind_that_is_not_known_fails_the_sensor_at_once(klaviyo: Emulator) -> None:
    sensor = SuppressionJobSensor(task_id="wait", job_ids="j")
    with pytest.raises(Exception, match="not known to this release: upgrade") as caught:
        sensor.execute({})  # type: ignore[typeddict-item]
    assert type(caught.value).__name__ == "AirflowFailException"
    assert klaviyo.requests() == []
