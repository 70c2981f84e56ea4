"""The kinds of jobs that the package knows, by the names that are written down with open jobs."""

from __future__ import annotations

from airflow_provider_klaviyo.client.jobs import JobKind
from airflow_provider_klaviyo.client.profile_imports import PROFILE_IMPORTS
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError

KINDS: dict[str, JobKind] = {PROFILE_IMPORTS.name: PROFILE_IMPORTS}


def job_kind(name: str) -> JobKind:
    """The kind of a job that was written down.

    :param name: empty for a job that a release wrote down which knew profile imports only.
    :raises KlaviyoConfigurationError: when this release does not know the kind.
    """
    if not name:
        return PROFILE_IMPORTS
    try:
        return KINDS[name]
    except KeyError:
        msg = f"Jobs of the kind {name!r} are not known to this release: upgrade the package."
        raise KlaviyoConfigurationError(msg) from None
