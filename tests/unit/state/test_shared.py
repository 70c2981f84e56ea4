"""Who keeps a shared identifier is remembered as everything else of a state is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.state.opening import open_ledger
from airflow_provider_klaviyo.state.stores import store_of


def opened(folder: Path, name: str) -> Ledger:
    scratch = folder / name
    scratch.mkdir()
    return open_ledger(
        store_of(folder / "log"), scratch, {"state_key": "test"}, writer="test", now=lambda: 0.0
    )


def test_it_outlives_the_run_and_the_compaction_of_the_log(tmp_path: Path) -> None:
    with closing(opened(tmp_path, "1")) as ledger:
        ledger.share("phone_number", {11: 1, -12: 2})
        ledger.share("external_id", {13: 1})
        ledger.unshare([-12])
    with closing(opened(tmp_path, "2")) as ledger:
        assert ledger.shared.owners([11, -12, 13]) == {11: 1, 13: 1}
        ledger.compact()
    with closing(opened(tmp_path, "3")) as ledger:
        assert {each.field for each in ledger.shared.of([1, 2])} == {"phone_number", "external_id"}


def test_who_is_forgotten_is_forgotten_as_owner_and_as_value(tmp_path: Path) -> None:
    with closing(opened(tmp_path, "1")) as ledger:
        ledger.share("phone_number", {11: 1, 12: 2})
        assert ledger.shared.known([1, 12, 99]) == {1, 12}
        ledger.forget([], [1, 12])
    with closing(opened(tmp_path, "2")) as ledger:
        assert ledger.shared.is_empty()
