"""Which connections a store of ``storage_path`` can log in with.

Airflow's filesystems take a connection of any type. What they do not find in it they take from the worker, so that a
database's password is sent to Amazon, and Google sees somebody else than the path says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Kind:
    """Stores that Airflow reaches in one way.

    :param schemes: how ``storage_path`` begins.
    :param needs: the type to make such a connection of, for people.
    :param types: all types with the fields that the filesystem reads.
    :param fields: those of a connection's extra that by themselves make one of any type good enough.
    """

    schemes: Collection[str]
    needs: str
    types: Collection[str]
    fields: Collection[str] = ()


_KINDS = (
    _Kind(
        ("s3", "s3a", "s3n"),
        "aws",
        ("aws", "s3", "athena"),
        (
            "aws_access_key_id",
            "aws_session_token",
            "role_arn",
            "profile_name",
            "session_kwargs",
            "endpoint_url",
        ),
    ),
    _Kind(
        ("gs", "gcs"),
        "google_cloud_platform",
        (
            *("google_cloud_platform", "gcpbigquery", "gcpcloudsql", "gcpcloudsqldb", "gcpspanner", "gcpssh"),
            *("google_ads", "dataprep", "gcp_looker"),
        ),
        (
            *("keyfile_dict", "key_path", "key_secret_name", "credential_config_file", "impersonation_chain"),
            *("is_anonymous", "idp_issuer_url"),
        ),
    ),
    _Kind(
        ("abfs", "abfss", "adl"),
        "wasb",
        ("wasb", "adls", "azure_data_lake", "azure", "azure_fileshare", "azure_container_volume"),
        (
            *("connection_string", "account_name", "account_key", "account_host", "sas_token", "tenant_id"),
            *("managed_identity_client_id", "workload_identity_client_id"),
        ),
    ),
    _Kind(("sftp", "ssh"), "sftp", ("sftp", "ssh", "ftp", "ftps")),
)

_OTHERS = frozenset(
    """
    cassandra clickhouse cloudant databricks drill druid duckdb elasticsearch exasol facebook_social ftp ftps git github
    hdfs hive_cli hive_metastore hiveserver2 http imap impala influxdb jdbc jenkins jira kafka klaviyo kubernetes kylin
    livy mongo mssql mysql neo4j odbc openai opensearch opsgenie oracle oss pagerduty pinot pinot_admin postgres presto
    qdrant redis redshift salesforce samba sendgrid slack slackwebhook smtp snowflake spark sqlite tableau telegram
    teradata trino vertica weaviate webhdfs ydb yandexcloud zendesk
    """.split()  # noqa: SIM905 - a word a line is no easier to read
)
"""Types of Airflow's providers that are no store's. One that is unknown here may be somebody's own, and work."""


def unusable_type(scheme: str, conn_type: str, extra: Mapping[str, object]) -> str:
    """Why a connection cannot be that of a store; empty where it can, or may.

    :param scheme: how the path begins, without ``://``.
    :param extra: the fields of the connection that Airflow keeps as JSON.
    """
    kind = next((kind for kind in _KINDS if scheme.lower() in kind.schemes), None)
    told = conn_type.lower().replace("-", "_")
    if kind is None or told in kind.types or not _is_anothers(told):
        return ""
    if any(
        name.rpartition("__")[2] in kind.fields for name in extra
    ):  # with the prefix of old connections, too
        return ""
    return f"it is of type {conn_type!r}, and {scheme}:// needs one of type {kind.needs!r}"


def _is_anothers(conn_type: str) -> bool:
    return conn_type in _OTHERS or any(conn_type in kind.types for kind in _KINDS)
