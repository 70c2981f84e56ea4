"""Syncs of what a decorated function yields, in a real Airflow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task, timezone

from airflow_provider_klaviyo.emulator import Emulator, Fault

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.usefixtures("storage")]

PEOPLE: list[dict[str, object]] = [{"id": n, "email": f"p{n}@shop.io"} for n in range(1, 7)]
COMMON: dict[str, Any] = {"primary_key": "id", "poll_interval": 0.2, "timeout": 60, "deferrable": False}
MAPPING = {"external_id": "id", "email": "email"}
DAY = datetime(2026, 11, 20, tzinfo=UTC)

Tasks = dict[str, Any]
Run = Callable[..., Tasks]


@pytest.fixture
def run(run_in_airflow: Callable[..., Any], klaviyo: Emulator, request: pytest.FixtureRequest) -> Run:
    """Runs a Dag of decorated functions; its task instances by their ids, those of mapped tasks with their index."""
    dag_id = re.sub(r"\W", "_", request.node.name)  # Airflow 3.1 stumbles over several versions of a Dag

    def run(make: Callable[[], object], **test_arguments: Any) -> Tasks:
        with DAG(dag_id, start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
            make()
        found = run_in_airflow(dag, **test_arguments).get_task_instances()
        return {
            ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": ti
            for ti in found
        }

    return run


def summary_of(ti: Any) -> dict[str, Any]:
    return dict(ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index))


def counts(ti: Any, *names: str) -> tuple[object, ...]:
    summary = summary_of(ti)
    return tuple(summary[name] for name in names)


def test_every_sync_type_takes_the_rows_of_a_function(run: Run, klaviyo: Emulator) -> None:
    klaviyo.set(subscription_seconds=0.0)
    newsletter = klaviyo.add_list("Newsletter")

    @task.klaviyo_sync_profiles(mapping=MAPPING, **COMMON)
    def profiles() -> Iterator[dict[str, object]]:
        yield from PEOPLE

    @task.klaviyo_sync_events(metric="Visited", mapping={"profile.email": "email"}, **COMMON)
    def events() -> list[dict[str, object]]:
        return PEOPLE

    @task.klaviyo_sync_list(mode="mirror", list_name="Everybody", mapping=MAPPING, match_by="email", **COMMON)
    def everybody() -> Iterator[object]:
        pandas = pytest.importorskip("pandas")
        yield pandas.DataFrame(PEOPLE[:3])
        yield pandas.DataFrame(PEOPLE[3:])

    @task.klaviyo_sync_subscriptions(
        mode="subscribe", list_id=newsletter, mapping={"email": "email"}, **COMMON
    )
    def readers() -> Iterator[list[dict[str, object]]]:
        yield PEOPLE

    @task
    def told(summary: dict[str, Any]) -> int:
        return int(summary["accepted"])

    def make() -> None:
        told(profiles())
        events()
        everybody()
        readers()

    tasks = run(make)

    for name in ("profiles", "events", "everybody", "readers"):
        assert (tasks[name].state, *counts(tasks[name], "rows_read", "accepted")) == ("success", 6, 6), name
    assert tasks["told"].xcom_pull(task_ids="told") == 6
    assert len(klaviyo.events()) == 6
    assert len(klaviyo.members(newsletter)) == 6
    assert klaviyo.count() == 6


def test_a_function_gets_its_arguments_and_what_it_asks_of_the_context(run: Run) -> None:
    @task
    def numbers() -> list[int]:
        return [1, 2]

    @task.klaviyo_sync_profiles(**COMMON)
    def people(
        chosen: list[int], domain: str, *, data_interval_end: Any = None, ti: Any = None, more: int = 3
    ) -> Any:
        day = f"{data_interval_end:%Y-%m-%d}"
        return [{"id": n, "email": f"p{n}@{domain}", "day": day, "task": ti.task_id} for n in [*chosen, more]]

    @task.klaviyo_sync_profiles(**COMMON)
    def anything(*args: str, **context: Any) -> Any:
        return [{"id": context["logical_date"].day, "email": f"{args[0]}@shop.io"}]

    def make() -> None:
        people(numbers(), "{{ data_interval_end.day }}.io")
        anything("{{ ds }}")

    tasks = run(make, logical_date=timezone.datetime(2026, 11, 20))

    assert counts(tasks["people"], "rows_read", "accepted") == (3, 3)
    assert counts(tasks["anything"], "rows_read", "accepted") == (1, 1)


def test_only_what_is_given_by_its_place_is_left_out_of_what_is_given_by_name(run: Run) -> None:
    seen: dict[str, object] = {}

    @task.klaviyo_sync_profiles(**COMMON)
    def tables(*tables: str, ds: Any = None) -> Any:
        seen["tables"] = tables, ds
        return PEOPLE

    @task.klaviyo_sync_profiles(**COMMON)
    def since(*names: str, since: str, ds: Any = None) -> Any:
        seen["since"] = names, since, ds
        return PEOPLE

    @task.klaviyo_sync_profiles(**COMMON)
    def place(first: str, /, second: str, ds: Any = None, **more: Any) -> Any:
        seen["place"] = first, second, ds, more["first"], "second" in more
        return PEOPLE

    def make() -> None:
        tables("a", "b")
        since("a", "b", "c", since="{{ ds }}")
        place("a", "b", first="named")

    run(make, logical_date=timezone.datetime(2026, 11, 20))

    assert seen == {
        "tables": (("a", "b"), "2026-11-20"),
        "since": (("a", "b", "c"), "2026-11-20", "2026-11-20"),
        "place": ("a", "b", "2026-11-20", "named", False),
    }


def test_a_mapped_function_has_a_state_for_each_shard(
    run: Run,
    klaviyo: Emulator,
    storage: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    @task.klaviyo_sync_profiles(only_changes=True, state_key="half-{{ task.op_kwargs.shard }}", **COMMON)
    def halves(of: int, shard: int) -> Any:
        return [each for each in PEOPLE if each["id"] % of == shard]  # type: ignore[operator]

    @task.klaviyo_sync_profiles(only_changes=True, state_key="constant", retries=2, **COMMON)
    def constant(shard: int) -> Any:
        return PEOPLE

    def make() -> None:
        halves.partial(of=2).expand(shard=[0, 1])
        constant.expand(shard=[0, 1])

    first, again = run(make), run(make)

    for name in ("halves[0]", "halves[1]"):
        assert counts(first[name], "accepted") == (3,)
        assert counts(again[name], "unchanged") == (3,)
    assert sorted(each.name.rpartition("-")[0] for each in (storage / "sync-state").iterdir()) == [
        "half-0",
        "half-1",
    ]
    for name in ("constant[0]", "constant[1]"):
        assert (first[name].state, first[name].try_number) == ("failed", 1)
    assert "is the same for all instances of the mapped task constant" in capfd.readouterr().out + caplog.text


def test_a_failing_function_costs_no_row_before_it_and_a_retry_sends_the_rest(
    run: Run, klaviyo: Emulator, capfd: pytest.CaptureFixture[str]
) -> None:
    calls = []

    @task.klaviyo_sync_profiles(mapping=MAPPING, only_changes=True, retries=1, retry_delay=0, **COMMON)
    def people() -> Iterator[dict[str, object]]:
        calls.append(1)
        for each in PEOPLE:
            if each["id"] == 5 and len(calls) == 1:
                _no_answer()
            yield each

    ti = run(people)["people"]

    assert (ti.state, ti.try_number) == ("success", 2)
    assert counts(ti, "rows_read", "accepted", "accepted_earlier") == (6, 6, 4)
    assert klaviyo.count() == 6
    logged = capfd.readouterr().out.partition("Task failed with exception")[2]
    assert "in _no_answer" in logged
    assert "sync/engine.py" not in logged
    assert "KlaviyoError" not in logged


def _no_answer() -> None:
    msg = "no answer of the service"
    raise ConnectionError(msg)


def test_nobody_is_subscribed_by_a_function_that_ends_before_a_no_can_be_ruled_out(
    run: Run, klaviyo: Emulator
) -> None:
    pandas = pytest.importorskip("pandas")
    klaviyo.set(subscription_seconds=0.0)
    ada = {"id": 1, "email": "ada@shop.io"}
    no = {"id": 2, "email": "ada@shop.io", "consent.email": False}
    given: dict[str, tuple[object, ...]] = {
        "page": ([ada, no],),
        "frames": (pandas.DataFrame([ada]), pandas.DataFrame([no])),
        "mapped": (ada, no),
        "order_decides": ({**ada, "consent.email": True}, {**no, "consent.sms": False}),
        "breaks_off": (ada, ConnectionError()),
        "is_no_row": (ada, 7),
        "ends_well": tuple(PEOPLE),
        "has_its_columns_named": (ada, ConnectionError()),
    }
    more: dict[str, dict[str, object]] = {
        "mapped": {"mapping": {"email": "email"}},
        "order_decides": {"conflicts": "first"},
        "has_its_columns_named": {"columns": ["id", "email"]},
    }
    lists = {name: klaviyo.add_list(name) for name in given}

    def rows(pieces: tuple[object, ...]) -> Iterator[object]:
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def make() -> None:
        for name, pieces in given.items():
            terms = {"mode": "subscribe", "list_id": lists[name], "max_rejected": 1.0, **more.get(name, {})}
            task.klaviyo_sync_subscriptions(task_id=name, **terms, **COMMON)(rows)(pieces)

    tasks = run(make)

    ended = {name: (ti.state, *counts(ti, "rows_read", "accepted", "pending")) for name, ti in tasks.items()}
    assert ended.pop("ends_well") == ("success", 6, 6, 0)
    assert ended.pop("has_its_columns_named") == ("failed", 1, 1, 0)
    assert ended == dict.fromkeys(ended, ("failed", 1, 0, 1))
    assert len(ended) == 6
    assert {name: len(klaviyo.members(lists[name])) for name in ended} == dict.fromkeys(ended, 0)
    assert len(klaviyo.members(lists["ends_well"])) == 6


def test_what_is_no_row_fails_the_task_for_good(
    run: Run, klaviyo: Emulator, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    @task.klaviyo_sync_profiles(mapping=MAPPING, retries=3, **COMMON)
    def people() -> Iterator[object]:
        yield PEOPLE[0]
        yield 7

    @task.klaviyo_sync_list(mode="mirror", allow_empty=True, retries=3, **COMMON)
    def nobody() -> None:
        return None

    def make() -> None:
        people()
        nobody()

    tasks = run(make)

    assert [(ti.state, ti.try_number) for ti in tasks.values()] == [("failed", 1)] * 2
    said = capfd.readouterr().out + caplog.text
    assert "The function 'people' gave a value of type int as row 2" in said
    assert "The function 'nobody' returned None, not rows" in said
    assert counts(tasks["people"], "rows_read", "accepted") == (1, 1)
    report = json.loads(Path(summary_of(tasks["people"])["report_path"]).read_text())
    assert (report["status"], "gave a value of type int" in report["failure"]) == ("failed", True)


def test_a_function_without_rows_sends_nothing_and_empties_no_mirror(run: Run, klaviyo: Emulator) -> None:
    klaviyo.add_list("Newsletter")
    rows: list[dict[str, object]] = list(PEOPLE)

    @task.klaviyo_sync_list(mode="mirror", **COMMON)
    def mirror() -> Any:
        return rows

    @task.klaviyo_sync_list(mode="mirror", allow_empty=True, max_removals=None, mapping=MAPPING, **COMMON)
    def emptied() -> Any:
        yield from rows

    @task.klaviyo_sync_profiles(only_changes=True, **COMMON)
    def profiles() -> Any:
        return rows

    @task.klaviyo_sync_profiles(
        mapping={"external_id": "id", "properties.Tags": "tags::json"}, columns=["id", "tags"]
    )
    def mapped() -> Any:
        return rows

    @task.klaviyo_sync_events(metric="Visited", **COMMON)
    def events() -> Any:
        return rows

    @task.klaviyo_sync_subscriptions(
        mode="subscribe",
        channels=["email", "sms"],
        list_name="Newsletter",
        columns=["id", "email", "phone_number"],
        **COMMON,
    )
    def readers() -> Any:
        return rows

    def make() -> None:
        for each in (mirror, emptied, profiles, mapped, events, readers):
            each()

    run(make)
    rows.clear()
    tasks = run(make)

    assert {name: ti.state for name, ti in tasks.items() if ti.state != "success"} == {"mirror": "failed"}
    assert {counts(ti, "rows_read", "accepted") for ti in tasks.values()} == {(0, 0)}
    assert counts(tasks["mirror"], "removed") == (0,)
    assert counts(tasks["emptied"], "removed") == (6,)


@pytest.mark.parametrize("only_changes", [False, True])
def test_after_a_deferral_the_function_is_not_called_again(
    run: Run, klaviyo: Emulator, only_changes: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    klaviyo.set(job_seconds=0.3)
    klaviyo.inject(Fault("job_fails", match="p5@shop.io"))
    calls = []

    @task.klaviyo_sync_profiles(
        mapping=MAPPING,
        only_changes=only_changes,
        max_rejected=1,
        **{**COMMON, "deferrable": True, "defer_after": 0},
    )
    def people() -> Iterator[dict[str, object]]:
        calls.append(1)
        yield from PEOPLE

    ti = run(people)["people"]

    assert "left to the triggerer" in capfd.readouterr().out
    assert (ti.state, *counts(ti, "rows_read", "accepted", "rejected")) == ("success", 6, 5, 1)
    assert calls == [1]
