"""One bad record never sinks its batch: what to do when Klaviyo refuses a whole request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from airflow_provider_klaviyo.exceptions import ApiError, KlaviyoRequestError
from airflow_provider_klaviyo.records.record import Problem, Record

Post = Callable[[Sequence[Record]], None]
Refuse = Callable[[Record, Problem], None]

_SIZE = 413
_ENOUGH_SINGLES = 3
"""That many single records refused with the same words, and none taken: it is not about the records."""

_REFUSALS_PER_BATCH = 100
_REFUSALS_PER_RECORD = 0.25


class RefusalHandler:
    """Sends the records of a batch past their bad neighbours; shared by all batches of a run.

    Records that Klaviyo points at are dropped and the rest is sent again; without a pointer the batch is halved
    until the culprits stand alone. A refusal that is not about records, or that every single record shares, is
    raised and blames nobody, and so is one that goes on beyond a quarter of the batch's size (at least 100 times).

    :param records: JSON pointer of the array of records in the request, as in the endpoint's description.
    """

    def __init__(self, records: str) -> None:
        self._prefix = records
        self._was_taken = threading.Event()

    def deliver(self, batch: Sequence[Record], post: Post, refuse: Refuse) -> None:
        """Post every record of the batch that Klaviyo takes, and name the others to ``refuse``.

        :raises KlaviyoRequestError: when the refusal is not about single records.
        """
        waiting = [batch]
        suspects: list[tuple[Record, KlaviyoRequestError]] = []
        left = max(_REFUSALS_PER_BATCH, int(len(batch) * _REFUSALS_PER_RECORD))
        while waiting:
            part = waiting.pop()
            try:
                post(part)
            except KlaviyoRequestError as error:
                left -= 1
                if left < 0:
                    raise
                waiting += self._without_culprits(part, error, suspects, refuse)
                self._check_shared(suspects)
            else:
                self._was_taken.set()
        self._blame(suspects, refuse)

    def _without_culprits(
        self,
        part: Sequence[Record],
        error: KlaviyoRequestError,
        suspects: list[tuple[Record, KlaviyoRequestError]],
        refuse: Refuse,
    ) -> list[Sequence[Record]]:
        """What is to be sent instead of a refused part."""
        named = self._named(error.errors, len(part))
        if named:
            for place, problem in named.items():
                refuse(part[place], problem)
            rest = [record for place, record in enumerate(part) if place not in named]
            return [rest] if rest else []
        if not self._may_be_about_records(error):
            raise error
        if len(part) == 1:
            suspects.append((part[0], error))
            return []
        half = len(part) // 2
        return [part[half:], part[:half]]

    def _named(self, errors: Sequence[ApiError], size: int) -> dict[int, Problem]:
        """The records that the errors point at, with what is wrong with each."""
        named: dict[int, list[Problem]] = {}
        for error in errors:
            place, field = place_and_field(error.pointer, self._prefix)
            if place is not None and place < size:
                named.setdefault(place, []).append(Problem(field, f"Klaviyo refused it: {error.words}"))
        return {place: _joined(problems) for place, problems in named.items()}

    def _may_be_about_records(self, error: KlaviyoRequestError) -> bool:
        """A pointer to a place above the records leaves it open; one to another place does not."""
        if error.status not in (400, 409, 413, 422):
            return False
        pointers = [entry.pointer.rstrip("/") for entry in error.errors]
        return all(
            self._prefix.startswith(pointer) or pointer.startswith(self._prefix) for pointer in pointers
        )

    def _check_shared(self, suspects: Sequence[tuple[Record, KlaviyoRequestError]]) -> None:
        if (
            not self._was_taken.is_set()
            and len(suspects) >= _ENOUGH_SINGLES
            and len(set(_words(suspects))) == 1
        ):
            raise suspects[0][1]

    def _blame(self, suspects: Sequence[tuple[Record, KlaviyoRequestError]], refuse: Refuse) -> None:
        if not suspects:
            return
        if not self._was_taken.is_set() and suspects[0][1].status != _SIZE:
            raise suspects[0][1]
        for (record, _), words in zip(suspects, _words(suspects), strict=True):
            refuse(record, Problem("profile", f"Klaviyo refused it: {words}"))


def place_and_field(pointer: str, prefix: str) -> tuple[int | None, str]:
    """The record and the field that an error points at, when it points below ``prefix``."""
    if not pointer.startswith(f"{prefix}/"):
        return None, ""
    place, _, field = pointer.removeprefix(f"{prefix}/").partition("/")
    return (int(place) if place.isdecimal() else None), field_name(field)


def field_name(pointer: str) -> str:
    """The field that the rest of a pointer means: ``attributes/location/city`` is ``location.city``."""
    return pointer.removeprefix("attributes").strip("/").replace("/", ".") or "profile"


def _joined(problems: Sequence[Problem]) -> Problem:
    if len(problems) == 1:
        return problems[0]
    fields = ", ".join(dict.fromkeys(problem.field for problem in problems))
    return Problem(fields, "; ".join(f"{problem.field}: {problem.reason}" for problem in problems))


def _words(suspects: Sequence[tuple[Record, KlaviyoRequestError]]) -> list[str]:
    return ["; ".join(entry.words for entry in error.errors) or str(error) for _, error in suspects]
