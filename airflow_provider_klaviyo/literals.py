"""What a Dag file says of a task, checked when Airflow reads the file, by the checks that the run makes.

A value that a template or another task gives is known to the run only, and left to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, ClassVar

Reader = Callable[[str, object], Any]
"""Reads a parameter: takes its name and its value, and raises ``KlaviyoConfigurationError``."""

Rule = Callable[..., None]
"""What parameters must agree on. Takes them, as they were read, by their names, and raises the same.

It is asked when all those are known that have no default in it; a default stands for what is not known yet.
"""

_MARKS = ("{{", "{%", "{#")
_PLAIN = (str, bytes, bool, int, float, timedelta, type(None))
_RENDERED = "{{ … }}"
_UNKNOWN = object()


def is_template(value: object) -> bool:
    """Whether Airflow renders a text."""
    return isinstance(value, str) and any(mark in value for mark in _MARKS)


class ChecksLiterals:
    """A task that checks what its Dag file says of it, also under ``partial``; to be put before Airflow's class.

    ``readers`` are of its parameters, by name. ``rules`` are what these must agree on, for every run too;
    ``early_rules`` are of what a run learns later, with the columns of its query.
    """

    readers: ClassVar[Mapping[str, Reader]] = {}
    rules: ClassVar[Sequence[Rule]] = ()
    early_rules: ClassVar[Sequence[Rule]] = ()
    template_fields: Any
    template_ext: Any

    def read(self, name: str) -> Any:
        """A parameter, once its template is rendered.

        :raises KlaviyoConfigurationError: for one that cannot work.
        """
        return self.readers[name](name, getattr(self, name))

    def check_rules(self) -> None:
        """Check what all parameters must agree on, once their templates are rendered.

        :raises KlaviyoConfigurationError: when they do not.
        """
        _ask(self.rules, {name: self.read(name) for name in self.readers})

    def check_literals(self) -> None:
        """Check what the Dag file says; each class that takes parameters calls it when it has assigned them.

        What expanding a mapped task gives is checked by its run, whose failures Airflow does not repeat.

        :raises KlaviyoConfigurationError: for what cannot work.
        """
        if not getattr(self, "_BaseOperator__from_mapped", False):
            check(type(self), {name: getattr(self, name) for name in self.readers})

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Airflow's ``partial``; what is given to it is checked, as far as it does not need what is expanded.

        :raises KlaviyoConfigurationError: for what cannot work.
        """
        check(cls, kwargs)
        return super().partial(**kwargs)  # type: ignore[misc]


def check(task: type[ChecksLiterals], arguments: Mapping[str, object]) -> None:
    """Check those of a task's arguments that are no templates.

    :param arguments: by name; others than those with a reader are left alone.
    :raises KlaviyoConfigurationError: for the first that cannot work.
    """
    read = {}
    for name in (each for each in task.readers if each in arguments):
        value = arguments[name]
        if name in task.template_fields:
            value = _literal(value, tuple(task.template_ext))
        elif not _is_plain(value):
            value = _UNKNOWN
        if value is not _UNKNOWN:
            read[name] = task.readers[name](name, value)
    _ask((*task.rules, *task.early_rules), read)


def _ask(rules: Sequence[Rule], read: Mapping[str, object]) -> None:
    """Ask the rules whose parameters are known."""
    for rule in rules:
        required, names = _names_of(rule)
        if required <= read.keys():
            rule(**{name: read[name] for name in names & read.keys()})


@cache
def _names_of(rule: Rule) -> tuple[frozenset[str], frozenset[str]]:
    """The parameters that a rule needs, and all that it is about."""
    found = inspect.signature(rule).parameters
    required = {name for name, parameter in found.items() if parameter.default is parameter.empty}
    return frozenset(required), frozenset(found)


def _literal(value: object, extensions: tuple[str, ...]) -> object:
    """A value of a templated parameter as the run will have it, or ``_UNKNOWN``.

    The values of a mapping may be templates, since its keys never are: they stand for any text.
    """
    if isinstance(value, Mapping):
        return {key: each if isinstance(each, _PLAIN) else _RENDERED for key, each in value.items()}
    if isinstance(value, str):
        return _UNKNOWN if is_template(value) or (extensions and value.endswith(extensions)) else value
    if isinstance(value, (list, tuple, set, frozenset)):
        return _UNKNOWN if any(_literal(each, extensions) is _UNKNOWN for each in value) else value
    return value if isinstance(value, _PLAIN) else _UNKNOWN


def _is_plain(value: object) -> bool:
    return isinstance(value, (*_PLAIN, list, tuple, set, frozenset, Mapping))
