"""Faults on order: what can go wrong between a client and Klaviyo, and when."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

#: Operations whose requests are worked off later.
ASYNCHRONOUS = frozenset(
    (
        "bulk_create_events",
        "bulk_import_profiles",
        "bulk_subscribe_profiles",
        "bulk_suppress_profiles",
        "bulk_unsubscribe_profiles",
        "bulk_unsuppress_profiles",
        "create_event",
    )
)


class FaultKind(StrEnum):
    """What goes wrong."""

    STATUS = "status"
    """An answer with `status` instead of the real one; nothing is processed."""
    STATUS_AFTER = "status_after"
    """The same, but the request is processed."""
    RESET_BEFORE = "reset_before"
    """The connection is reset after the request was read, before it is processed."""
    RESET_AFTER = "reset_after"
    """The request is processed, then the connection is reset without an answer."""
    SLOW = "slow"
    """The answer comes `seconds` later; the request is processed at once."""
    TRICKLE = "trickle"
    """The answer's body comes byte by byte, `seconds` apart."""
    NOT_JSON = "not_json"
    """The request is processed; the answer keeps its status, its body is HTML."""
    POINTERS_ONE = "pointers_one"
    """A 400 names only the first bad record."""
    POINTERS_NONE = "pointers_none"
    """A 400 names no record."""
    REFUSE_RECORDS = "refuse_records"
    """Records whose identifiers contain `match` make a request that is worked off later a 400; with `field` as long as
    they have it."""
    JOB_STUCK = "job_stuck"
    """A bulk import job stays `processing` for ever; what else is worked off later never is."""
    JOB_CANCELLED = "job_cancelled"
    """A bulk import job ends `cancelled` after its first `records` were stored; so does what else is worked off."""
    JOB_FAILS = "job_fails"
    """A bulk import job has import errors for records that contain `match`, else for its first `records`; with `field`
    as long as they have it.

    Without a job such records come to nothing.
    """

    @property
    def is_of_jobs(self) -> bool:
        """Whether it strikes what a request sets in motion, not the answer."""
        return self.value.startswith("job_")

    @property
    def is_of_records(self) -> bool:
        """Whether it strikes single records of a request."""
        return self is FaultKind.REFUSE_RECORDS


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    :param kind: what; its value as a text will do.
    :param operation: operationId that it strikes; None strikes all (jobs, records: all in `ASYNCHRONOUS`).
    :param count: how many times; None until it is removed.
    :param skip: how many calls pass before.
    :param probability: chance of striking a call, drawn with `seed`.
    :param status: status of `status` and `status_after`.
    :param retry_after: `Retry-After` of these: seconds, or a text to send as it is; None leaves it out.
    :param retry_as_date: write the seconds as an HTTP date.
    :param body: body of these and of `not_json`: `json`, `html`, `empty`, or a text to send as it is.
    :param errors: members of `errors` for a JSON body, in place of a plain one.
    :param headers: further headers of the answer; with kind `slow` and no seconds they come with a real answer.
    :param seconds: delay of `slow`; pause between bytes of `trickle`.
    :param records: number of records for `job_fails` and `job_cancelled`.
    :param match: text to be found in a record's identifiers.
    :param field: JSON pointer of the attribute that is refused, from the record's attributes on: `location/city`.
    """

    kind: FaultKind
    operation: str | None = None
    count: int | None = 1
    skip: int = 0
    probability: float = 1.0
    seed: int = 0
    status: int = 500
    retry_after: int | str | None = None
    retry_as_date: bool = False
    body: str = "json"
    errors: tuple[Mapping[str, Any], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    records: int = 0
    match: str = ""
    field: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", FaultKind(self.kind))
        if not 0 <= self.probability <= 1 or self.skip < 0 or self.seconds < 0 or self.records < 0:
            detail = "probability must lie between 0 and 1; skip, seconds and records must not be negative"
            raise ValueError(detail)
        if not 400 <= self.status <= 599:
            detail = f"status must lie between 400 and 599, not {self.status}"
            raise ValueError(detail)

    def strikes_record(self, identifiers: str) -> bool:
        """Whether a record with these identifiers is meant."""
        return bool(self.match) and self.match in identifiers

    def fails(self, index: int, identifiers: str) -> bool:
        """Whether a record of a job comes to nothing: it matches or, where nothing is to be matched, is a first one."""
        return self.strikes_record(identifiers) if self.match else index < self.records


class _Ordered:
    """A fault that was ordered, and how often it may still strike."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.to_skip = fault.skip
        self.left = fault.count
        self.struck = 0
        self._random = random.Random(fault.seed)  # noqa: S311 - dice, not secrets

    def strikes(self, operation_id: str | None) -> bool:
        if self.left == 0 or (self.fault.operation is not None and self.fault.operation != operation_id):
            return False
        if self.to_skip:
            self.to_skip -= 1
            return False
        if self._random.random() >= self.fault.probability:
            return False
        self.left = None if self.left is None else self.left - 1
        self.struck += 1
        return True


class Faults:
    """The faults that are on order."""

    def __init__(self) -> None:
        self._ordered: list[_Ordered] = []
        self._numbers = 0
        self._lock = threading.Lock()

    def order(self, fault: Fault) -> int:
        """Add a fault; its number is the handle to remove it by."""
        with self._lock:
            self._numbers += 1
            self._ordered.append(_Ordered(self._numbers, fault))
            return self._numbers

    def remove(self, number: int) -> bool:
        """Remove one fault; False when there is none of that number."""
        with self._lock:
            kept = [ordered for ordered in self._ordered if ordered.number != number]
            found = len(kept) < len(self._ordered)
            self._ordered = kept
            return found

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._ordered.clear()

    def strike(self, operation_id: str | None) -> tuple[Fault, ...]:
        """The faults that strike a call: at most one of the answer, and any of jobs and records."""
        struck: list[Fault] = []
        with self._lock:
            for ordered in self._ordered:
                kind = ordered.fault.kind
                on_import = kind.is_of_jobs or kind.is_of_records
                taken = any(_is_of_answer(fault) for fault in struck) and _is_of_answer(ordered.fault)
                if taken or (on_import and operation_id not in ASYNCHRONOUS):
                    continue
                if ordered.strikes(operation_id):
                    struck.append(ordered.fault)
        return tuple(struck)

    def listing(self) -> list[dict[str, Any]]:
        """The faults on order with how often each struck."""
        with self._lock:
            return [
                {
                    "number": ordered.number,
                    "struck": ordered.struck,
                    "left": ordered.left,
                    **asdict(ordered.fault),
                }
                for ordered in self._ordered
            ]


def _is_of_answer(fault: Fault) -> bool:
    kind = fault.kind
    return (
        not kind.is_of_jobs
        and not kind.is_of_records
        and kind
        not in (
            FaultKind.POINTERS_ONE,
            FaultKind.POINTERS_NONE,
        )
    )
