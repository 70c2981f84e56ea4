"""Who may import whom, and what a Dag file pays for importing an operator."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import airflow_provider_klaviyo

PACKAGE = Path(airflow_provider_klaviyo.__file__).parent
NAME = "airflow_provider_klaviyo"

LEAVES = {"__version__", "exceptions", "identity", "masking", "wording", "workers"}
"""What everybody may import."""

MAY_IMPORT: dict[str, set[str]] = {
    # The middle: plain Python, which tests and programs use without Airflow.
    "client": set(),
    "records": set(),
    "records.values": set(),
    "records.contacts": {"records.values"},
    "records.profiles": {"records", "records.values", "records.contacts"},
    "records.events": {"records", "records.values", "records.profiles"},
    "records.lists": {"records", "records.profiles"},
    "records.subscriptions": {"records", "records.values", "records.contacts", "records.profiles"},
    "state": {"records.values", "state.entries"},
    "state.entries": {"state"},
    "sync": {"client", "records", "records.values", "state", "sync.delivery", "sync.scratch", "sync.source"},
    "sync.source": {"sync.source.drivers"},
    "sync.source.drivers": {"records.values", "sync.source"},
    "sync.scratch": set(),
    "sync.delivery": {"client", "records", "RECORDS", "state", "sync", "sync.scratch"},
    "sync.in_flight": {"client", "state", "sync"},
    "sync.profiles": {"client", "records", "records.profiles", "SHARED"},
    "sync.events": {"client", "records", "records.events", "SHARED"},
    "sync.lists": {"client", "records", "records.contacts", "records.lists", "records.profiles", "SHARED"},
    "sync.subscriptions": {"client", "records", "records.subscriptions", "records.values", "SHARED"},
    # The rim: Airflow's names for it.
    "_compat": set(),
    "__main__": {"cli"},
    "assets": set(),
    "alerts": {"failures", "state", "storage", "sync"},
    "cli": {
        "_compat",
        "client",
        "connection",
        "failures",
        "hooks",
        "records.contacts",
        "state",
        "storage",
        "sync",
        "sync.scratch",
    },
    "connection": {"_compat", "client"},
    "decorators": {"literals", "operators", "parameters", "sync", "sync.source"},
    "failures": {"_compat"},
    "get_provider_info": {"connection"},
    "hooks": {"client", "connection"},
    "links": set(),
    "literals": set(),
    "operators": {
        *(
            "_compat",
            "assets",
            "connection",
            "failures",
            "hooks",
            "links",
            "literals",
            "parameters",
            "storage",
            "triggers",
        ),
        *("client", "RECORDS", "state", "sync", "sync.source", "SYNC_TYPES"),
    },
    "parameters": {"records.values", "sync.source"},
    "plugin": {"client", "links", "state", "storage", "sync"},
    "pytest_plugin": {"emulator"},
    "sensors": {"_compat", "client", "failures", "hooks", "literals", "parameters", "triggers"},
    "storage": {"_compat", "state", "storage_connections"},
    "storage_connections": set(),
    "triggers": {"client", "failures", "hooks", "parameters"},
    # The emulator shares nothing with the package, so that it cannot share a mistake with it.
    "emulator": {"emulator.account", "emulator.core", "emulator.server"},
    "emulator.core": set(),
    "emulator.requests": {"emulator.core"},
    "emulator.account": {"emulator.core", "emulator.requests"},
    "emulator.api": {"emulator.core", "emulator.requests", "emulator.account"},
    "emulator.server": {"emulator.core", "emulator.requests", "emulator.account", "emulator.api"},
    "demo": {"emulator.core", "hooks"},
}
"""Every room of the package, and what it may import beside itself and the leaves. Types count, and late imports."""

SEVERAL = {
    "RECORDS": {"records.profiles", "records.events", "records.lists", "records.subscriptions"},
    "SHARED": {"state", "sync", "sync.delivery", "sync.in_flight", "sync.scratch"},
    "SYNC_TYPES": {"sync.profiles", "sync.events", "sync.lists", "sync.subscriptions"},
}

WITHOUT_AIRFLOW = (
    *(
        "client",
        "emulator",
        "exceptions",
        "identity",
        "literals",
        "masking",
        "parameters",
        "records",
        "state",
        "sync",
    ),
    "wording",
)


def modules() -> dict[str, ast.Module]:
    """Every module by its name below the package; that of a folder is its own."""
    names = {}
    for file in PACKAGE.rglob("*.py"):
        *folders, name = file.relative_to(PACKAGE).with_suffix("").parts
        if folders[:1] == ["dags_examples"]:  # the wheel has them
            continue
        names[".".join(folders if name == "__init__" else (*folders, name))] = ast.parse(file.read_text())
    return names


def imports(module: ast.Module, known: Iterable[str]) -> set[str]:
    """The modules that one imports, wherever it does: the package's by their names below it, others as they are."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}".removeprefix(f"{NAME}.")
                found.add(full if full in known else (node.module or "").removeprefix(f"{NAME}."))
                if (node.module, alias.name) == (NAME, "__version__"):
                    found.add("__version__")
    return found - {NAME}


def room(module: str, known: Collection[str]) -> str:
    """The folder of a module; one that is in none is a room by itself."""
    is_folder = any(each.startswith(f"{module}.") for each in known)
    return module if is_folder or "." not in module else module.rpartition(".")[0]


def trespasses(graph: Mapping[str, Collection[str]]) -> set[tuple[str, str]]:
    """Modules with what they import and may not."""
    found = set()
    for module, imported in graph.items():
        own = room(module, graph)
        allowed = MAY_IMPORT.get(own, set())
        allowed = allowed.union(*(SEVERAL[each] for each in allowed & SEVERAL.keys())) | LEAVES | {own}
        for other in imported:
            is_ours = other in graph or other == "__version__"
            if is_ours and room(other, graph) not in allowed:
                found.add((module, other))
    return found


def circle(graph: Mapping[str, Collection[str]]) -> list[str]:
    """Modules each of which imports the next, the last one the first; none if there is no such circle."""
    try:
        TopologicalSorter(
            {name: set(others) & graph.keys() - {name} for name, others in graph.items()}
        ).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    parsed = modules()
    return {name: imports(module, parsed) for name, module in parsed.items() if name}


def test_every_room_is_on_the_plan(graph: Mapping[str, set[str]]) -> None:
    assert {room(module, graph) for module in graph} - LEAVES == MAY_IMPORT.keys()


def test_nobody_imports_across_a_wall(graph: Mapping[str, set[str]]) -> None:
    assert trespasses(graph) == set()


def test_nothing_points_back(graph: Mapping[str, set[str]]) -> None:
    assert circle(graph) == []


@pytest.mark.parametrize("layer", WITHOUT_AIRFLOW)
def test_the_middle_never_imports_airflow(layer: str, graph: Mapping[str, set[str]]) -> None:
    inside = {module: others for module, others in graph.items() if f"{module}.".startswith(f"{layer}.")}
    assert inside
    for module, others in inside.items():
        assert not any(f"{other}.".startswith("airflow.") for other in others), module


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("sync.profiles.sync_type", "sync.events.delivery"),  # a sync type another
        ("records.lists.member", "records.subscriptions.mapper"),
        ("client.lists", "sync.engine"),  # a layer one above it
        ("sync.run", "operators.base"),  # the middle the rim
        ("sync.delivery.pool", "sync.lists.adds"),  # what all share one that shares it
        ("cli.state", "operators.base"),
        ("sensors.jobs", "operators.base"),
        ("emulator.core.settings", "client.endpoints"),  # the emulator the package
        ("client.klaviyo", "emulator"),
    ],
)
def test_a_wall_is_seen(module: str, imported: str, graph: Mapping[str, set[str]]) -> None:
    assert imported in graph
    assert trespasses({**graph, module: graph[module] | {imported}}) == {(module, imported)}


def test_a_circle_is_seen(graph: Mapping[str, set[str]]) -> None:
    back = {**graph, "sync.contracts": graph["sync.contracts"] | {"sync.engine"}}
    assert {"sync.contracts", "sync.engine"} <= set(circle(back))


HEAVY = ("requests", "phonenumbers", "email_validator", "tenacity", "airflow_provider_klaviyo.client.klaviyo")
MODULES = (
    "decorators.sync",
    "operators.events",
    "operators.lists",
    "operators.profiles",
    "operators.subscriptions",
    "operators.summaries",
    "sensors.jobs",
    "sensors.lists",
)


def test_importing_in_a_dag_file_loads_no_http_no_sql_driver_and_no_phone_metadata() -> None:
    """Beyond what Airflow's own ``airflow.sdk`` loads."""
    modules = [f"{NAME}.{module}" for module in MODULES]
    code = f"""
import json, sys
import airflow.sdk
from airflow.sdk import BaseOperator, BaseSensorOperator
before = set(sys.modules)
import {", ".join(modules)}
print("LOADED" + json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.partition("LOADED")[2])
    assert set(modules) <= set(loaded)
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


def test_what_every_airflow_process_imports_of_the_plugin_is_next_to_nothing() -> None:
    """Airflow imports plugins in each of its processes, and has loaded its plugin manager by then."""
    code = f"""
import json, sys
import airflow.plugins_manager
before = set(sys.modules)
import {NAME}.plugin.airflow_plugin
print("LOADED" + json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.partition("LOADED")[2]))
    assert loaded <= {NAME, f"{NAME}.plugin", f"{NAME}.plugin.airflow_plugin"}
