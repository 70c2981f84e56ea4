"""A Klaviyo that Airflow's default connection leads to, and a folder that is the test's own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Settings
from tests.reports import reports_have_the_format  # noqa: F401 - for all tests of this folder

EXAMPLES = Path(__file__).resolve().parents[2] / "dags_examples"


@pytest.fixture
def job_seconds() -> float:
    """How long Klaviyo's jobs take; a module whose tests wait for them says otherwise."""
    return 0.0


@pytest.fixture
def klaviyo(monkeypatch: pytest.MonkeyPatch, job_seconds: float) -> Iterator[Emulator]:
    with Emulator(Settings(job_seconds=job_seconds)) as emulator:
        connection = {"conn_type": "klaviyo", "password": emulator.api_key, "host": emulator.url}
        monkeypatch.setenv("AIRFLOW_CONN_KLAVIYO_DEFAULT", json.dumps(connection))
        yield emulator


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that ``storage_path`` names."""
    path = tmp_path / "storage"
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(path))
    return path


FillShop = Callable[..., Path]


@pytest.fixture
def fill_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FillShop:
    """Fills the SQLite database that the connection ``shop`` leads to with a table; its file.

    ``fill_shop("people (id INTEGER, email TEXT)", [(1, "ada@shop.io")])``
    """
    path = tmp_path / "shop.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(path)}))

    def fill(table: str, rows: Sequence[Sequence[object]] = ()) -> Path:
        name, places = table.partition(" ")[0], ", ".join("?" * (table.count(",") + 1))
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(f"CREATE TABLE {table}")
            database.executemany(f"INSERT INTO {name} VALUES ({places})", rows)
        return path

    return fill


RunExample = Callable[..., Any]


@pytest.fixture
def run_example() -> RunExample:
    """Runs an example Dag, as Airflow reads it from its folder: there it finds it by itself, so nobody brings it one.

    From two bundles it would be two versions of one Dag, and Airflow stumbles over these in a second run.
    """

    def run(dag_id: str, **test_arguments: Any) -> Any:
        return example_dags()[dag_id].test(**test_arguments)

    return run


def example_dags() -> dict[str, Any]:
    """The example Dags by their ids, as Airflow reads them."""
    try:  # Airflow 3.2 and newer
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag

    bag = DagBag(dag_folder=str(EXAMPLES))
    assert bag.import_errors == {}
    return dict(bag.dags)
