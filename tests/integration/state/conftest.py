"""Each store that can be started here, as ``storage_path`` names it."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_klaviyo.state.remote import RemotePath
from tests.integration.state import storages

STORES = ["s3", "SeaweedFS", "Azure", "Google", "SFTP"]
"""Those that keep state."""


@pytest.fixture(scope="session")
def azure_server() -> Iterator[str]:
    with storages.azure() as url:
        yield url


@pytest.fixture(scope="session")
def google_server() -> Iterator[str]:
    with storages.google() as url:
        yield url


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    logging.getLogger("asyncssh").setLevel(logging.WARNING)  # else it speaks when pytest has ended
    with storages.sftp(tmp_path_factory.mktemp("sftp")) as port:
        yield port


@pytest.fixture(scope="session")
def seaweedfs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL; it has a bucket ``klaviyo``, since each takes it seconds to lay out."""
    with storages.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as url:
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="owner",
            aws_secret_access_key="owner",
        )
        client.create_bucket(Bucket="klaviyo")
        yield url


@pytest.fixture
def seaweedfs_storage(seaweedfs_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the rights of one who may write, and neither make buckets nor ask for them."""
    connection = {
        "conn_type": "aws",
        "login": "writer",
        "password": "writer",
        "extra": {"endpoint_url": seaweedfs_server, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_SEAWEEDFS", json.dumps(connection))
    return f"s3://seaweedfs@klaviyo/{uuid.uuid4().hex}"


@pytest.fixture
def azure_storage(azure_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    from azure.storage.blob import BlobServiceClient

    container = f"klaviyo-{uuid.uuid4().hex}"
    with BlobServiceClient.from_connection_string(storages.azure_connection(azure_server)) as client:
        client.create_container(container)
    return f"abfs://{storages.attach(monkeypatch.setenv, 'abfs', azure_server)}@{container}/klaviyo"


@pytest.fixture
def google_storage(google_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    conn_id = storages.attach(monkeypatch.setenv, "gs", google_server)
    return f"gs://{conn_id}@klaviyo-{uuid.uuid4().hex}/klaviyo"


@pytest.fixture
def careless_storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One whose server lets anybody write over what is there, set as ``storage_path``."""
    with storages.google(honours_conditions=False) as url:
        path = f"gs://{storages.attach(monkeypatch.setenv, 'gs', url)}@klaviyo/klaviyo"
        monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", path)
        yield path


@pytest.fixture
def webdav_folder(tmp_path: Path) -> Iterator[RemotePath]:
    with storages.webdav(tmp_path) as url:
        from webdav4.fsspec import WebdavFileSystem

        yield RemotePath(WebdavFileSystem(url), "klaviyo", "webdav://server/klaviyo")


@pytest.fixture
def sftp_storage(sftp_server: int, monkeypatch: pytest.MonkeyPatch) -> str:
    conn_id = f"sftp_{uuid.uuid4().hex[:8]}"
    connection = {
        "conn_type": "sftp",
        "host": "127.0.0.1",
        "port": sftp_server,
        "login": "anybody",
        "password": "any",
        "extra": {"no_host_key_check": True},
    }
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    return f"sftp://{conn_id}@127.0.0.1/{uuid.uuid4().hex}/klaviyo"


@pytest.fixture(params=STORES)
def a_storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder in each of them, set as ``storage_path``; nothing is in it yet."""
    path: str = request.getfixturevalue(f"{request.param.lower()}_storage")
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", path)
    return path
