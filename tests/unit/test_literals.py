"""What a Dag file says of a task is checked when the file is read; what only the run knows is left to it."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, task

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator as Events
from airflow_provider_klaviyo.operators.lists import KlaviyoCreateListOperator as CreateList
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator as SyncList
from airflow_provider_klaviyo.operators.options import read_options
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator as Profiles
from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator as Subscriptions
from airflow_provider_klaviyo.sensors.jobs import KlaviyoImportJobSensor as JobSensor
from airflow_provider_klaviyo.sensors.lists import KlaviyoListSensor as ListSensor

SQL = {"sql": "SELECT 1", "sql_conn_id": "shop"}
GOOD: dict[type[BaseOperator], dict[str, Any]] = {
    Profiles: SQL,
    Events: {**SQL, "metric": "Placed Order", "primary_key": "id"},
    SyncList: {**SQL, "mode": "add"},
    Subscriptions: {**SQL, "mode": "subscribe", "list_name": "News"},
    CreateList: {"list_name": "News"},
    ListSensor: {"list_name": "News"},
    JobSensor: {"job_ids": ["j1"]},
}

WRONG = [
    *((kind, name, value) for kind in (Profiles, Events, SyncList, Subscriptions) for name, value in [
        ("sql", ""),
        ("sql", ["SELECT 1"]),
        ("parameters", "x"),
        ("mapping", "email"),
        ("mapping", {"email": None}),
        ("mapping", {"e-mail": "email"}),
        ("match_by", "name"),
        ("primary_key", 7),
        ("preview", "perhaps"),
        ("timezone", "Nowhere/Land"),
        ("on_invalid", "ignore"),
        ("max_rejected", -1),
        ("max_rejected", 1.5),
        ("timeout", 0),
        ("poll_interval", -1),
        ("lock_timeout", -1),
        ("defer_after", "{{ 15 }}"),
    ]),
    (Profiles, "clear_nulls", [7]),
    (Events, "metric", "x" * 200),
    (Events, "metric", ""),
    (Events, "flow_window", -1),
    (SyncList, "mode", "ad"),
    (SyncList, "list_name", ""),
    (SyncList, "opt_in_process", "single"),
    (SyncList, "max_removals", -0.2),
    (Subscriptions, "mode", "add"),
    (Subscriptions, "channels", ["e-mail"]),
    (Subscriptions, "channels", []),
    (Subscriptions, "resubscribe", "newer"),
    (Subscriptions, "conflicts", "last"),
    (Subscriptions, "ask_again_after", -1),
    (CreateList, "list_name", " "),
    (CreateList, "if_exists", "replace"),
    (CreateList, "timeout", 0),
    (ListSensor, "min_profiles", -1),
    (JobSensor, "max_failed", "many"),
]  # fmt: skip


def told(error: BaseException) -> tuple[type[BaseException], str]:
    return type(error), str(error)


@pytest.mark.parametrize(("kind", "name", "value"), WRONG)
def test_a_wrong_literal_is_told_by_name_when_the_file_is_read(kind: Any, name: str, value: Any) -> None:
    arguments = GOOD[kind] | {name: value}
    if (kind, name, value) == (
        Events,
        "metric",
        "",
    ):  # a column could name it, where the mapping does not say
        arguments["mapping"] = {"email": "email"}
    with pytest.raises(KlaviyoConfigurationError, match=name.split("_id")[0]) as whole:
        kind(task_id="t", **arguments)
    with pytest.raises(KlaviyoConfigurationError) as part:
        kind.partial(task_id="t", **arguments)
    assert told(whole.value) == told(part.value)


TOGETHER = [
    (Profiles, {"only_changes": True}, "needs primary_key"),
    (Profiles, {"mapping": {"email": "e"}, "match_by": "external_id"}, "nothing is mapped to external_id"),
    (Profiles, {"mapping": {"first_name": "n"}}, "Nothing identifies a person"),
    (Profiles, {"mapping": {"email": "e"}, "clear_nulls": ["title"]}, "clear_nulls names title"),
    (Profiles, {"mapping": {"email": "e", "properties.$x": "x"}}, "reserved by Klaviyo"),
    (Events, {"mapping": {"email": "e", "metric": "m"}}, "keep one of them"),
    (Events, {"mapping": {"email": "e"}, "primary_key": None}, "Events need an id"),
    (Events, {"mapping": {"email": "e", "profile.email": "e"}}, "keep one of them"),
    (SyncList, {"list_name": "News", "list_id": "L1"}, "list_name and list_id are both given"),
    (SyncList, {"mode": "mirror"}, "needs primary_key"),
    (SyncList, {"mode": "mirror", "primary_key": "id", "wait_for_completion": False}, "wait_for_completion"),
    (SyncList, {"strict": True}, "strict=True belongs to mode='mirror'"),
    (SyncList, {"max_removals": 5}, "max_removals=5 belongs to mode='mirror', not to mode='add'"),
    (SyncList, {"mode": "remove", "max_removals": None}, "max_removals=None belongs to mode='mirror'"),
    (SyncList, {"allow_empty": True}, "allow_empty=True belongs to mode='mirror'"),
    (SyncList, {"mapping": {"email": "e", "first_name": "n"}}, "A list holds people"),
    (Subscriptions, {"list_name": "News", "list_id": "L1"}, "list_name and list_id are both given"),
    (Subscriptions, {"globally": True}, "globally=True is for syncs without a list"),
    (
        Subscriptions,
        {"mode": "unsubscribe", "custom_source": "x"},
        "custom_source: for mode='subscribe' only",
    ),
    (Subscriptions, {"mapping": {"email": "e"}, "channels": ["sms"]}, "nothing is mapped to phone_number"),
    (Subscriptions, {"mapping": {"email": "e", "title": "t"}}, "This sync changes consent only"),
    (ListSensor, {"list_id": "L1"}, "Give list_name or list_id"),
]


@pytest.mark.parametrize(("kind", "more", "words"), TOGETHER)
def test_what_does_not_go_together_is_told_too(kind: Any, more: dict[str, Any], words: str) -> None:
    with pytest.raises(KlaviyoConfigurationError, match=words):
        kind(task_id="t", **GOOD[kind] | more)
    with pytest.raises(KlaviyoConfigurationError, match=words):
        kind.partial(task_id="t", **{"primary_key": None, "match_by": None} | GOOD[kind] | more)


def test_the_run_says_the_same() -> None:
    operator = SyncList(task_id="t", **GOOD[SyncList])
    for name, value in {"mode": "ad", "list_id": "L1", "max_rejected": 7.5}.items():
        with pytest.raises(KlaviyoConfigurationError) as early:
            SyncList(task_id="t", **GOOD[SyncList] | {"list_name": "News", name: value})
        late = SyncList(task_id="t", **GOOD[SyncList] | {"list_name": "News"})
        setattr(late, name, value)
        with pytest.raises(KlaviyoConfigurationError) as run:
            read_options(late)
        assert told(run.value) == told(early.value)
    assert read_options(operator).max_rejected == 0.01


LEFT = [
    (Profiles, {"match_by": "{{ params.by }}", "mapping": {"email": "{{ params.column }}"}}),
    (Profiles, {"mapping": "{{ params.mapping }}", "match_by": "phone_number"}),
    (Profiles, {"sql": "people.sql", "primary_key": ["{{ params.key }}"], "only_changes": True}),
    (Profiles, {"preview": "{% if params.dry %}true{% endif %}", "timezone": "{{ params.zone }}"}),
    (Events, {"metric": "{{ params.metric }}", "mapping": {"email": "e"}}),
    (SyncList, {"mode": "{{ params.mode }}", "strict": True}),
    (SyncList, {"list_name": "{{ params.list }}"}),
    (Subscriptions, {"mode": "{{ params.mode }}", "custom_source": "form"}),
    (Subscriptions, {"channels": ["email", "{{ params.channel }}"], "mapping": {"email": "e"}}),
    (Subscriptions, {"list_name": None, "list_id": "{{ params.list }}"}),
    (JobSensor, {"job_ids": "{{ ti.xcom_pull('sync')['job_ids'] }}"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "more"), LEFT)
def test_what_a_template_will_say_is_left_to_the_run(kind: Any, more: dict[str, Any]) -> None:
    kind(task_id="t", **GOOD[kind] | more)


def test_what_another_task_or_a_parameter_of_the_dag_will_say_is_left_to_the_run() -> None:
    @task
    def tell() -> str:
        return "email"

    with DAG("d", params={"mode": "add"}) as dag:
        told_by_task = tell()
        Profiles(task_id="a", **SQL, match_by=told_by_task, mapping={"email": told_by_task})
        SyncList(task_id="b", **SQL | {"mode": dag.param("mode")}, list_name=told_by_task)
        JobSensor(task_id="c", job_ids=told_by_task, max_failed=told_by_task)


def test_what_is_expanded_may_complete_what_is_partial() -> None:
    with DAG("d"):
        SyncList.partial(task_id="a", **SQL, mode="mirror").expand(primary_key=["id", "email"])
        Subscriptions.partial(task_id="b", **SQL, mode="subscribe").expand(list_name=["News", "Offers"])
        ListSensor.partial(task_id="c").expand(list_name=["News", "Offers"])


def test_a_constant_state_key_is_refused_where_the_task_is_mapped() -> None:
    arguments = SQL | {"only_changes": True, "primary_key": "id"}
    with pytest.raises(KlaviyoConfigurationError, match="state_key='vip' is the same for all instances"):
        Profiles.partial(task_id="t", **arguments, state_key="vip")
    with DAG("d"):
        shard = "vip-{{ task.parameters.shard }}"
        Profiles.partial(task_id="t", **arguments, state_key=shard).expand(parameters=[{"shard": 1}])
