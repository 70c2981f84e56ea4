"""Where the pages are, and which task instance a report is of."""

from __future__ import annotations

from urllib.parse import quote

from airflow_provider_klaviyo.plugin.shelf import Address
from airflow_provider_klaviyo.plugin.told import Told, mapping, text


def task_url(root: str, address: Address) -> str:
    """The page of a task instance."""
    parts = (address.dag_id, address.run_id, address.task_id, str(address.map_index))
    return f"{root}/task/{'/'.join(quote(part, safe='') for part in parts)}"


def rejects_url(root: str, address: Address, try_number: int) -> str:
    """Where the rejected rows of a try are downloaded from."""
    return f"{root}/rejects{task_url('', address).removeprefix('/task')}?try_number={try_number}"


def address_of(told: Told) -> Address | None:
    """The task instance that a report is of; None where it does not say."""
    task = mapping(told, "task")
    if not all(text(task, name) for name in ("dag_id", "run_id", "task_id")):
        return None
    map_index = task.get("map_index")
    return Address(
        text(task, "dag_id"),
        text(task, "run_id"),
        text(task, "task_id"),
        map_index if isinstance(map_index, int) else -1,
    )
