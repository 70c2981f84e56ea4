"""Deliveries whose records go without the fields that Klaviyo refuses, where nothing else is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.records.record import Problem, R, Record
from airflow_provider_klaviyo.sync.delivery.acknowledgements import Acknowledgements
from airflow_provider_klaviyo.sync.delivery.pointers import FieldPath
from airflow_provider_klaviyo.sync.delivery.pool import InFlightBatch, PooledDelivery
from airflow_provider_klaviyo.sync.delivery.refusals import Objection
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict


class MendingDelivery(PooledDelivery[R]):
    """Sends records without fields that Klaviyo refuses, and tells of them when it has taken the rest.

    A field that comes again is no longer there, so that mending a record comes to an end. What the state is told stays
    the whole row: it would be refused again every night.

    :param identifier: what identifies people; known once the query's columns are.
    :param drops_invalid: whether a record goes without a field that Klaviyo refuses.
    """

    def __init__(
        self,
        client: KlaviyoClient,
        state: Acknowledgements,
        identifier: Callable[[], str],
        *,
        drops_invalid: bool,
    ) -> None:
        super().__init__(client, state)
        self._identifier = identifier
        self._drops_invalid = drops_invalid
        self._remarks: dict[int, tuple[Problem, ...]] = {}

    def _leave_out(self, record: R, paths: Sequence[FieldPath]) -> bool:
        """Take fields from a record; False, and nothing is taken, where it has not all of them or needs one."""
        raise NotImplementedError

    def _mend(self, record: R, objections: Sequence[Objection]) -> R | None:
        """What is left of a record without what Klaviyo refuses; None where it cannot go without that.

        Of one that was forgotten while it waited for its job nothing is left.
        """
        paths = [objection.path for objection in objections]
        if not self._drops_invalid or not record.body or not self._leave_out(record, paths):
            return None
        self._remark(record, [objection.problem for objection in objections])
        return record

    def _remark(self, record: Record, problems: Sequence[Problem]) -> None:
        """Note what is not sent of a record."""
        self._remarks[record.number] = (*self._remarks.get(record.number, ()), *problems)

    def _warnings(self, records: Sequence[Record]) -> list[Verdict]:
        """What was not sent of records that Klaviyo has taken."""
        return [
            Verdict(record.number, record.row, Outcome.WARNING, self._remarks.pop(record.number))
            for record in (records if self._remarks else ())
            if record.number in self._remarks
        ]

    def _publish_refused(self, record: R, problem: Problem, unsettled: InFlightBatch) -> None:
        problems = (*self._remarks.pop(record.number, ()), problem)
        verdict = Verdict(record.number, record.row, Outcome.REJECTED, problems)
        self._publish(Settled(verdicts=[verdict]), [record], unsettled)
