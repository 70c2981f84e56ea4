"""State in an object store: against a server that speaks S3, over a real socket."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from airflow_provider_klaviyo.exceptions import KlaviyoRetryableError
from tests.integration.conftest import Shop, Sync

pytestmark = pytest.mark.integration


@pytest.fixture(params=["s3_storage", "s3_without_connection"])
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket as ``storage_path``, with the credentials of an Airflow connection or the worker's own."""
    path: str = request.getfixturevalue(request.param)
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", path)
    return path


@pytest.mark.usefixtures("klaviyo")
def test_a_sync_keeps_its_state_there(shop: Shop, sync: Sync, storage: str) -> None:
    shop.fill_with_people(20)
    parameters: dict[str, Any] = {"primary_key": "id", "only_changes": True}

    first = sync(**parameters)
    assert first.error is None
    assert first.summary["accepted"] == 20
    assert first.summary["report_path"].startswith(storage)
    shop.execute("UPDATE customers SET tier = 'silver' WHERE id = 3")
    again = sync(**parameters)
    assert (again.summary["accepted"], again.summary["unchanged"]) == (1, 19)


@pytest.mark.usefixtures("klaviyo")
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("s3://tyop@bucket/folder", "tyop"),
        ("memory://folder", "gone with the process"),
        ("https://shop.test/folder", "a web server takes no files"),
        ("nosuch://folder", "nosuch"),
    ],
)
def test_what_cannot_be_a_storage_ends_the_run_in_words(
    shop: Shop, sync: Sync, path: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", path)
    shop.fill_with_people(1)
    ended = sync(primary_key="id", only_changes=True)
    assert words in str(ended.error)
    assert f"[klaviyo] storage_path = {path} cannot be used" in str(ended.error)


@pytest.mark.usefixtures("klaviyo", "s3_storage")
def test_a_bucket_that_is_not_there_is_not_made(
    shop: Shop, sync: Sync, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", "s3://s3@tyop-in-the-bucket/folder")
    shop.fill_with_people(1)
    ended = sync()
    assert "[klaviyo] storage_path" in str(ended.error)
    assert "tyop-in-the-bucket" in str(ended.error)
    client = boto3.client(
        "s3",
        endpoint_url=s3_server,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    assert "tyop-in-the-bucket" not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}


@pytest.mark.usefixtures("klaviyo")
def test_reports_and_rejects_are_deleted_after_their_days(shop: Shop, sync: Sync, storage: str) -> None:
    from airflow_provider_klaviyo.storage import remote_path

    shop.fill_with_people(2)
    shop.execute("UPDATE customers SET email = 'nobody' WHERE id = 1")
    report = remote_path(sync().summary["report_path"])
    kept = {file.name for file in report.parent.iterdir()}
    assert {name.rpartition(".try")[2] for name in kept} == {"1.report.json", "1.rejects.jsonl"}
    assert storage in str(report)
    sync()
    assert kept <= {file.name for file in report.parent.iterdir()}


@pytest.mark.usefixtures("klaviyo")
def test_a_store_out_of_reach_ends_the_run_in_words_and_may_be_tried_again(
    shop: Shop, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        connection = {
            "conn_type": "aws",
            "login": "test",
            "password": "test",
            "extra": {
                "endpoint_url": f"http://127.0.0.1:{nobody.getsockname()[1]}",
                "region_name": "us-east-1",
                "config_kwargs": {"retries": {"max_attempts": 0}},
            },
        }
        monkeypatch.setenv("AIRFLOW_CONN_GONE", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", "s3://gone@bucket/folder")
        shop.fill_with_people(1)
        ended = sync(primary_key="id", only_changes=True)
    assert isinstance(ended.error, KlaviyoRetryableError)
    assert "cannot be written to s3://gone@bucket/folder/" in str(ended.error)
    assert "A retry goes on from what was noted there" in str(ended.error)
