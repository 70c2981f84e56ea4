"""One bad record never sinks its batch: what to do when Klaviyo refuses a whole request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NamedTuple

from airflow_provider_klaviyo.exceptions import ApiError, KlaviyoRequestError
from airflow_provider_klaviyo.records.record import Problem, R
from airflow_provider_klaviyo.sync.delivery.pointers import FieldPath, field_name, is_elsewhere, pointed_at

Post = Callable[[Sequence[R]], object]
"""Sends some records in one request; returns False when none of them was to be sent after all."""

Refuse = Callable[[R, Problem], None]
Suspect = tuple[R, KlaviyoRequestError]


class Located(NamedTuple):
    """The indexes of the records in a request that a pointer means, and the field of theirs."""

    indexes: Sequence[int]
    path: FieldPath


Locate = Callable[[Sequence[R], str], Located]
"""From the records of a request and a pointer into it to what it means."""


class Objection(NamedTuple):
    """What Klaviyo has against a field of a record."""

    path: FieldPath
    problem: Problem


Mend = Callable[[R, Sequence[Objection]], R | None]
"""What is left of a record without the fields that Klaviyo refused; None where the record is rejected for them."""

ABOUT_RECORDS = (400, 409, 413, 422)
_SIZE = 413

_ENOUGH_SINGLES = 3
"""That many single records refused with the same words, and none taken, raise the question what they share."""

_PROBES = 2
"""Then so many more, from the middle and the end of the batch, answer it."""

_MAX_REFUSALS = 200
_MAX_REFUSALS_PER_RECORD = 0.5


class BatchRejected(Exception, Generic[R]):
    """Klaviyo refused a request that held other records than those to be posted: these are they.

    ``parts`` are others that are still to be posted.
    """

    def __init__(self, records: Sequence[R], error: KlaviyoRequestError) -> None:
        super().__init__(str(error))
        self.records = records
        self.error = error
        self.parts: Sequence[Sequence[R]] = ()


class SplitBatch(Exception, Generic[R]):
    """Of the records to be posted only these parts are left to be, for a reason that is no record's fault.

    That is not counted as a refusal: each has to bring the end nearer.

    :param was_taken: whether Klaviyo is known to have taken records of this run.
    """

    def __init__(self, parts: Sequence[Sequence[R]], *, was_taken: bool = False) -> None:
        super().__init__(f"{len(parts)} parts")
        self.parts = parts
        self.was_taken = was_taken


class RefusalHandler(Generic[R]):
    """Sends the records of a batch past their bad neighbours; shared by all batches of a run.

    Records that Klaviyo points at are mended or dropped, and the rest is sent again; without a pointer to a record the
    batch is halved until the culprits stand alone. A refusal that is plainly not about records, or that all single
    records share, is raised and blames nobody. So is one that comes back again and again, beyond 200 times or half the
    batch's size; culprits that were found by then are named.

    :param records: JSON pointer of the array of records in the request, or of its only record.
    :param locate: finds records by a pointer where they are not the elements of that array.
    :param name: how a field is told of, and a record of which no field is named.
    :param about_records: statuses of refusals that may be about single records.
    :param mend: makes a named culprit fit to be sent after all; it must come to an end for every record.
    :param has_history: whether Klaviyo has taken records of this sync before: on a quiet day the one that is refused
        may be the only one that is sent, and is to blame all the same.
    """

    def __init__(
        self,
        records: str,
        locate: Locate[R] | None = None,
        *,
        name: Callable[[FieldPath], str] = field_name,
        about_records: Sequence[int] = ABOUT_RECORDS,
        mend: Mend[R] = lambda record, objections: None,  # noqa: ARG005 - as the type says
        has_history: Callable[[], bool] = lambda: False,
    ) -> None:
        prefix = records.strip("/").split("/")
        self._locate = locate or (lambda part, pointer: _element(part, pointer, prefix))
        self._name = name
        self._about_records = about_records
        self._mend = mend
        self._has_history = has_history
        self._was_taken = False
        self._delivering = 0
        self._undecided = 0
        self._change = threading.Condition()

    def deliver(self, batch: Sequence[R], post: Post[R], refuse: Refuse[R]) -> None:
        """Post every record of the batch that Klaviyo takes, and name the others to ``refuse``.

        :param post: may raise ``BatchRejected`` or ``SplitBatch``.
        :raises KlaviyoRequestError: when the refusal is not about single records.
        """
        self._deliver([batch], post, refuse)

    def deliver_each(self, records: Sequence[R], post: Post[R], refuse: Refuse[R]) -> None:
        """The same for records of which each takes a request of its own."""
        self._deliver([[record] for record in reversed(records)], post, refuse)

    def _deliver(self, waiting: list[Sequence[R]], post: Post[R], refuse: Refuse[R]) -> None:
        suspects: list[Suspect[R]] = []
        left = max(_MAX_REFUSALS, int(sum(map(len, waiting)) * _MAX_REFUSALS_PER_RECORD))
        probed: int | None = None
        with self._counted():
            while waiting:
                refused = self._post_next(waiting, post)
                if refused is None:
                    continue
                part, error = refused.records, refused.error
                left -= 1
                waiting += self._without_culprits(part, error, suspects, refuse)
                if left < 0:
                    self._give_up(error, suspects, refuse)
                if self._may_be_shared(suspects) and probed is None:
                    probed = len(suspects) + _PROBES
                    waiting = _far_apart(waiting)
                elif self._may_be_shared(suspects) and len(suspects) >= (probed or 0):
                    raise suspects[0][1] from None
            self._blame(suspects, refuse)

    def _post_next(self, waiting: list[Sequence[R]], post: Post[R]) -> BatchRejected[R] | None:
        """Post the last part that waits; what Klaviyo has against it, if anything."""
        part = waiting.pop()
        try:
            was_taken = post(part) is not False
        except SplitBatch as instead:
            waiting += instead.parts
            was_taken = instead.was_taken
        except BatchRejected as refused:
            waiting += refused.parts
            return refused
        except KlaviyoRequestError as error:
            return BatchRejected(part, error)
        if was_taken:
            self._note_taken()
        return None

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._change:
            self._delivering += 1
        try:
            yield
        finally:
            with self._change:
                self._delivering -= 1
                self._change.notify_all()

    def _note_taken(self) -> None:
        if not self._was_taken:
            with self._change:
                self._was_taken = True
                self._change.notify_all()

    def _without_culprits(
        self, part: Sequence[R], error: KlaviyoRequestError, suspects: list[Suspect[R]], refuse: Refuse[R]
    ) -> list[Sequence[R]]:
        """What is to be sent instead of a refused part."""
        named = self._named(error.errors, part)
        if named:
            mended = {index: self._mend(part[index], objections) for index, objections in named.items()}
            for index, objections in named.items():
                if mended[index] is None:
                    refuse(part[index], joined(objections))
            left = [mended.get(index, record) for index, record in enumerate(part)]
            rest = [record for record in left if record is not None]
            return [rest] if rest else []
        if error.status not in self._about_records or any(map(is_elsewhere, error.errors)):
            raise error
        if len(part) == 1:
            suspects.append((part[0], error))
            return []
        half = len(part) // 2
        return [part[half:], part[:half]]

    def _named(self, errors: Sequence[ApiError], part: Sequence[R]) -> dict[int, list[Objection]]:
        """The records that the errors point at, with what is wrong with each."""
        named: dict[int, list[Objection]] = {}
        for error in errors:
            indexes, path = self._locate(part, error.pointer)
            if not indexes and len(part) == 1 and path:
                indexes = [0]
            problem = Problem(self._name(path), f"Klaviyo refused it: {error.message}", is_klaviyos=True)
            for index in indexes:
                named.setdefault(index, []).append(Objection(path, problem))
        return named

    def _may_be_shared(self, suspects: Sequence[Suspect[R]]) -> bool:
        alike = len(suspects) >= _ENOUGH_SINGLES and len(set(_messages(suspects))) == 1
        return alike and not self._was_taken and suspects[0][1].status != _SIZE

    def _give_up(self, error: KlaviyoRequestError, suspects: Sequence[Suspect[R]], refuse: Refuse[R]) -> None:
        if self._was_taken:
            for suspect in suspects:
                _accuse(suspect, self._name(()), refuse)
        error.args = (
            f"{error} Stopped looking for the records at fault after too many refusals of one batch.",
        )
        raise error

    def _blame(self, suspects: Sequence[Suspect[R]], refuse: Refuse[R]) -> None:
        """Accuse those who were refused alone, once it is known that Klaviyo takes others."""
        if not suspects:
            return
        if suspects[0][1].status != _SIZE and not self._are_others_taken():
            is_one_of_many = len(suspects) < _ENOUGH_SINGLES and self._has_history()
            if not is_one_of_many:
                raise suspects[0][1]
        for suspect in suspects:
            _accuse(suspect, self._name(()), refuse)

    def _are_others_taken(self) -> bool:
        """Whether any record of the run was taken; batches that are still under way may yet tell."""
        with self._change:
            self._undecided += 1
            self._change.notify_all()
            try:
                self._change.wait_for(lambda: self._was_taken or self._undecided >= self._delivering)
                return self._was_taken
            finally:
                self._undecided -= 1


def _element(part: Sequence[R], pointer: str, prefix: Sequence[str]) -> Located:
    index, path = pointed_at(pointer, prefix)
    return Located([] if index is None or index >= len(part) else [index], path)


def _far_apart(waiting: Sequence[Sequence[R]]) -> list[Sequence[R]]:
    """What waits, with single records from its end and its middle to be tried next.

    Bad records often stand together, as under ORDER BY; what all share shows at the other end.
    """
    rest = [record for part in reversed(waiting) for record in part]
    if len(rest) < _ENOUGH_SINGLES:
        return list(waiting)
    middle = len(rest) // 2
    return [rest[middle + 1 : -1], rest[:middle], [rest[middle]], [rest[-1]]]


def _accuse(suspect: Suspect[R], field: str, refuse: Refuse[R]) -> None:
    record, _ = suspect
    refuse(record, Problem(field, f"Klaviyo refused it: {_messages([suspect])[0]}", is_klaviyos=True))


def joined(objections: Sequence[Objection]) -> Problem:
    """All objections as one problem."""
    problems = [objection.problem for objection in objections]
    if len(problems) == 1:
        return problems[0]
    fields = ", ".join(dict.fromkeys(problem.field for problem in problems))
    reason = "; ".join(f"{problem.field}: {problem.reason}" for problem in problems)
    return Problem(fields, reason, is_klaviyos=any(problem.is_klaviyos for problem in problems))


def _messages(suspects: Sequence[Suspect[R]]) -> list[str]:
    return ["; ".join(entry.message for entry in error.errors) or str(error) for _, error in suspects]
