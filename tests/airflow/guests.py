"""An auth manager for tests: some may see less of a Dag than Airflow's simple one can say."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class GuestList(SimpleAuthManager):
    """A reader sees no logs, a stranger no Dags."""

    def is_authorized_dag(self, *, user: Any, access_entity: Any = None, **of: Any) -> bool:
        if user.username == "stranger" or (
            user.username == "reader" and access_entity == DagAccessEntity.TASK_LOGS
        ):
            return False
        return super().is_authorized_dag(user=user, access_entity=access_entity, **of)

    def filter_authorized_dag_ids(self, *, dag_ids: set[str], user: Any, **of: Any) -> set[str]:
        return (
            set()
            if user.username == "stranger"
            else super().filter_authorized_dag_ids(dag_ids=dag_ids, user=user, **of)
        )
