"""An operator's parameters, as people and templates write them."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.operators.options import read_options
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator
from airflow_provider_klaviyo.parameters import flag_or_names, names, people_or_share
from airflow_provider_klaviyo.sync.options import SyncOptions


def operator(**parameters: Any) -> KlaviyoSyncProfilesOperator:
    return KlaviyoSyncProfilesOperator(
        **{"task_id": "t", "sql": "SELECT 1", "sql_conn_id": "shop"} | parameters
    )


def options(**parameters: Any) -> SyncOptions:
    return read_options(operator(**parameters))


def test_a_program_has_the_defaults_of_the_operators() -> None:
    assert options(deferrable=False) == SyncOptions()


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("mapping", "{'email': 'mail'}", {"email": "mail"}),
        ("mapping", "None", None),
        ("primary_key", "['a', 'b']", ("a", "b")),
        ("primary_key", "a", ("a",)),
        ("primary_key", "", ()),
        ("match_by", "None", None),
        ("phone_region", " US ", "US"),
    ],
)
def test_what_a_template_renders_to_text_is_read_as_it_was_meant(
    name: str, written: object, meant: object
) -> None:
    assert getattr(options(**{name: written}), name) == meant


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("parameters", "None", None),
        ("parameters", "[1, 'x']", [1, "x"]),
        ("parameters", {"a": 1}, {"a": 1}),
        ("sql_hook_params", "None", None),
        ("sql_hook_params", "{'schema': 'shop'}", {"schema": "shop"}),
    ],
)
def test_so_is_what_says_which_rows_are_read(name: str, written: object, meant: object) -> None:
    assert operator(**{name: written}).read(name) == meant


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("preview", ""),
        ("preview", "None"),
        ("preview", None),
        ("preview", "perhaps"),
        ("mapping", "email"),
        ("mapping", {"email": None}),
        ("mapping", {"email": ["a"]}),
        ("mapping", ["email"]),
        ("primary_key", 7),
        ("primary_key", ["a", 7]),
        ("match_by", 7),
        ("parameters", "x"),
        ("sql_hook_params", ["a"]),
        ("timezone", "Nowhere/Land"),
        ("max_rejected", -1),
        ("max_rejected", True),
        ("max_rejected", "0.5"),
        ("timeout", 0),
        *((name, endless) for name in ("timeout", "poll_interval") for endless in (inf, nan, 1e300)),
        ("poll_interval", "10"),
        ("sql", None),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(name: str, written: object) -> None:
    with pytest.raises(KlaviyoConfigurationError, match=name):
        options(**{name: written})


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("America/New York", "America/New_York"),
        ("America/London", "Europe/London"),
    ],
)
def test_a_time_zone_that_is_nearly_right_gets_a_hint(written: str, near: str) -> None:
    with pytest.raises(KlaviyoConfigurationError, match=f"did you mean '{near}'"):
        options(timezone=written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (True, True),
        ("True", True),
        ("no", False),
        (None, False),
        (1, True),
        ("['title']", ("title",)),
        (["title"], ("title",)),
        ("title", ("title",)),
    ],
)
def test_fields_to_clear_are_a_flag_or_names(written: object, meant: object) -> None:
    assert flag_or_names("clear_nulls", written) == meant


def test_no_job_ids_are_none() -> None:
    assert names("job_ids", "") == names("job_ids", "[]") == names("job_ids", None) == ()


@pytest.mark.parametrize(
    ("max_rejected", "allowed"), [(0, 0), (5, 5), (0.01, 10), (0.0, 0), (1.0, 1_000), (1, 1)]
)
def test_a_float_is_a_share_and_an_int_a_number(max_rejected: float, allowed: int) -> None:
    assert options(max_rejected=max_rejected).max_rejected_rows(1_000) == allowed


def test_a_source_of_consent_that_a_template_rendered_to_nothing_is_told() -> None:
    operator = KlaviyoSyncSubscriptionsOperator(
        task_id="t", sql="SELECT 1", sql_conn_id="shop", mode="subscribe", globally=True
    )
    operator.custom_source = " "
    with pytest.raises(KlaviyoConfigurationError, match="custom_source was given, and is ' '"):
        read_options(operator)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("", "sql is empty"),
        (None, "sql is empty"),
        ("\ufeff \n", "sql is empty"),
        (["SELECT 1"], "text of one query or the name of a .sql file, not a list"),
        (("a.sql", "b.sql"), "not a tuple: each query needs a task of its own"),
        ("people.sql", "'people.sql' ends in .sql, so it is taken for the name of a file"),
        ("\ufeffpeople.sql ", "'people.sql' ends in .sql"),
    ],
)
def test_what_is_no_query_is_told_for_what_it_is(sql: Any, told: str) -> None:
    with pytest.raises(KlaviyoConfigurationError, match=told):
        options(sql=sql)


def test_a_query_may_end_in_sql() -> None:
    assert operator(sql="SELECT * FROM shop.sql").read("sql") == "SELECT * FROM shop.sql"


@pytest.mark.parametrize(
    ("written", "meant"), [("12", 12), (" 0 ", 0), ("0.2", 0.2), (".5", 0.5), ("1.0", 1.0), (None, None)]
)
def test_a_limit_of_people_may_be_rendered(written: str | None, meant: float | None) -> None:
    read = people_or_share("max_removals", written)
    assert (read, type(read)) == (meant, type(meant))


@pytest.mark.parametrize("written", ["None", "", "-3", "1.5", "nan", "all", "1e3", True])
def test_what_is_no_limit_of_people_is_refused(written: object) -> None:
    with pytest.raises(KlaviyoConfigurationError, match="max_removals must be"):
        people_or_share("max_removals", written)
