"""Delivery of single profiles: the only call that clears standard fields."""

from __future__ import annotations

from airflow_provider_klaviyo.client.answers import Answer, read_document
from airflow_provider_klaviyo.client.endpoints import IMPORT_PROFILE, Endpoint
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import KlaviyoRequestError
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict
from airflow_provider_klaviyo.sync.refusals import field_name

_ABOUT_THE_RECORD = (400, 404, 409, 413, 422)


def single_body(profile: bytes) -> bytes:
    """The request that upserts one encoded profile."""
    return b'{"data":' + profile + b"}"


def import_one(client: KlaviyoClient, record: Record) -> Settled:
    """Upsert one profile; its verdict is the answer.

    :raises KlaviyoError: when the refusal is not about the record.
    """
    try:
        dropped = client.send(IMPORT_PROFILE, body=single_body(record.body), read=_read_partial_failure)
    except KlaviyoRequestError as error:
        if error.status not in _ABOUT_THE_RECORD:
            raise
        return Settled(verdicts=[_verdict(record, Outcome.REJECTED, _problems(error))])
    if not dropped:
        return Settled(accepted=1)
    left_out = (Problem(dropped, "Klaviyo took the profile without this field"),)
    return Settled(accepted=1, verdicts=[_verdict(record, Outcome.WARNING, left_out)])


def _read_partial_failure(endpoint: Endpoint, answer: Answer) -> str:
    read_document(endpoint, answer)
    return answer.partial_failure


def _problems(error: KlaviyoRequestError) -> tuple[Problem, ...]:
    prefix = f"{IMPORT_PROFILE.records}/"
    return tuple(
        Problem(field_name(entry.pointer.removeprefix(prefix)), f"Klaviyo refused it: {entry.words}")
        for entry in error.errors
    ) or (Problem("profile", str(error)),)


def _verdict(record: Record, outcome: Outcome, problems: tuple[Problem, ...]) -> Verdict:
    return Verdict(record.number, record.row, outcome, problems)
