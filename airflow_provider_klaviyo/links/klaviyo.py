"""The button that opens a list in Klaviyo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

_XCOM_KEY = "klaviyo_list_link"


class KlaviyoListLink(BaseOperatorLink):
    """Opens the list that a task works on; it is there as soon as the list is known, while the task still runs."""

    name = "Klaviyo list"

    @property
    def xcom_key(self) -> str:
        """Where Airflow's UI finds the link."""
        return _XCOM_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """The page of the list; nothing before it is known, or where a preview would create it."""
        from airflow.sdk.execution_time.xcom import XCom

        return str(XCom.get_value(ti_key=ti_key, key=_XCOM_KEY) or "")


def push_list_link(ti: Any, list_id: str | None) -> None:
    """Let the UI show the list that a task instance works on."""
    ti.xcom_push(key=_XCOM_KEY, value=list_url(list_id) if list_id else "")


def list_url(list_id: str) -> str:
    """The page of a list's members in Klaviyo's own UI."""
    return f"https://www.klaviyo.com/list/{list_id}/members"
