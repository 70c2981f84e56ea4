"""What Airflow sees of the provider."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

import airflow_provider_klaviyo
from airflow_provider_klaviyo.get_provider_info import get_provider_info

SCHEMA = Path(airflow.__file__).parent / "provider_info.schema.json"


def named_in(info: Any) -> set[str]:
    """Every module and class that the provider's information names."""
    if isinstance(info, dict):
        return set().union(*(named_in(value) for value in info.values()), set())
    if isinstance(info, list):
        return set().union(*(named_in(value) for value in info), set())
    return (
        {info} if isinstance(info, str) and re.fullmatch(r"airflow_provider_klaviyo(\.\w+)+", info) else set()
    )


def test_the_information_fits_airflows_schema() -> None:
    jsonschema.validate(get_provider_info(), json.loads(SCHEMA.read_text()))


def test_every_module_and_class_that_is_named_exists() -> None:
    names = named_in(get_provider_info())
    assert len(names) >= 5
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), name


def test_every_operator_sensor_hook_and_trigger_is_named() -> None:
    package = Path(airflow_provider_klaviyo.__file__).parent
    not_public = {
        "__init__",
        "allocator",
        "base",
        "environment",
        "intervals",
        "lineage",
        "lineage_source",
        "metrics",
        "options",
        "outcomes",
        "shards",
        "waiting",
        "whereabouts",
    }
    for kind in ("operators", "sensors", "hooks", "triggers"):
        modules = {
            f"airflow_provider_klaviyo.{kind}.{file.stem}"
            for file in (package / kind).glob("*.py")
            if file.stem not in not_public
        }
        told = {name for entry in get_provider_info()[kind] for name in entry["python-modules"]}
        assert told == modules


def test_airflow_finds_the_package_by_its_entry_point() -> None:
    (found,) = [point for point in entry_points(group="apache_airflow_provider") if "klaviyo" in point.value]
    assert found.load()()["package-name"] == "airflow-provider-klaviyo"


def test_the_plugin_is_one_that_airflow_takes() -> None:
    from airflow.plugins_manager import AirflowPlugin

    from airflow_provider_klaviyo.plugin.airflow_plugin import KlaviyoPlugin

    assert issubclass(KlaviyoPlugin, AirflowPlugin)
    (app,) = KlaviyoPlugin.fastapi_apps
    assert app["url_prefix"].startswith("/klaviyo")
    routes = [view["url_route"] for view in KlaviyoPlugin.external_views]
    assert len(set(routes)) == len(routes)
    for view in KlaviyoPlugin.external_views:
        assert view["destination"] in ("nav", "task_instance")
        assert view["href"].startswith("klaviyo/"), "relative: Airflow may be served below a path"


def test_the_form_of_older_airflows_has_the_same_fields() -> None:
    from airflow_provider_klaviyo.connection import EXTRA_FIELDS, HIDDEN_FIELDS, PLACEHOLDERS, RELABELING
    from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook

    connection_type = get_provider_info()["connection-types"][0]
    behaviour = KlaviyoHook.get_ui_field_behaviour()
    assert list(connection_type["conn-fields"]) == [field.name for field in EXTRA_FIELDS]
    told = connection_type["ui-field-behaviour"]
    assert (told["hidden-fields"], told["relabeling"], told["placeholders"]) == (
        behaviour["hidden_fields"],
        behaviour["relabeling"],
        behaviour["placeholders"],
    )
    assert (set(HIDDEN_FIELDS), RELABELING, PLACEHOLDERS) == (
        set(behaviour["hidden_fields"]),
        behaviour["relabeling"],
        behaviour["placeholders"],
    )


@pytest.mark.airflow
def test_airflows_command_line_lists_the_provider() -> None:
    command = [
        sys.executable,
        "-m",
        "airflow",
        "providers",
        "get",
        "airflow-provider-klaviyo",
        "--full",
        "-o",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for told in (
        "KlaviyoHook",
        "operators.profiles",
        "sensors.jobs",
        '"connection-type": "klaviyo"',
        "account_id",
    ):
        assert told.replace('"', "") in done.stdout.replace('\\"', "").replace('"', ""), told
