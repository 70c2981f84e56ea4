"""``@task.klaviyo_sync_profiles`` and its like: the sync operators, whose rows come from the decorated function.

For what is no SQL database. Everything else of a sync is as with the operator of that name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.sdk.bases.decorator import DecoratedOperator, _TaskDecorator, task_decorator_factory

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.literals import Reader, check
from airflow_provider_klaviyo.operators.base import LIMIT, KlaviyoSyncOperator
from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator
from airflow_provider_klaviyo.operators.lists import KlaviyoSyncListOperator
from airflow_provider_klaviyo.operators.options import OF_QUERY
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator
from airflow_provider_klaviyo.parameters import names

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator

    from airflow_provider_klaviyo.sync.options import SyncOptions
    from airflow_provider_klaviyo.sync.run import SyncRun
    from airflow_provider_klaviyo.sync.source.source import Source
    from airflow_provider_klaviyo.sync.summary import SyncSummary

_JSON = "::json"
_ONE_OUTPUT = "it returns one value, the summary, of which the next task takes what it needs"


def _readers(operator: type[KlaviyoSyncOperator]) -> dict[str, Reader]:
    others = {name: read for name, read in operator.readers.items() if name not in OF_QUERY}
    return {**others, "columns": names}


def _templated(operator: type[KlaviyoSyncOperator]) -> Sequence[str]:
    others = (name for name in operator.template_fields if name not in OF_QUERY)
    return (*DecoratedOperator.template_fields, *others, "columns")


class DecoratedSync(DecoratedOperator, KlaviyoSyncOperator):
    """A sync of the rows that a function gives; to be put before the operator of a sync type.

    :param columns: those to take of each row; None takes the first row's, and a row with another one fails the run
        (templated).
    """

    custom_operator_name: ClassVar[str]
    template_ext: Sequence[str] = ()
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        "mapping": "json",
    }
    by_name: ClassVar[Sequence[str]] = ("email",)
    """Columns with which the sync can do without a mapping: they stand in where the function gives no row."""

    def __init__(
        self,
        *,
        python_callable: Callable[..., object],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        columns: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        _check_function(python_callable)
        self.columns = columns
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            kwargs_to_upstream={"sql": None, "sql_conn_id": None},
            **kwargs,
        )

    def open_source(self, options: SyncOptions, context: Context) -> Source:
        """The rows of the function, which the run calls."""
        from airflow_provider_klaviyo.sync.source.function import FunctionRows

        return FunctionRows(
            partial(self.python_callable, *self.op_args, **self._arguments(context)),
            self.python_callable.__name__,
            columns=self.read("columns"),
            columns_of_none=self._columns_of_none(options),
        )

    @property
    def reads_now(self) -> bool:
        """Never known of a function, which may ask for its context anywhere."""
        return False

    @property
    def _query(self) -> tuple[object, ...]:
        return tuple(inspect.signature(self.python_callable).parameters), self.op_args, self.op_kwargs

    def _arguments(self, context: Context) -> dict[str, Any]:
        """What the function is called with by name: its own arguments, and what it wants of the context."""
        given: dict[str, Any] = {**context, **self.op_kwargs}
        taken = inspect.signature(self.python_callable).parameters.values()
        by_either = {each.name for each in taken if each.kind is each.POSITIONAL_OR_KEYWORD}
        by_name = {each.name for each in taken if each.kind is each.KEYWORD_ONLY} | by_either
        by_place = by_either & {each.name for each in islice(taken, len(self.op_args))}
        takes_all = any(each.kind is each.VAR_KEYWORD for each in taken)
        return {
            name: value
            for name, value in given.items()
            if (takes_all or name in by_name) and name not in by_place
        }

    def _columns_of_none(self, options: SyncOptions) -> Sequence[str]:
        """Such columns as the parameters ask for."""
        named = options.mapping.values() if options.mapping else (*self.by_name, options.match_by or "email")
        columns = (*(name.removesuffix(_JSON) for name in named), *options.primary_key)
        return tuple(dict.fromkeys(columns))

    def _finish(
        self, context: Context, work: Callable[[SyncRun], None], comes_again: float = 0.0
    ) -> SyncSummary:
        """As the operator; what the function raises is raised as it is, with no frames but its own."""
        from airflow_provider_klaviyo.sync.source.function import FunctionFailed

        try:
            return super()._finish(context, work, comes_again)
        except FunctionFailed as failed:
            error = failed.error
        raise error


class DecoratedSyncProfiles(DecoratedSync, KlaviyoSyncProfilesOperator):
    """See ``KlaviyoSyncProfilesOperator``."""

    custom_operator_name = "@task.klaviyo_sync_profiles"
    readers: ClassVar[Mapping[str, Reader]] = _readers(KlaviyoSyncProfilesOperator)
    template_fields: Sequence[str] = _templated(KlaviyoSyncProfilesOperator)


class DecoratedSyncEvents(DecoratedSync, KlaviyoSyncEventsOperator):
    """See ``KlaviyoSyncEventsOperator``."""

    custom_operator_name = "@task.klaviyo_sync_events"
    readers: ClassVar[Mapping[str, Reader]] = _readers(KlaviyoSyncEventsOperator)
    template_fields: Sequence[str] = _templated(KlaviyoSyncEventsOperator)
    by_name = ("metric", "unique_id")


class DecoratedSyncList(DecoratedSync, KlaviyoSyncListOperator):
    """See ``KlaviyoSyncListOperator``."""

    custom_operator_name = "@task.klaviyo_sync_list"
    readers: ClassVar[Mapping[str, Reader]] = _readers(KlaviyoSyncListOperator)
    template_fields: Sequence[str] = _templated(KlaviyoSyncListOperator)


class DecoratedSyncSubscriptions(DecoratedSync, KlaviyoSyncSubscriptionsOperator):
    """See ``KlaviyoSyncSubscriptionsOperator``."""

    custom_operator_name = "@task.klaviyo_sync_subscriptions"
    readers: ClassVar[Mapping[str, Reader]] = _readers(KlaviyoSyncSubscriptionsOperator)
    template_fields: Sequence[str] = _templated(KlaviyoSyncSubscriptionsOperator)
    by_name = ("email", "phone_number", "consented_at")


def klaviyo_sync_profiles(
    python_callable: Callable[..., object] | None = None, **kwargs: Any
) -> TaskDecorator:
    """``@task.klaviyo_sync_profiles``: create and update the people of the rows that a function gives.

    :param kwargs: as ``KlaviyoSyncProfilesOperator`` and ``DecoratedSync`` take them.
    :raises KlaviyoConfigurationError: for what cannot work.
    """
    return _decorator(DecoratedSyncProfiles, python_callable, kwargs)


def klaviyo_sync_events(python_callable: Callable[..., object] | None = None, **kwargs: Any) -> TaskDecorator:
    """``@task.klaviyo_sync_events``: the same for events."""
    return _decorator(DecoratedSyncEvents, python_callable, kwargs)


def klaviyo_sync_list(python_callable: Callable[..., object] | None = None, **kwargs: Any) -> TaskDecorator:
    """``@task.klaviyo_sync_list``: the same for a list."""
    return _decorator(DecoratedSyncList, python_callable, kwargs)


def klaviyo_sync_subscriptions(
    python_callable: Callable[..., object] | None = None, **kwargs: Any
) -> TaskDecorator:
    """``@task.klaviyo_sync_subscriptions``: the same for consent."""
    return _decorator(DecoratedSyncSubscriptions, python_callable, kwargs)


def _decorator(
    operator: type[DecoratedSync], function: Callable[..., object] | None, kwargs: dict[str, Any]
) -> TaskDecorator:
    """Airflow's decorator; checks what a mapped task would be told by its run only.

    A mapped function has no ``partial`` of ours, so the limit of a task that keeps state is given here.
    """
    _check_names(operator, kwargs)
    check(operator, kwargs)
    if operator.keeps_state(kwargs):
        kwargs.setdefault(LIMIT, 1)
    made: Any = task_decorator_factory(
        function, multiple_outputs=False, decorated_operator_class=operator, **kwargs
    )
    return cast(
        "TaskDecorator", _checked(made) if function is not None else lambda function: _checked(made(function))
    )


class _Decorated(_TaskDecorator[..., Any, DecoratedSync]):
    """A decorated function, which says what it does not take where it is given, and not where it is missed."""

    def override(self, **kwargs: Any) -> _TaskDecorator[..., Any, DecoratedSync]:
        _check_names(self.operator_class, kwargs)
        return super().override(**kwargs)


def _checked(made: _TaskDecorator[..., Any, Any]) -> _Decorated:
    made.__class__ = _Decorated  # Airflow makes the first one, and each further one is of the class of that
    return cast("_Decorated", made)


def _check_names(operator: type[DecoratedSync], arguments: Mapping[str, object]) -> None:
    """Make sure that there is none among the arguments that a decorated sync does not take.

    :raises KlaviyoConfigurationError: for the first of them.
    """
    reasons = {**dict.fromkeys(OF_QUERY, "the function gives the rows"), "multiple_outputs": _ONE_OUTPUT}
    for name in arguments:
        if why := reasons.get(name):
            msg = f"{operator.custom_operator_name} takes no {name}: {why}."
            raise KlaviyoConfigurationError(msg)


def _check_function(function: Callable[..., object]) -> None:
    """Make sure that a function can be called as it is.

    :raises KlaviyoConfigurationError: for a coroutine.
    """
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        msg = f"The function {function.__name__!r} is async; its rows are read by a plain call: write def."
        raise KlaviyoConfigurationError(msg)
