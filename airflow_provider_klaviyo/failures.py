"""How a task fails: for good where a retry is in vain, and in one sentence where the failure is one that we know."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from airflow_provider_klaviyo._compat import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSensorTimeout,
)
from airflow_provider_klaviyo.exceptions import (
    KlaviyoConfigurationError,
    KlaviyoRequestError,
    KlaviyoSyncFailed,
)
from airflow_provider_klaviyo.masking import mask, words_of

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_TOLD_BY_AIRFLOW = (AirflowFailException, AirflowSensorTimeout, AirflowNotFoundException)


@contextmanager
def no_retry_in_vain() -> Iterator[None]:
    """Fail without an Airflow retry where one would end the same way: wrong settings, or what Klaviyo refused.

    :raises AirflowFailException: for these; other errors stay what they are.
    """
    try:
        yield
    except (KlaviyoConfigurationError, KlaviyoRequestError, KlaviyoSyncFailed) as error:
        raise AirflowFailException(mask(str(error))) from error


def told_in_a_sentence(method: Callable[P, R]) -> Callable[P, R]:
    """Let a method that Airflow calls fail as ``no_retry_in_vain`` says, and known failures without a way to them.

    Airflow logs what ends a task with every frame and every cause, in which the sentence that says what to do is lost.
    They go to DEBUG. What led to the failure stays at hand as its ``__context__``.
    """

    @wraps(method)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with no_retry_in_vain():
                return method(*args, **kwargs)
        except BaseException as error:
            if not is_known(error):
                raise
            log.debug("The way to the failure:\n%s", way_to(error))
            failure = error
        raise failure.with_traceback(None) from None

    return told


def is_known(error: BaseException) -> bool:
    """Whether an error is told of in full by its words: those of this package, and what it says in Airflow's."""
    return type(error).__module__.partition(".")[0] == __package__ or isinstance(error, _TOLD_BY_AIRFLOW)


def way_to(error: BaseException) -> str:
    """The frames of an error and of its causes, the first one first; their words without people."""
    told: list[str] = []
    each: BaseException | None = error
    seen: set[int] = set()
    while each and id(each) not in seen:
        seen.add(id(each))
        frames = "".join(traceback.format_tb(each.__traceback__))
        told.insert(0, f"{frames}{type(each).__name__}: {words_of(each)}\n")
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return "\n".join(told)
