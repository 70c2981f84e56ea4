"""Delivery of single profiles: the only call that clears standard fields."""

from __future__ import annotations

from airflow_provider_klaviyo.client.answers import Answer, read_document
from airflow_provider_klaviyo.client.endpoints import IMPORT_PROFILE, Endpoint
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.sync.outcomes import Outcome, Settled, Verdict


def single_body(profile: bytes) -> bytes:
    """The request that upserts one encoded profile."""
    return b'{"data":' + profile + b"}"


def import_one(client: KlaviyoClient, record: Record) -> Settled:
    """Upsert one profile; the answer is its verdict.

    :raises KlaviyoRequestError: when Klaviyo refuses it.
    """
    dropped = client.send(IMPORT_PROFILE, body=single_body(record.body), read=_read_partial_failure)
    if not dropped:
        return Settled(accepted=1)
    left_out = (Problem(dropped, "Klaviyo took the profile without this field"),)
    return Settled(accepted=1, verdicts=[Verdict(record.number, record.row, Outcome.WARNING, left_out)])


def _read_partial_failure(endpoint: Endpoint, answer: Answer) -> str:
    read_document(endpoint, answer)
    return answer.partial_failure
