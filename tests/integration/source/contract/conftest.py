"""A server that takes seconds to start, and so is started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.source.contract.clickhouse import running_clickhouse


@pytest.fixture(scope="session")
def clickhouse_port() -> Iterator[int]:
    """ClickHouse's engine, as ``clickhouse_server`` serves it."""
    with running_clickhouse() as port:
        yield port
