"""How Airflow finds the pages. Every process of Airflow imports this, so that it may import nothing that takes time."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "klaviyo"


class LazyApp:
    """The app, made when the API server gets the first request for it: to import FastAPI takes seconds."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, as ASGI has it."""
        if self._app is None:
            from airflow_provider_klaviyo.plugin.app import app

            self._app = app
        await self._app(scope, receive, send)


class KlaviyoPlugin(AirflowPlugin):
    """A tab on task instances, and a page in the navigation.

    Addresses are relative, since Airflow's own may have a path before it.
    """

    name = "klaviyo"
    fastapi_apps = [{"app": LazyApp(), "url_prefix": f"/{PREFIX}", "name": "Klaviyo"}]  # noqa: RUF012 - Airflow's way
    external_views = [  # noqa: RUF012 - Airflow's way
        {
            "name": "Klaviyo report",
            "href": f"{PREFIX}/task/{{DAG_ID}}/{{RUN_ID}}/{{TASK_ID}}/{{MAP_INDEX}}",
            "destination": "task_instance",
            "url_route": "klaviyo_report",
        },
        {
            "name": "Klaviyo syncs",
            "href": f"{PREFIX}/syncs",
            "destination": "nav",
            "category": "browse",
            "url_route": "klaviyo_syncs",
        },
    ]
