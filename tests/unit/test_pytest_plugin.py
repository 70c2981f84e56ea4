"""The fixtures that the package brings to the tests of people's own Dags."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

PLUGIN = "airflow_provider_klaviyo.pytest_plugin"

UNUSED = """
import sys

def test_nothing_is_loaded_where_nothing_is_used():
    ours = {name for name in sys.modules if name.startswith(("airflow.", "airflow_provider_klaviyo."))}
    assert ours == {"airflow_provider_klaviyo.pytest_plugin"}
"""
USED = """
import json, os, urllib.request
import pytest

@pytest.fixture
def klaviyo_conn_id():
    return "shop_klaviyo"

@pytest.fixture
def klaviyo_settings():
    from airflow_provider_klaviyo.emulator import Settings
    return Settings(job_seconds=5)

def test_the_connection_leads_to_an_emulator(klaviyo, tmp_path):
    connection = json.loads(os.environ["AIRFLOW_CONN_SHOP_KLAVIYO"])
    assert (connection["conn_type"], connection["host"]) == ("klaviyo", klaviyo.url)
    headers = {"Authorization": "Klaviyo-API-Key " + connection["password"], "revision": "2026-07-15"}
    with urllib.request.urlopen(urllib.request.Request(klaviyo.url + "/api/accounts", headers=headers)) as answer:
        assert answer.status == 200
    assert os.environ["AIRFLOW__KLAVIYO__STORAGE_PATH"].startswith(str(tmp_path))
    assert [request.operation for request in klaviyo.requests()] == ["get_accounts"]
"""
OWN = """
import pytest

@pytest.fixture
def klaviyo():
    return "own"

def test_a_fixture_of_the_same_name_takes_its_place(klaviyo):
    assert klaviyo == "own"
"""


def test_the_fixtures_are_there_cost_nothing_unused_and_give_way(tmp_path: Path) -> None:
    for name, text in {"test_1_unused.py": UNUSED, "test_2_own.py": OWN, "test_3_used.py": USED}.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", PLUGIN, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_pytest_finds_them_by_an_entry_point() -> None:
    """Its name is the module's, so that a ``-p`` or ``pytest_plugins`` besides does no harm."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}
