"""How a task fails: for good where a retry is in vain, and in one sentence where the failure is one that we know."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

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
    They go to DEBUG. What led to the failure stays at hand as its ``__context__``. No failure names people.
    """

    @wraps(method)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with no_retry_in_vain():
                return method(*args, **kwargs)
        except Exception as error:
            failure = error
        if not is_known(failure):
            raise without_people(failure)
        log.debug("The way to the failure:\n%s", way_to(failure))
        raise without_people(failure).with_traceback(None) from None

    return told


def without_people(error: BaseException) -> BaseException:
    """An error as logs and listeners may have it: itself, or one like it where its words name people.

    One like it has its type (as a subclass of its name), attributes, frames and causes; these name nobody either.
    """
    return _without_people(error, {})


def _without_people(error: BaseException, known: dict[int, BaseException]) -> BaseException:
    """The same.

    :param known: what others became, which may be causes of each other.
    """
    if id(error) in known:
        return known[id(error)]
    told = known[id(error)] = _masked(error)
    cause, context, is_hidden = error.__cause__, error.__context__, error.__suppress_context__
    told.__cause__ = cause and _without_people(cause, known)
    told.__context__ = context and _without_people(context, known)
    told.__suppress_context__ = is_hidden
    return told.with_traceback(error.__traceback__)


def _masked(error: BaseException) -> BaseException:
    """An error without its causes and frames; itself where its words name nobody."""
    kind, words, notes = type(error), str(error), [str(note) for note in getattr(error, "__notes__", ())]
    args = tuple(_masked_argument(each) for each in error.args)
    if [mask(each) for each in (words, *notes)] == [words, *notes] and args == error.args:
        return error
    names = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__str__": lambda _: mask(words),
    }
    try:
        like: Any = type(kind)(kind.__name__, (kind,), names)  # type: ignore[misc]
        told: BaseException = like.__new__(like, *args)
        told.__dict__.update(error.__dict__)
    except Exception:  # it is made in a way of its own, and its type may be missed more easily than people
        told = RuntimeError(f"{kind.__name__}: {mask(words)}")
    if notes:
        told.__notes__ = [mask(note) for note in notes]
    return told


def _masked_argument(value: object) -> object:
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, BaseException) for each in value):
        return [without_people(each) for each in value]  # of a group
    return mask(value) if isinstance(value, str) else value


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
