"""What ``storage_path`` names is looked up in Airflow before any filesystem is made."""

from __future__ import annotations

import json

import pytest

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.storage import remote_path, storage_path
from airflow_provider_klaviyo.storage_connections import unusable_type

SCHEMES = ["s3", "gs", "gcs", "abfs", "abfss", "adl", "sftp", "ssh", "oss", "dbfs", "msgraph", "of-tomorrow"]
"""Those of Airflow's providers, and one that none of them has."""


@pytest.mark.airflow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_connection_that_airflow_does_not_know_is_named_with_what_to_do(scheme: str) -> None:
    """No filesystem is needed for that: some would take the worker's own credentials instead."""
    with pytest.raises(KlaviyoConfigurationError) as refused:
        remote_path(f"{scheme}://tyop@bucket/folder")
    said = str(refused.value)
    assert f"[klaviyo] storage_path = {scheme}://tyop@bucket/folder cannot be used" in said
    assert "Airflow has no connection 'tyop'" in said
    assert "what stands before @ is the id of a connection" in said


@pytest.mark.airflow
def test_the_address_of_a_container_is_not_taken_for_a_connection_without_a_word() -> None:
    """Azure itself writes the container where Airflow has the connection."""
    with pytest.raises(KlaviyoConfigurationError, match=r"no connection .rejects.*is the id of a connection"):
        remote_path("abfs://rejects@account.dfs.core.windows.net/folder")


@pytest.mark.airflow
def test_a_password_in_the_path_is_not_repeated() -> None:
    with pytest.raises(KlaviyoConfigurationError) as refused:
        remote_path("sftp://shop:secret@host/folder")
    assert "secret" not in str(refused.value)


@pytest.mark.airflow
@pytest.mark.parametrize(
    ("scheme", "conn_type", "needed"),
    [
        ("gs", "aws", "google_cloud_platform"),
        ("gcs", "wasb", "google_cloud_platform"),
        ("s3", "google_cloud_platform", "aws"),
        ("s3a", "postgres", "aws"),
        ("abfs", "smtp", "wasb"),
        ("abfss", "aws", "wasb"),
        ("sftp", "aws", "sftp"),
        ("ssh", "klaviyo", "sftp"),
    ],
)
def test_a_connection_of_another_kind_is_refused_with_the_one_that_is_needed(
    scheme: str, conn_type: str, needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google's client would take the worker's own credentials instead, and Amazon's would be shown the password."""
    connection = {"conn_type": conn_type, "login": "shop", "password": "secret", "host": "shop.test"}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection))
    with pytest.raises(KlaviyoConfigurationError) as refused:
        remote_path(f"{scheme}://shop@bucket/folder")
    said = str(refused.value)
    assert (
        f"[klaviyo] storage_path = {scheme}://shop@bucket/folder cannot be used: 'shop' is no connection"
        in said
    )
    assert f"it is of type {conn_type!r}, and {scheme}:// needs one of type {needed!r}" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("scheme", "conn_type", "extra"),
    [
        *[("s3", conn_type, {}) for conn_type in ("aws", "athena", "s3", "S3", "generic", "", "minio")],
        *[
            ("gs", conn_type, {})
            for conn_type in ("google_cloud_platform", "google-cloud-platform", "gcpbigquery")
        ],
        *[("abfs", conn_type, {}) for conn_type in ("wasb", "adls", "azure", "azure_data_lake", "generic")],
        *[("sftp", conn_type, {}) for conn_type in ("sftp", "ssh", "")],
        ("s3", "http", {"endpoint_url": "http://minio:9000"}),
        ("gs", "http", {"extra__google_cloud_platform__keyfile_dict": "{}"}),
        ("abfs", "http", {"connection_string": "…"}),
        ("msgraph", "http", {}),
    ],
)
def test_what_works_today_is_never_refused(scheme: str, conn_type: str, extra: dict[str, object]) -> None:
    """Types that share the fields, types of somebody's own, and any type whose extra says how to log in."""
    assert unusable_type(scheme, conn_type, extra) == ""


@pytest.mark.airflow
@pytest.mark.parametrize(
    "path",
    ["klaviyo", "./klaviyo", "file://klaviyo", "file://localhost/klaviyo", "s3:/bucket/folder", "s3:bucket"],
)
def test_a_path_that_depends_on_where_a_process_starts_is_refused(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store with a slash too few was made a folder of that name."""
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", path)
    with pytest.raises(KlaviyoConfigurationError, match="Write the whole path") as refused:
        storage_path()
    assert f"[klaviyo] storage_path = {path} cannot be used: each process would look" in str(refused.value)


@pytest.mark.airflow
@pytest.mark.parametrize(
    "path", ["/mnt/klaviyo", "/mnt/klaviyo/", "file:///mnt/klaviyo", "FILE:///mnt//klaviyo", " /mnt/klaviyo "]
)
def test_one_folder_may_be_spelled_in_many_ways(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", path)
    assert str(storage_path()) == "/mnt/klaviyo"
