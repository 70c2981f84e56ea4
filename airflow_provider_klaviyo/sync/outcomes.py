"""What becomes of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from airflow_provider_klaviyo.masking import mask, mask_row
from airflow_provider_klaviyo.records.record import Problem, Record, Row


class Outcome(StrEnum):
    """The verdict on a row, as the report counts it and the rejects file names it."""

    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    REJECTED = "rejected"
    PENDING = "pending"
    WARNING = "warning"
    """Not a verdict of its own: the row was sent without the named fields."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome other than accepted, with the reasons for it."""

    number: int
    row: Row
    outcome: Outcome
    problems: tuple[Problem, ...]


def reason_told(problem: Problem, row: Row, columns: Sequence[str]) -> str:
    """The reason as a log or a report may tell it; only the rejects file has it whole.

    :param columns: the query's, which may be named.
    """
    return mask_row(problem.reason, row, columns) if problem.is_klaviyos else mask(problem.reason)


class OpenJob(NamedTuple):
    """A job of Klaviyo's without a result; ``rows`` are the first and the last of its rows in the query's result."""

    id: str
    profiles: int
    rows: str


class HandedOver(NamedTuple):
    """A job without a verdict, as another worker can settle it; ``first`` and ``last`` are numbers of rows.

    :param size: how many records it took.
    :param ticket: what stands for its records in the state.
    :param started: seconds since the epoch, by the clock of the worker that started it.
    :param kind: the name of its kind; empty in what a release wrote down that knew profile imports only.
    """

    id: str
    size: int
    first: int
    last: int
    ticket: int
    started: float
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of some records that were handed to a delivery.

    :param accepted: how many of them Klaviyo took.
    :param unchanged: how many were not sent, since Klaviyo has them so already.
    :param verdicts: the others, one by one, and warnings on accepted ones.
    """

    accepted: int = 0
    unchanged: int = 0
    verdicts: Sequence[Verdict] = ()


def all_pending(records: Sequence[Record], reason: str) -> Settled:
    """No verdict for anybody, for one reason."""
    return Settled(verdicts=pending(records, [reason] * len(records)))


def pending(records: Sequence[Record], reasons: Sequence[str]) -> list[Verdict]:
    """No verdict for these, each for a reason of its own."""
    return [
        Verdict(record.number, record.row, Outcome.PENDING, (Problem("", reason),))
        for record, reason in zip(records, reasons, strict=True)
    ]
