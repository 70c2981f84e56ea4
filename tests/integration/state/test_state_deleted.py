"""A state whose folder somebody deletes during a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.state.errors import StateConflict
from airflow_provider_klaviyo.state.log import StateLog
from airflow_provider_klaviyo.state.stores import store_of
from airflow_provider_klaviyo.storage import remote_path

pytestmark = pytest.mark.integration


@pytest.fixture(params=["disk", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "disk":
        return tmp_path / "state"
    return remote_path(request.getfixturevalue("s3_storage")) / "state"


def delete(folder: Any) -> None:
    store = store_of(folder)
    for name in store.names():
        store.delete(name)
    if isinstance(folder, Path):
        folder.rmdir()


def test_that_it_was_deleted_is_said_and_nothing_is_left_that_the_next_run_stumbles_over(folder: Any) -> None:
    log = StateLog(store_of(folder), writer="this run", now=lambda: 0.0)
    log.begin({})
    log.append("doubt", {})
    delete(folder)
    for _ in range(2):
        with pytest.raises(StateConflict, match="was deleted while this run wrote to it") as failure:
            log.append("verdict", {})
        assert str(folder) in str(failure.value)
    assert StateLog(store_of(folder), writer="the next", now=lambda: 0.0).entries == []
