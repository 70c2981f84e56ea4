"""What becomes of rows whose people were sent without a channel: every remark is told when its row has its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from airflow_provider_klaviyo.records.record import Problem
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.mapping import DATE_OF_BIRTH
from airflow_provider_klaviyo.records.subscriptions.record import SubscriptionRecord
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict
from airflow_provider_klaviyo.sync.subscriptions.shared_rows import RowVerdict, SharedRows

_LEFT_OUT = (Outcome.SKIPPED, Outcome.REJECTED)


class _Remark(NamedTuple):
    """Why a channel was left out, and what becomes of a row that asked for nothing else."""

    problem: Problem
    outcome: Outcome


class Remarks:
    """Keeps what is to be told of people, and makes the verdicts of their rows; safe to share among threads."""

    def __init__(self) -> None:
        self._remarks: dict[int, tuple[_Remark, ...]] = {}
        self._shared = SharedRows()

    def add(self, record: SubscriptionRecord, reasons: Sequence[Problem], outcome: Outcome) -> None:
        """Note why channels of a person were left out.

        :param outcome: what becomes of a row that asked for nothing else.
        """
        if reasons:
            remarks = [_Remark(problem, outcome) for problem in reasons]
            self._remarks[record.number] = (*self._remarks.get(record.number, ()), *remarks)

    def verdicts(
        self, record: SubscriptionRecord, outcome: Outcome, problems: tuple[Problem, ...] = ()
    ) -> list[RowVerdict]:
        """What became of the rows that a record stands for, as far as all is known of them."""
        remarks = self._remarks.pop(record.number, ())
        verdicts = []
        for row in record.originals:
            own = [each for each in remarks if row is record or _is_about(each.problem, row)]
            about = problems if row is record else _about(row, problems)
            verdict = _lost(row, own) or outcome
            reasons = (*row.remarks, *(each.problem for each in own), *(about if verdict is outcome else ()))
            verdicts.append(self._shared.add(row, verdict, reasons))
        return [each for each in verdicts if each]

    def accepted(self, people: Sequence[SubscriptionRecord]) -> Settled:
        """What became of people whom Klaviyo took: most are rows of which nothing is to be told."""
        told = [record for record in people if self._is_told_of(record)]
        verdicts = settled([row for record in told for row in self.verdicts(record, Outcome.ACCEPTED)])
        return replace(verdicts, accepted=verdicts.accepted + len(people) - len(told))

    def _is_told_of(self, record: SubscriptionRecord) -> bool:
        is_whole_row = not record.rows and record.shares == 1
        return not is_whole_row or bool(record.remarks) or record.number in self._remarks

    def abandon(self, problem: Problem) -> list[RowVerdict]:
        """The rows of which some parts have no verdict, and will have none."""
        return self._shared.abandon(problem)


def settled(verdicts: Sequence[RowVerdict]) -> Settled:
    """What became of rows, for the report."""
    accepted = [row for row in verdicts if row.outcome is Outcome.ACCEPTED]
    others = [row for row in verdicts if row.outcome is not Outcome.ACCEPTED]
    warnings = [
        Verdict(row.number, row.row, Outcome.WARNING, row.problems) for row in accepted if row.problems
    ]
    return Settled(accepted=len(accepted), verdicts=[*warnings, *(Verdict(*row) for row in others)])


def channel_of(field: str) -> str | None:
    """The channel that a field of the request is about."""
    if field == DATE_OF_BIRTH:
        return "sms"
    for channel, identifier in CHANNELS.items():
        if field == identifier or field.startswith(f"subscriptions.{channel}"):
            return channel
    return None


def _is_about(problem: Problem, row: SubscriptionRecord) -> bool:
    """Whether a row of several that were brought together asked for the channel that a problem is about."""
    return channel_of(problem.field) in (None, *row.channels)


def _about(row: SubscriptionRecord, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """The problems that are a row's; all where none is of its channels."""
    return tuple(each for each in problems if _is_about(each, row)) or problems


def _lost(row: SubscriptionRecord, remarks: Sequence[_Remark]) -> Outcome | None:
    """What becomes of a row all of whose channels were left out; None when something of it was sent."""
    lost = {channel_of(each.problem.field): each.outcome for each in remarks if each.outcome in _LEFT_OUT}
    if not set(row.channels) <= lost.keys():
        return None
    return Outcome.REJECTED if Outcome.REJECTED in lost.values() else Outcome.SKIPPED
