"""A second kind of job, which only the tests know: people are suppressed by jobs too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.job_kinds import KINDS
from airflow_provider_klaviyo.client.jobs import Job, JobKind, Listing, count, mapping, read_job
from airflow_provider_klaviyo.client.rate_limit_slots import Rate
from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.keys import person_hash

NAME = "profile-suppression-bulk-create-job"
_PATH = f"/api/{NAME}s"
_RATES = (Rate(75, 1.0), Rate(750, 60.0))
_READS = ("subscriptions:read",)


def suppression(email: str) -> bytes:
    return json.dumps({"type": "profile", "attributes": {"email": email}}).encode()


def people(*numbers: int) -> list[Record]:
    """The records of p<number>@shop.io, as a mapper makes them."""
    return [
        Record(
            n,
            (n, email),
            email,
            suppression(email),
            key=n,
            person=person_hash(Identity("email", email)),
        )
        for n, email in ((n, f"p{n}@shop.io") for n in numbers)
    ]


def suppressed(klaviyo: Emulator) -> set[str]:
    return {
        profile["email"]
        for profile in klaviyo.profiles()
        if klaviyo.subscriptions(profile["id"])["email"]["marketing"]["suppression"]
    }


def _body(suppressions: Sequence[bytes]) -> bytes:
    listed = b",".join(suppressions)
    return b'{"data":{"type":"%s","attributes":{"profiles":{"data":[%s]}}}}' % (NAME.encode(), listed)


def _read(resource: Mapping[str, object]) -> Job:
    """Who was suppressed before is counted as skipped, and is as they should be."""
    job = read_job(resource)
    skipped = count(mapping(resource["attributes"]), "skipped_count") or 0
    return replace(job, completed=(job.completed or 0) + skipped, failed=0)


SUPPRESSIONS = JobKind(
    name=NAME,
    noun="suppression job",
    record="person",
    start=Endpoint(
        "bulk_suppress_profiles",
        "POST",
        _PATH,
        ("profiles:write", "subscriptions:write"),
        _RATES,
        max_records=100,
        records="/data/attributes/profiles/data",
    ),
    one=Endpoint("get_bulk_suppress_profiles_job", "GET", f"{_PATH}/{{id}}", _READS, _RATES),
    newest=Listing(
        Endpoint("get_bulk_suppress_profiles_jobs", "GET", _PATH, _READS, _RATES), {"sort": "-created"}, 20
    ),
    errors=None,
    body=_body,
    read=_read,
)


@contextmanager
def known() -> Iterator[JobKind]:
    """Within, the package knows the kind."""
    before = dict(KINDS)
    KINDS[NAME] = SUPPRESSIONS
    try:
        yield SUPPRESSIONS
    finally:
        KINDS.clear()
        KINDS.update(before)
