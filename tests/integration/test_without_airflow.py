"""A program of one's own runs a sync: the package's middle needs no Airflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from tests.integration.conftest import Shop, counts_of

pytestmark = pytest.mark.integration

WITHOUT_AIRFLOW = (
    "import runpy, sys; sys.modules['airflow'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
)


def test_a_program_previews_and_syncs_a_database(klaviyo: Emulator, shop: Shop, tmp_path: Path) -> None:
    shop.fill_with_people(5)
    program = str(Path(__file__).with_name("program.py"))
    arguments = [klaviyo.url, klaviyo.api_key, str(shop.path), str(tmp_path / "storage")]
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_AIRFLOW, program, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr

    preview, run, again = map(json.loads, ended.stdout.splitlines())
    assert (preview["preview"], preview["requests"]) == (True, 0)
    assert counts_of(preview) == counts_of(run) == {"rows_read": 5, "accepted": 5}
    assert counts_of(again) == {"rows_read": 5, "unchanged": 5}
    assert {profile["email"] for profile in klaviyo.profiles()} == {f"p{n}@shop.io" for n in range(1, 6)}
