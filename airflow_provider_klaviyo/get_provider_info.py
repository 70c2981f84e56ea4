"""What Airflow's provider manager wants to know."""

from __future__ import annotations

from typing import Any

from airflow_provider_klaviyo import __version__
from airflow_provider_klaviyo.connection import EXTRA_FIELDS, HIDDEN_FIELDS, PLACEHOLDERS, RELABELING

_INTEGRATION = "Klaviyo"


def get_provider_info() -> dict[str, Any]:
    """The provider in the words of Airflow's schema; called in every Airflow process, so it imports next to nothing."""
    return {
        "package-name": "airflow-provider-klaviyo",
        "name": "Klaviyo",
        "description": "Reverse ETL from any SQL database into `Klaviyo <https://www.klaviyo.com/>`__.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://developers.klaviyo.com/en/reference/api_overview",
                "tags": ["service"],
            }
        ],
        "hooks": [_modules("hooks.klaviyo")],
        "operators": [
            _modules(
                *("operators.events", "operators.lists", "operators.profiles", "operators.subscriptions"),
                "operators.summaries",
            )
        ],
        "sensors": [_modules("sensors.jobs", "sensors.lists")],
        "triggers": [_modules("triggers.jobs", "triggers.lists")],
        "task-decorators": [
            {
                "name": f"klaviyo_sync_{each}",
                "class-name": f"airflow_provider_klaviyo.decorators.sync.klaviyo_sync_{each}",
            }
            for each in ("profiles", "events", "list", "subscriptions")
        ],
        "extra-links": ["airflow_provider_klaviyo.links.klaviyo.KlaviyoListLink"],
        "asset-uris": [
            {
                "schemes": ["klaviyo"],
                "handler": "airflow_provider_klaviyo.assets.sanitize",
                "to_openlineage_converter": "airflow_provider_klaviyo.assets.to_openlineage",
            }
        ],
        "connection-types": [
            {
                "connection-type": "klaviyo",
                "hook-class-name": "airflow_provider_klaviyo.hooks.klaviyo.KlaviyoHook",
                "hook-name": "Klaviyo",
                "ui-field-behaviour": {
                    "hidden-fields": list(HIDDEN_FIELDS),
                    "relabeling": dict(RELABELING),
                    "placeholders": dict(PLACEHOLDERS),
                },
                "conn-fields": {field.name: field.as_conn_field for field in EXTRA_FIELDS},
            }
        ],
        "config": {"klaviyo": {"description": "Settings of the Klaviyo provider.", "options": _options()}},
    }


def _modules(*names: str) -> dict[str, Any]:
    return {
        "integration-name": _INTEGRATION,
        "python-modules": [f"airflow_provider_klaviyo.{name}" for name in names],
    }


def _options() -> dict[str, Any]:
    return {
        "storage_path": {
            "description": (
                "Where reports and rejected rows are kept: a folder, or any object storage that Airflow knows "
                "(``s3://conn_id@bucket/prefix``). Empty: the folder ``klaviyo`` in AIRFLOW_HOME, "
                "good for one machine."
            ),
            "version_added": "0.1.0",
            "type": "string",
            "example": "s3://aws_default@my-bucket/klaviyo",
            "default": "",
        },
        "keep_days": {
            "description": "Reports and rejected rows older than so many days are deleted.",
            "version_added": "0.1.0",
            "type": "integer",
            "example": None,
            "default": "30",
        },
    }
