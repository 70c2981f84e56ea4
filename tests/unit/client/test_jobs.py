"""What is told of jobs, whatever their kind."""

from __future__ import annotations

import pytest

from airflow_provider_klaviyo.client.job_kinds import job_kind
from airflow_provider_klaviyo.client.jobs import Job, JobStatus
from airflow_provider_klaviyo.client.profile_imports import PROFILE_IMPORTS
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0 import jobs"), (1, "1 import job"), (2, "2 import jobs"), (1_200, "1,200 import jobs")],
)
def test_one_job_is_called_one(number: int, told: str) -> None:
    assert PROFILE_IMPORTS.counted(number) == told


@pytest.mark.parametrize(
    ("status", "seconds", "is_settled"),
    [
        (JobStatus.QUEUED, 3_600, False),
        (JobStatus.PROCESSING, 3_600, False),
        (JobStatus.COMPLETE, 0, True),
        (JobStatus.CANCELLED, 0, True),
        (JobStatus.UNKNOWN, 59, False),
        (JobStatus.UNKNOWN, 60, True),
    ],
)
def test_a_job_that_klaviyo_does_not_know_may_be_too_new_at_first(
    status: JobStatus, seconds: float, is_settled: bool
) -> None:
    assert PROFILE_IMPORTS.is_settled(Job("j1", status, None, None, None), seconds) is is_settled


def test_a_job_is_of_the_kind_that_was_written_down_with_it() -> None:
    assert job_kind("profile-bulk-import-job") is PROFILE_IMPORTS
    assert job_kind("") is PROFILE_IMPORTS, "a build that knew no other kind wrote none"
    with pytest.raises(KlaviyoConfigurationError, match="upgrade the package"):
        job_kind("profile-bulk-export-job")
