"""`/api/profile-bulk-import-jobs`: ten thousand profiles at a time, asynchronously."""

from __future__ import annotations

from typing import Any

from airflow_provider_klaviyo.emulator.account.import_jobs import ImportJob, ImportProblem, identifiers_of
from airflow_provider_klaviyo.emulator.api.operations import Answer, Call, M, Operation, timestamp
from airflow_provider_klaviyo.emulator.api.profile_resources import (
    ADDITIONAL,
    FIELDS,
    LIST_FIELDS,
    PAGE,
    list_resource,
    profile_resource,
)
from airflow_provider_klaviyo.emulator.api.refusals import imported_list, refuse_on_order
from airflow_provider_klaviyo.emulator.api.repeated_values import repeating
from airflow_provider_klaviyo.emulator.api.resources import flattened, links_of, page, sparse
from airflow_provider_klaviyo.emulator.core.errors import not_found, pointer_to
from airflow_provider_klaviyo.emulator.requests.bulk_body import PROFILES, read_bulk
from airflow_provider_klaviyo.emulator.requests.filters import Filterable
from airflow_provider_klaviyo.emulator.requests.query import QueryRules

JOBS = "/api/profile-bulk-import-jobs"
_ERROR_FIELDS = frozenset(("code", "detail", "id", "original_payload", "source", "source.pointer", "title"))


def _attributes(job: ImportJob, *, counts_failures: bool = True) -> dict[str, Any]:
    uncounted = 0 if counts_failures else len(job.errors)
    is_started = job.status not in ("queued", "cancelled") or job.completed is not None
    return {
        "status": job.status,
        "created_at": timestamp(job.created),
        "total_count": job.total,
        "completed_count": job.imported + uncounted,
        "failed_count": len(job.errors) - uncounted,
        "completed_at": timestamp(job.completed),
        "expires_at": timestamp(job.expires),
        "started_at": timestamp(job.starts) if is_started else None,
    }


_JOB_FIELDS = flattened(_attributes(ImportJob("", 0.0, 0.0, 0, [], []))) | {"id"}


def _resource(call: Call, job: ImportJob) -> dict[str, Any]:
    path = f"{JOBS}/{job.id}"
    lists = [{"type": "list", "id": list_id} for list_id in job.list_ids]
    errors = links_of(call.root, path, "import-errors")["links"]
    attributes = _attributes(job, counts_failures=call.account.settings.counts_failures)
    return {
        "type": "profile-bulk-import-job",
        "id": job.id,
        "attributes": sparse(attributes, call.query.fields.get("profile-bulk-import-job")),
        "relationships": {
            "lists": {"data": lists, **links_of(call.root, path, "lists")},
            "profiles": links_of(call.root, path, "profiles"),
            "import-errors": {"links": {"related": errors["related"]}},
        },
        "links": {"self": f"{call.root}{path}/"},
    }


def _create(call: Call) -> Answer:
    account = call.account
    body = read_bulk(call.body, account.settings)
    refuse_on_order(call, PROFILES, map(identifiers_of, body.changes))
    with account.lock:
        now = account.settle()
        for list_id in body.list_ids:
            imported_list(call, list_id)
        job = ImportJob(
            id=account.ids.job(now),
            created=now,
            seconds=account.settings.job_seconds,
            total=len(body.changes),
            changes=body.changes,
            list_ids=body.list_ids,
            faults=tuple(fault for fault in call.faults if fault.kind.is_of_jobs),
        )
        account.jobs.add(job)
        document = {"data": _resource(call, job), "links": {"self": call.self_link}}
    return Answer(202, document, records=job.total)


def _job(call: Call, job_id: str) -> ImportJob:
    call.account.settle()
    job = call.account.jobs.get(job_id)
    if job is None:
        detail = f"A profile-bulk-import-job with id {job_id} does not exist."
        raise not_found(detail)
    return job


def _list_jobs(call: Call) -> Answer:
    with call.account.lock:
        call.account.settle()
        jobs = [
            job for job in call.account.jobs if all(each.matches(job.status) for each in call.query.filter)
        ]
        is_descending = call.query.sort == "-created_at"
        document = page(
            call,
            jobs[::-1] if is_descending else jobs,
            resource=lambda job: _resource(call, job),
            position=lambda job: job.number,
            is_descending=is_descending,
        )
    return Answer(200, document)


def _get_job(call: Call) -> Answer:
    with call.account.lock:
        job = _job(call, call.path["job_id"])
        document: dict[str, Any] = {"data": _resource(call, job), "links": {"self": call.self_link}}
        if "lists" in call.query.include:
            document["included"] = _lists_of(call, job)
    return Answer(200, document)


def _lists_of(call: Call, job: ImportJob) -> list[dict[str, Any]]:
    lists = [call.account.lists.get(list_id) for list_id in job.list_ids]
    return [list_resource(call, each) for each in lists if each is not None]


def _get_lists(call: Call) -> Answer:
    with call.account.lock:
        job = _job(call, call.path["id"])
        links = {"self": call.self_link, "next": None, "prev": None}
        return Answer(200, {"data": _lists_of(call, job), "links": links})


def _get_list_ids(call: Call) -> Answer:
    with call.account.lock:
        job = _job(call, call.path["id"])
        links = {"self": call.self_link, "next": None, "prev": None}
        data = [{"type": "list", "id": list_id} for list_id in job.list_ids]
        return Answer(200, {"data": data, "links": links})


def _get_errors(call: Call) -> Answer:
    with call.account.lock:
        job = _job(call, call.path["id"])
        document = page(
            call,
            job.errors,
            resource=lambda error: _error(call, job, error),
            position=lambda error: error.index,
        )
    return Answer(200, document)


def _error(call: Call, job: ImportJob, error: ImportProblem) -> dict[str, Any]:
    shows = call.account.settings.import_errors
    pointers = {"payload": "/data", "crossed": pointer_to(PROFILES, (error.index + 1) % max(job.total, 1))}
    is_told = call.account.settings.repeats_values
    attributes = {
        "code": error.code,
        "title": error.title,
        "detail": repeating(error.detail, error.payload) if is_told else error.detail,
        "source": {"pointer": pointers.get(shows, error.pointer)},
        "original_payload": error.payload if shows != "pointer" else None,
    }
    kept = sparse(attributes, call.query.fields.get("import-error"))
    return {"type": "import-error", "id": f"{job.id}-{error.index}", "attributes": kept}


def _get_profiles(call: Call) -> Answer:
    return _members(call, is_whole=True)


def _get_profile_ids(call: Call) -> Answer:
    return _members(call, is_whole=False)


def _members(call: Call, *, is_whole: bool) -> Answer:
    profiles = call.account.profiles
    with call.account.lock:
        job = _job(call, call.path["id"])

        def resource(row: tuple[int, int]) -> dict[str, Any]:
            profile = profiles[row[1]]
            return (
                profile_resource(call, profile)
                if is_whole
                else {"type": "profile", "id": profiles.id_of(profile)}
            )

        document = page(call, enumerate(job.profiles), resource=resource, position=lambda row: row[0])
    return Answer(200, document)


_JOB_QUERY = QueryRules(fields={"profile-bulk-import-job": _JOB_FIELDS})
_WRITES, _READS = ("lists:write", "profiles:write"), ("lists:read", "profiles:read")
_STATUSES = frozenset(("queued", "processing", "complete"))

OPERATIONS = (
    Operation("bulk_import_profiles", "POST", JOBS, _WRITES, M, _create, _JOB_QUERY, has_body=True),
    Operation(
        "get_bulk_import_profiles_jobs",
        "GET",
        JOBS,
        _READS,
        M,
        _list_jobs,
        QueryRules(
            fields={"profile-bulk-import-job": _JOB_FIELDS},
            filters={"status": Filterable(("any", "equals"), values=_STATUSES)},
            sort=("created_at", "-created_at"),
            page=PAGE,
        ),
    ),
    Operation(
        "get_bulk_import_profiles_job",
        "GET",
        JOBS + "/{job_id}",
        _READS,
        M,
        _get_job,
        QueryRules(
            fields={"profile-bulk-import-job": _JOB_FIELDS, "list": LIST_FIELDS},
            include=frozenset(("lists",)),
        ),
    ),
    Operation(
        "get_errors_for_bulk_import_profiles_job",
        "GET",
        JOBS + "/{id}/import-errors",
        ("profiles:read",),
        M,
        _get_errors,
        QueryRules(fields={"import-error": _ERROR_FIELDS}, page=PAGE),
    ),
    Operation(
        "get_list_for_bulk_import_profiles_job",
        "GET",
        JOBS + "/{id}/lists",
        ("lists:read",),
        M,
        _get_lists,
        QueryRules(fields={"list": LIST_FIELDS}),
    ),
    Operation(
        "get_list_ids_for_bulk_import_profiles_job",
        "GET",
        JOBS + "/{id}/relationships/lists",
        ("lists:read",),
        M,
        _get_list_ids,
    ),
    Operation(
        "get_profiles_for_bulk_import_profiles_job",
        "GET",
        JOBS + "/{id}/profiles",
        ("profiles:read",),
        M,
        _get_profiles,
        QueryRules(fields={"profile": FIELDS}, additional={"profile": ADDITIONAL}, page=PAGE),
    ),
    Operation(
        "get_profile_ids_for_bulk_import_profiles_job",
        "GET",
        JOBS + "/{id}/relationships/profiles",
        ("profiles:read",),
        M,
        _get_profile_ids,
        QueryRules(page=PAGE),
    ),
)
