"""Who may see what, by Airflow's own auth manager; the only place that knows its API server's insides of that."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.dag import DagModel
from fastapi import HTTPException

__all__ = ["GetUserDep", "check_task", "may_see_logs", "may_see_task", "readable_dags"]


def may_see_task(user: Any, dag_id: str) -> bool:
    """Whether somebody may see the task instances of a Dag."""
    return _may_read(user, dag_id, DagAccessEntity.TASK_INSTANCE)


def may_see_logs(user: Any, dag_id: str) -> bool:
    """Whether somebody may see the logs of a Dag's tasks, and so the people that its syncs are about."""
    return _may_read(user, dag_id, DagAccessEntity.TASK_LOGS)


def check_task(user: Any, dag_id: str) -> None:
    """Let nobody pass who may not see the task instances of a Dag.

    :raises HTTPException: 403.
    """
    if not may_see_task(user, dag_id):
        raise HTTPException(403, "You may not see this Dag's task instances.")


def readable_dags(user: Any) -> set[str]:
    """The Dags that somebody may see."""
    return {each for each in get_auth_manager().get_authorized_dag_ids(user=user) if may_see_task(user, each)}


def _may_read(user: Any, dag_id: str, entity: DagAccessEntity) -> bool:
    if dag_id in ("", "~"):  # which Airflow's own API takes for all Dags
        return False
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return get_auth_manager().is_authorized_dag(
        method="GET", access_entity=entity, details=details, user=user
    )
