"""Who may import whom, and what a Dag file pays for importing an operator."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_klaviyo

PACKAGE = Path(airflow_provider_klaviyo.__file__).parent
NAME = "airflow_provider_klaviyo"

# A layer may import itself and what stands here.
ALLOWED = {
    "client": {"exceptions", "identity", "__init__"},
    "records": {"exceptions", "identity"},
    "sync": {"exceptions", "identity", "client", "records", "state"},
    "state": {"exceptions", "identity", "records"},
    "emulator": {"__init__"},
}


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            if node.module == NAME:
                names.update(f"{NAME}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("layer", sorted(ALLOWED))
def test_the_middle_never_imports_airflow_and_nothing_points_back(layer: str) -> None:
    for file in (PACKAGE / layer).rglob("*.py"):
        for name in imported(file):
            assert name.partition(".")[0] != "airflow", f"{file} imports {name}"
            if name.startswith(f"{NAME}."):
                part = name.split(".")[1]
                part = "__init__" if part == "__version__" else part
                assert part == layer or part in ALLOWED[layer], f"{file} imports {name}"


HEAVY = ("requests", "phonenumbers", "email_validator", "tenacity", "airflow_provider_klaviyo.client.klaviyo")
MODULES = (
    "operators.lists",
    "operators.profiles",
    "operators.subscriptions",
    "sensors.jobs",
    "sensors.lists",
)


@pytest.mark.parametrize("module", MODULES)
def test_importing_in_a_dag_file_loads_no_http_no_sql_driver_and_no_phone_metadata(module: str) -> None:
    """Beyond what Airflow's own ``airflow.sdk`` loads."""
    code = f"""
import json, sys
import airflow.sdk
from airflow.sdk import BaseOperator, BaseSensorOperator
before = set(sys.modules)
import {NAME}.{module}
print("LOADED" + json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.partition("LOADED")[2])
    assert f"{NAME}.{module}" in loaded
    drivers = ("psycopg", "MySQLdb", "sqlite3", "airflow.providers.common.sql")
    assert [name for name in loaded if name.startswith((*HEAVY, *drivers))] == []


def test_what_every_airflow_process_imports_of_the_provider_is_next_to_nothing() -> None:
    code = f"""
import json, sys
import {NAME}.get_provider_info
print("LOADED" + json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.partition("LOADED")[2])
    assert [name for name in loaded if name.startswith((*HEAVY, "airflow.", "msgspec"))] == []
