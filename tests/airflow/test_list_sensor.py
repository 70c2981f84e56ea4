"""Waiting for a list, on a worker and in the triggerer; creating one, and the link to it."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.operators.lists import KlaviyoCreateListOperator
from airflow_provider_klaviyo.sensors.jobs import KlaviyoImportJobSensor
from airflow_provider_klaviyo.sensors.lists import KlaviyoListSensor
from airflow_provider_klaviyo.triggers.jobs import KlaviyoImportJobTrigger
from airflow_provider_klaviyo.triggers.lists import KlaviyoListTrigger
from tests.clocks import JUMPS, JumpingClock
from tests.late import LATE

pytestmark = pytest.mark.airflow


Wait = Callable[..., Any]


@pytest.fixture
def wait(run_in_airflow: Callable[[Any], Any]) -> Wait:
    """Runs a Dag of one sensor; its task instance."""

    def run(**sensor_arguments: Any) -> Any:
        from airflow.sdk import DAG

        with DAG("waiting_for_a_list", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
            KlaviyoListSensor(task_id="wait", **sensor_arguments)
        (ti,) = run_in_airflow(dag).get_task_instances()
        return ti

    return run


WAYS = pytest.mark.parametrize(
    "way",
    [
        {"deferrable": False, "mode": "poke"},
        {"deferrable": False, "mode": "reschedule"},
        {"deferrable": True},
    ],
    ids=["poke", "reschedule", "deferrable"],
)


def later(seconds: float, work: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()


@pytest.mark.slow
@WAYS
def test_the_sensor_waits_until_the_list_is_there_and_returns_its_id(
    klaviyo: Emulator, wait: Wait, way: dict[str, Any]
) -> None:
    later(2, lambda: klaviyo.add_list("VIPs"))
    ti = wait(list_name="VIPs", poke_interval=1, **way)
    assert ti.state == "success"
    (known,) = [each.id for each in klaviyo._account.lists]
    assert ti.xcom_pull(task_ids="wait") == known


@pytest.mark.slow
@pytest.mark.parametrize("deferrable", [False, True])
def test_the_list_must_hold_so_many_profiles(klaviyo: Emulator, wait: Wait, deferrable: bool) -> None:
    ids = klaviyo.add_profiles([{"email": f"p{n}@shop.io"} for n in range(3)])
    known = klaviyo.add_list("VIPs", ids)
    more = {"list_id": known, "poke_interval": 1, "deferrable": deferrable}
    assert wait(min_profiles=3, **more).state == "success"
    assert wait(min_profiles=4, timeout=2, **more).state == "failed"


@pytest.mark.parametrize("way", ["poke", "deferrable"])
def test_a_list_that_never_appears_is_named_when_the_time_is_up(
    klaviyo: Emulator, way: str, airflow_database: None
) -> None:
    sensor = KlaviyoListSensor(task_id="wait", list_name="VIPs", poke_interval=0.2, timeout=0.5)
    nothing = {"is_settled": False, "list_id": None, "profiles": None}
    ways = {"poke": lambda: sensor.execute({}), "deferrable": lambda: sensor.execute_complete({}, nothing)}  # type: ignore[typeddict-item]
    with pytest.raises(Exception, match="The list 'VIPs' did not appear in time") as caught:
        ways[way]()
    assert type(caught.value).__name__ == "AirflowSensorTimeout"


def test_two_lists_of_the_name_fail_the_sensor_at_once(klaviyo: Emulator) -> None:
    ids = [klaviyo.add_list("VIPs"), klaviyo.add_list("VIPs")]
    sensor = KlaviyoListSensor(task_id="wait", list_name="VIPs", poke_interval=60)
    with pytest.raises(Exception, match="2 lists named 'VIPs'") as caught:
        sensor.execute({})  # type: ignore[typeddict-item]
    assert type(caught.value).__name__ == "AirflowFailException"
    assert all(each in str(caught.value) for each in ids)


def test_what_a_template_makes_of_numbers_and_flags_is_read_as_it_was_meant(klaviyo: Emulator) -> None:
    known = klaviyo.add_list("VIPs", klaviyo.add_profiles([{"email": "ada@shop.io"}]))
    sensor = KlaviyoListSensor(
        task_id="wait",
        list_name="VIPs",
        min_profiles="1",  # type: ignore[arg-type]
        deferrable="false",  # type: ignore[arg-type]
    )
    assert sensor.execute({}) == known  # type: ignore[typeddict-item]


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"min_profiles": "many"}, "min_profiles must be a whole number"),
        ({"min_profiles": -1}, "min_profiles must be a whole number"),
        ({"min_profiles": True}, "min_profiles must be a whole number"),
        ({"list_id": "x"}, "Give list_name or list_id"),
        ({"list_name": 5}, "list_name must be a text"),
        ({"list_name": "  "}, "Give list_name or list_id"),
    ],
)
def test_wrong_settings_fail_the_sensor_at_once(
    klaviyo: Emulator, wrong: dict[str, Any], named: str, deferrable: bool
) -> None:
    settings: dict[str, Any] = {"list_name": "VIPs", "deferrable": deferrable} | wrong
    with pytest.raises(Exception, match=named) as caught:
        KlaviyoListSensor(task_id="wait", poke_interval=60, **settings, **LATE).execute({})  # type: ignore[typeddict-item]
    assert type(caught.value).__name__ == "AirflowFailException"


def test_a_name_with_a_blank_before_it_is_that_of_another_list(klaviyo: Emulator) -> None:
    klaviyo.add_list("lead")
    known = klaviyo.add_list(" lead")
    assert KlaviyoListSensor(task_id="wait", list_name=" lead").execute({}) == known  # type: ignore[typeddict-item]


def trigger(klaviyo: Emulator, seconds: float = 30.0) -> KlaviyoListTrigger:
    return KlaviyoListTrigger("VIPs", None, None, "klaviyo_default", 0.1, time.time() + seconds)


def test_the_trigger_survives_being_made_again_and_keeps_its_end(klaviyo: Emulator) -> None:
    path, arguments = trigger(klaviyo, 0.4).serialize()
    assert path == "airflow_provider_klaviyo.triggers.lists.KlaviyoListTrigger"
    time.sleep(0.5)
    again = KlaviyoListTrigger(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)
    (event,) = asyncio.run(events(again))
    assert event.payload["is_settled"] is False


@pytest.mark.parametrize("endless", [math.inf, math.nan, 1e300])
def test_a_wait_without_an_end_is_refused_by_name(endless: float) -> None:
    for name in ("poke_interval", "timeout"):
        with pytest.raises(KlaviyoConfigurationError, match=name):
            KlaviyoListSensor(task_id="wait", list_name="VIPs", **{name: endless})
        with pytest.raises(KlaviyoConfigurationError, match=name):
            KlaviyoImportJobSensor(task_id="wait", job_ids="j", **{name: endless})
    with pytest.raises(KlaviyoConfigurationError, match="poll_interval"):
        KlaviyoListTrigger("VIPs", None, None, "klaviyo_default", endless, time.time())
    with pytest.raises(KlaviyoConfigurationError, match="until"):
        KlaviyoListTrigger("VIPs", None, None, "klaviyo_default", 1.0, endless)
    with pytest.raises(KlaviyoConfigurationError, match="poll_interval"):
        KlaviyoImportJobTrigger(["j"], "klaviyo_default", endless)
    with pytest.raises(KlaviyoConfigurationError, match="timeout"):
        KlaviyoImportJobTrigger(["j"], "klaviyo_default", 1.0, timeout=endless)


@pytest.mark.parametrize("jump", JUMPS)
def test_the_trigger_ends_as_late_when_somebody_sets_the_clock(
    klaviyo: Emulator, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    clock = JumpingClock(jump)
    monkeypatch.setattr(KlaviyoListTrigger, "clock", clock)
    made = KlaviyoListTrigger("VIPs", None, None, "klaviyo_default", 0.1, clock.now() + 30)
    clock.sleep(10.0)
    assert made.seconds_left() == pytest.approx(20)


async def events(made: KlaviyoListTrigger) -> list[Any]:
    return [event async for event in made.run()]


def test_the_trigger_never_blocks_the_event_loop(klaviyo: Emulator) -> None:
    known = klaviyo.add_list("VIPs")
    klaviyo.inject(Fault("slow", seconds=1.5))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.02)
            ticks += 1

    async def both() -> list[Any]:
        ticking = asyncio.create_task(tick())
        seen = await events(trigger(klaviyo))
        ticking.cancel()
        return seen

    (event,) = asyncio.run(both())
    assert event.payload == {"is_settled": True, "list_id": known, "profiles": None}
    assert ticks > 30


def test_an_outage_is_waited_for_and_a_wrong_key_is_told(klaviyo: Emulator) -> None:
    known = klaviyo.add_list("VIPs")
    klaviyo.inject(Fault("status", "get_lists", status=503, count=2))
    (event,) = asyncio.run(events(trigger(klaviyo)))
    assert event.payload["list_id"] == known
    klaviyo.set(keys={"pk_other": ()})
    (event,) = asyncio.run(events(trigger(klaviyo)))
    with pytest.raises(Exception, match="does not accept the private API key"):
        KlaviyoListSensor(task_id="wait", list_name="VIPs").execute_complete({}, event.payload)  # type: ignore[typeddict-item]


@pytest.mark.slow
def test_a_list_is_created_once_and_its_id_goes_on(
    klaviyo: Emulator, run_in_airflow: Callable[[Any], Any]
) -> None:
    from airflow.sdk import DAG

    with DAG("creating", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
        first = KlaviyoCreateListOperator(task_id="first", list_name="VIPs", opt_in_process="single_opt_in")
        second = KlaviyoCreateListOperator(task_id="second", list_name="VIPs")
        fails = KlaviyoCreateListOperator(task_id="fails", list_name="VIPs", if_exists="fail")
        first >> second >> fails
    tis = {ti.task_id: ti for ti in run_in_airflow(dag).get_task_instances()}
    known = tis["first"].xcom_pull(task_ids="first")
    assert known == tis["second"].xcom_pull(task_ids="second")
    assert tis["fails"].state == "failed"
    (created,) = klaviyo._account.lists
    assert (created.id, created.opt_in_process) == (known, "single_opt_in")
    assert tis["first"].xcom_pull(task_ids="first", key="klaviyo_list_link").endswith(f"/{known}/members")
