"""A mirror takes nobody off a list on the word of a driver that may lose rows."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from tests.integration.conftest import run_operator
from tests.integration.source.contract.sources import connection, needed
from tests.integration.source.contract.stubs import Druid, serving

pytestmark = pytest.mark.integration


@pytest.fixture
def run(
    request: pytest.FixtureRequest, klaviyo: Emulator, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Any:
    needed("airflow.providers.apache.druid.hooks.druid", "dependency group sources")
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path))
    with serving(Druid({"people": ["ann@shop.io", "bob@shop.io"]})) as url:
        host, port = url.removeprefix("http://").split(":")
        connection(request, conn_type="druid", host=host, port=int(port))

        def run(mode: str) -> Any:
            operator = KlaviyoSyncListOperator(
                task_id="sync",
                sql="people",
                sql_conn_id="source",
                mode=mode,
                mapping={"email": "a"},
                primary_key="a",
                list_name="VIPs",
                poll_interval=0.2,
            )
            return run_operator(operator)

        yield run


def test_a_mirror_is_refused_with_the_reason(run: Any, klaviyo: Emulator) -> None:
    done = run("mirror")
    assert "loses a row whose text ends in a backslash" in str(done.error)
    assert 'mode="add"' in str(done.error)
    assert done.counts() == {}  # the law of the design: no row was taken


def test_adding_says_so_and_goes_on(run: Any) -> None:
    done = run("add")
    assert done.error is None
    assert done.counts() == {"rows_read": 2, "accepted": 2}
    assert "loses a row" in done.report["notice"]
