"""A worker killed (SIGKILL) at any step of changing consent: nobody is asked twice, nor unsubscribed by accident."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
from tests.integration.conftest import TaskInstance
from tests.integration.dying import STRIDE, Worker
from tests.integration.subscriptions.conftest import (
    BOTH,
    SQL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Judge,
    KlaviyosClock,
    PatientOperator,
    People,
    email_of,
    phone_of,
    profiles_of,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

COUNT, BATCH = 5, 3
DAY = 86_400.0


def sync_once(try_number: int, run_id: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """What a worker does, in batches small enough that there are several."""
    from airflow_provider_klaviyo.sync.batching import BatchLimits
    from airflow_provider_klaviyo.sync.subscriptions import sync_type

    assert sync_type.BatchLimits is BatchLimits, "limits are made elsewhere"
    sync_type.BatchLimits = lambda _, size: BatchLimits(BATCH, size)  # type: ignore[assignment, misc]
    operator = PatientOperator(
        task_id="consent",
        sql=SQL,
        sql_conn_id="shop",
        poll_interval=0.2,
        timeout=60,
        **({"mapping": {"email": "email"}} | parameters),
    )
    operator.patience = 1.0
    ti = TaskInstance("consent", try_number=try_number, run_id=run_id)
    try:
        return operator.execute({"ti": ti})  # type: ignore[arg-type, typeddict-item, no-any-return]
    except KlaviyoRetryableError:  # a task that ends with rows in doubt
        return ti.pushed["return_value"]  # type: ignore[no-any-return]


def remove_once(parameters: dict[str, Any]) -> dict[str, Any]:
    """Take the same people off the list, in a task of its own."""
    from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator

    operator = KlaviyoSyncListOperator(
        task_id="remove", mode="remove", sql=SQL, sql_conn_id="shop", mapping={"email": "email"}, **parameters
    )
    ti = TaskInstance("remove")
    try:
        return operator.execute({"ti": ti})  # type: ignore[arg-type, typeddict-item, no-any-return]
    except KlaviyoRetryableError:
        return ti.pushed["return_value"]  # type: ignore[no-any-return]


class World:
    """A shop and an account as they were, a state of their own, and a worker that may die."""

    def __init__(self, judge: Judge, folder: Path, step: int) -> None:
        self.judge, self.klaviyo, self.step = judge, judge.klaviyo, step
        self.was_killed = False
        folder.mkdir()
        storage = {"AIRFLOW__KLAVIYO__STORAGE_PATH": str(folder / "storage")}
        self.worker = Worker(sync_once, folder, **storage)
        self.remover = Worker(remove_once, folder, **storage)
        self.klaviyo.reset()
        self.ask_for_account()

    def ask_for_account(self) -> None:
        """Have the account known: a place in its scarce window is kept a minute for a worker that died asking."""
        hook = KlaviyoHook()
        with hook.get_client() as client:
            hook.account_id(client)

    def run(self, step: int = 0, try_number: int = 1, run_id: str = "today", **parameters: Any) -> bool:
        return self.worker.run(step, try_number=try_number, run_id=run_id, parameters=parameters)

    def run_until_killed(self, **parameters: Any) -> None:
        """A run whose worker is killed at the world's step, if it takes so many."""
        self.was_killed = self.run(self.step, **parameters)

    def times_sent(self, operation: str) -> dict[str, int]:
        sent: dict[str, int] = {}
        for request in self.klaviyo.requests(operation):
            for record in json.loads(request.body or b"{}")["data"]["attributes"]["profiles"]["data"]:
                email = record["attributes"]["email"]
                sent[email] = sent.get(email, 0) + 1
        return sent


def worlds(judge: Judge, folder: Path, *, more_steps_than: int) -> Iterator[World]:
    """A world for each step at which a worker is killed, and the one whose worker comes to its end."""
    step, was_killed = 0, True
    while was_killed:
        step += STRIDE
        world = World(judge, folder / str(step), step)
        yield world
        was_killed = world.was_killed
    assert step > more_steps_than


@pytest.mark.parametrize("process", ["double_opt_in", "single_opt_in"])
def test_subscribing_killed_at_every_step(judge: Judge, people: People, tmp_path: Path, process: Any) -> None:
    people.fill(COUNT)
    for world in worlds(judge, tmp_path, more_steps_than=12):
        klaviyo = world.klaviyo
        list_id = klaviyo.add_list("L", opt_in_process=process)
        (gone,) = klaviyo.add_profiles([{"email": email_of(2)}])
        klaviyo.set_consent(gone, "email", "UNSUBSCRIBED")
        parameters = {"mode": "subscribe", "list_id": list_id}

        world.run_until_killed(**parameters)
        assert not world.run(try_number=2, **parameters)
        assert "pending" not in world.worker.counts()
        assert not world.run(run_id="tomorrow", **parameters)

        judge.check()
        asked = len(klaviyo.confirmations())
        members = len(klaviyo.members(list_id))
        if process == "double_opt_in":
            # A batch whose request may have left when the worker died counts as asked.
            assert asked >= COUNT - 1 - 2 * BATCH
            assert world.worker.counts()["skipped"] == COUNT
            assert max(world.times_sent(SUBSCRIBE).values(), default=1) == 1
        else:
            assert members == COUNT - 1, f"killed at step {world.step}"
            assert world.worker.counts()["unchanged"] == COUNT - 1


def test_unsubscribing_killed_at_every_step(judge: Judge, people: People, tmp_path: Path) -> None:
    people.fill(COUNT + 1)
    for world in worlds(judge, tmp_path, more_steps_than=20):
        klaviyo: Emulator = world.klaviyo
        klaviyo.set(subscription_seconds=0.3)
        ids = klaviyo.add_profiles([{"email": email_of(n)} for n in range(1, COUNT + 2)])
        for each in ids:
            klaviyo.set_consent(each, "email", "SUBSCRIBED")
        list_id = klaviyo.add_list("L", ids[:COUNT])
        parameters = {"mode": "unsubscribe", "list_id": list_id}

        world.run_until_killed(**parameters)
        assert not world.run(try_number=2, **parameters)
        after = world.worker.counts()
        assert not world.run(run_id="tomorrow", **parameters)

        judge.check()
        assert max(world.times_sent(UNSUBSCRIBE).values()) == 1, f"killed at step {world.step}"
        sent = len(world.times_sent(UNSUBSCRIBE))
        assert len(klaviyo.members(list_id)) == COUNT - sent
        assert after.get("pending", 0) == COUNT - sent, (
            f"killed at step {world.step}: who was never sent is not forgotten"
        )
        assert klaviyo.consent(email=email_of(COUNT + 1))["email"] == "SUBSCRIBED"  # type: ignore[index]


def test_who_comes_back_after_a_worker_was_killed_is_left_alone(
    judge: Judge, people: People, clock: KlaviyosClock, tmp_path: Path
) -> None:
    """As after a run that nothing befell, also when the next try comes days later."""
    people.fill(COUNT)
    for world in worlds(judge, tmp_path, more_steps_than=20):
        klaviyo: Emulator = world.klaviyo
        klaviyo.set(subscription_seconds=0.3)
        ids = klaviyo.add_profiles([{"email": email_of(n)} for n in range(1, COUNT + 1)])
        list_id = klaviyo.add_list("L", ids)
        nightly = {"mode": "unsubscribe", "list_id": list_id, "primary_key": "id", "only_changes": True}

        world.run_until_killed(**nightly)
        clock.advance(2 * DAY)
        assert not world.run(try_number=2, **nightly)
        after = world.worker.counts()
        assert after.get("accepted", 0) + after.get("unchanged", 0) == COUNT, f"killed at step {world.step}"

        members = {"data": [{"type": "profile", "id": each} for each in ids]}
        KlaviyoHook().request("POST", f"/api/lists/{list_id}/relationships/profiles", json=members)
        assert not world.run(run_id="tomorrow", **nightly)
        assert world.worker.counts() == {"rows_read": COUNT, "unchanged": COUNT}
        assert len(klaviyo.members(list_id)) == COUNT
        judge.check()


def test_unsubscribing_people_of_several_rows_killed_at_every_step(
    judge: Judge, people: People, tmp_path: Path
) -> None:
    """One row asks for e-mail, another for SMS: both or neither, and no member is sent twice."""
    for number in range(1, COUNT + 1):
        person = {"email": email_of(number), "phone": phone_of(number)}
        people.add({"id": number, **person, "email_ok": True, "sms_ok": False})
        people.add({"id": number + COUNT, **person, "email_ok": False, "sms_ok": True})
    for world in worlds(judge, tmp_path, more_steps_than=20):
        klaviyo: Emulator = world.klaviyo
        klaviyo.set(subscription_seconds=0.3)
        numbers = range(1, COUNT + 1)
        ids = klaviyo.add_profiles([{"email": email_of(n), "phone_number": phone_of(n)} for n in numbers])
        list_id = klaviyo.add_list("L", ids)
        parameters = {
            "mode": "unsubscribe",
            "list_id": list_id,
            "channels": ["email", "sms"],
            "mapping": BOTH | {"consent.email": "email_ok", "consent.sms": "sms_ok"},
        }

        world.run_until_killed(**parameters)
        assert not world.run(try_number=2, **parameters)
        after = world.worker.counts()

        judge.check()
        sent = profiles_of(klaviyo, UNSUBSCRIBE)
        assert all(set(person["attributes"]["subscriptions"]) == {"email", "sms"} for person in sent)
        assert max(world.times_sent(UNSUBSCRIBE).values()) == 1, f"killed at step {world.step}"
        assert len(klaviyo.members(list_id)) == COUNT - len(sent)
        assert after.get("pending", 0) == 2 * (COUNT - len(sent)), f"killed at step {world.step}"


def test_unsubscribing_killed_at_every_step_and_then_these_people_are_taken_off_the_list(
    judge: Judge, people: People, clock: KlaviyosClock, tmp_path: Path
) -> None:
    people.fill(COUNT)
    for world in worlds(judge, tmp_path, more_steps_than=20):
        klaviyo: Emulator = world.klaviyo
        klaviyo.set(subscription_seconds=60.0)
        ids = klaviyo.add_profiles([{"email": email_of(n)} for n in range(1, COUNT + 1)])
        for each in ids:
            klaviyo.set_consent(each, "email", "SUBSCRIBED")
        list_id = klaviyo.add_list("L", ids)

        world.run_until_killed(mode="unsubscribe", list_id=list_id)
        assert not world.remover.run(parameters={"list_id": list_id})

        sent = len(world.times_sent(UNSUBSCRIBE))
        left = len(klaviyo.members(list_id))
        assert sent <= left <= sent + 2 * BATCH, (
            f"killed at step {world.step}: at most the batches in hand are left"
        )
        assert world.remover.counts().get("pending", 0) == left
        clock.advance(60)
        assert len(klaviyo.members(list_id)) == left - sent
        judge.check()
        assert not world.remover.run(parameters={"list_id": list_id})
        clock.advance(60)
        judge.check()
