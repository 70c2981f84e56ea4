"""What the instances of a mapped task must not have in common, told by the Dag before the first row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.literals import is_template
from airflow_provider_klaviyo.state.owner import SHARD_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context


def check_state_key(operator: Any, context: Context) -> None:
    """Make sure that the instances of a mapped task do not give one state among them.

    :param operator: a sync operator whose templates are rendered, and which keeps state and gives a ``state_key``.
    :raises KlaviyoConfigurationError: when they do.
    """
    if not is_mapped(context):
        return
    shares = is_same_for_all(operator, "state_key")
    if shares is None:  # in a mapped group of tasks
        shares = isinstance(operator.key_template, str) and not is_template(operator.key_template)
    if shares:
        raise KlaviyoConfigurationError(_shared(operator.state_key, operator.task_id))


def check_partial_key(state_key: object, task_id: str) -> None:
    """The same when the Dag file is read, of what ``partial`` is given.

    :raises KlaviyoConfigurationError: for a text that all instances have.
    """
    if isinstance(state_key, str) and state_key.strip() and not is_template(state_key):
        raise KlaviyoConfigurationError(_shared(state_key, task_id))


def _shared(state_key: str, task_id: str) -> str:
    return (
        f"state_key={state_key!r} is the same for all instances of the mapped task {task_id}, "
        f"and they cannot share a state. Nothing was sent. Name the shard in it, such as {SHARD_KEY}, with "
        "{{ task.op_kwargs.shard }} in it where a decorated function is expanded, or give each instance its own by "
        "expand_kwargs."
    )


def check_own_list(operator: Any) -> None:
    """Make sure that strict mirrors of a mapped task have a list each: none leaves another's people alone.

    :param operator: a list operator whose templates are rendered, and which is a strict mirror.
    :raises KlaviyoConfigurationError: when they have one list.
    """
    named = next((name for name in ("list_id", "list_name") if getattr(operator, name)), None)
    shares = is_same_for_all(operator, named) if named else is_same_for_all(operator, "task_id")
    if shares:
        msg = (
            f"strict=True makes the list exactly what one query returns, and all instances of the mapped task "
            f"{operator.task_id} have the same list: each of them would take off the list whom the others put there. "
            "Nothing was sent. Mirror it without strict, which touches only whom the shard itself has added; or by one "
            "task; or give each instance a list of its own."
        )
        raise KlaviyoConfigurationError(msg)


def is_mapped(context: Context) -> bool:
    """Whether a task instance is one of several."""
    index = context["ti"].map_index
    return index is not None and index >= 0


def is_same_for_all(operator: Any, name: str) -> bool | None:
    """Whether all instances of a mapped task have one value of a parameter; None where its Dag does not tell.

    A template counts as different, though it need not be.
    """
    partial: dict[str, Any] | None = None
    if operator.has_dag():
        partial = getattr(operator.dag.get_task(operator.task_id), "partial_kwargs", None)
    if partial is None:
        return None
    return name in partial and not is_template(partial[name])
