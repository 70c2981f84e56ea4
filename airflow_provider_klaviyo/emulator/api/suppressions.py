"""`/api/profile-suppression-bulk-create-jobs` and `…-delete-jobs`: by address, or everybody on a list.

There are no segments in this account; whoever names one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from airflow_provider_klaviyo.emulator.account.account import Account
from airflow_provider_klaviyo.emulator.account.agenda import spared
from airflow_provider_klaviyo.emulator.account.suppression_jobs import Kind, SuppressionJob
from airflow_provider_klaviyo.emulator.api.operations import Answer, Call, L, Operation, timestamp
from airflow_provider_klaviyo.emulator.api.refusals import imported_list, refuse_on_order
from airflow_provider_klaviyo.emulator.api.resources import flattened, links_of, page, sparse
from airflow_provider_klaviyo.emulator.core.errors import ApiError, Problem, invalid, not_found, pointer_to
from airflow_provider_klaviyo.emulator.core.faults import Fault, FaultKind
from airflow_provider_klaviyo.emulator.requests import documents, identifiers
from airflow_provider_klaviyo.emulator.requests.documents import object_problems
from airflow_provider_klaviyo.emulator.requests.filters import Filterable
from airflow_provider_klaviyo.emulator.requests.profile_schema import Change
from airflow_provider_klaviyo.emulator.requests.query import QueryRules
from airflow_provider_klaviyo.emulator.requests.subscription_schema import PROFILES, relations_of

MAX_PROFILES = 100
#: How many jobs Klaviyo lists on a page is not known, only that nobody may ask for more.
JOBS_ON_PAGE = 20
REASON = "USER_SUPPRESSED"


def _create(call: Call, kind: Kind) -> Answer:
    account = call.account
    emails, list_id = _read(call.body, _type(kind))
    refuse_on_order(call, PROFILES, emails)
    with account.lock:
        now = account.settle()
        if list_id is not None:
            imported_list(call, list_id)
        # A ULID, as a profile's; the numbers are the jobs' own.
        job = SuppressionJob(account.ids.profile(len(account.suppressions), now), kind, now, list_id)
        job.ended = now if account.settings.suppression_jobs == "mislead" else None
        account.suppressions.add(job)
        faults = tuple(fault for fault in call.faults if fault.kind.is_of_jobs)
        if not any(fault.kind is FaultKind.JOB_STUCK for fault in faults):
            account.agenda.add(
                now + account.settings.job_seconds, partial(_work_off, account, job, emails, faults)
            )
        document = {"data": _resource(call, job), "links": {"self": call.self_link}}
    return Answer(202, document, records=max(1, len(emails)))


def _work_off(
    account: Account, job: SuppressionJob, emails: list[str], faults: tuple[Fault, ...], at: float
) -> None:
    meant = emails if job.list_id is None else list(_members(account, job.list_id))
    job.total = len(meant)
    for email in spared(meant, faults, str):
        if _suppress(account, email, at) if job.kind == "create" else _unsuppress(account, email):
            job.completed += 1
        else:
            job.skipped += 1
    if account.settings.suppression_jobs == "mislead":
        job.completed, job.skipped = 0, job.total
        return
    is_cut = any(fault.kind is FaultKind.JOB_CANCELLED for fault in faults)
    job.status, job.ended = ("cancelled" if is_cut else "complete"), at


def _members(account: Account, list_id: str) -> Iterable[str]:
    found = account.lists.get(list_id)
    for number in found.members if found is not None else ():
        email = account.profiles[number].email
        if email is not None:
            yield email


def _suppress(account: Account, email: str, at: float) -> bool:
    """Suppress an address, known or not; False when it is already."""
    profile = account.profiles.holder("email", email)
    if profile is None:
        profile = account.profiles.create(Change(email=email.lower()), at)
    is_new = REASON not in account.consents.suppressions(profile.number)
    account.consents.suppress(profile.number, REASON, at)
    return is_new


def _unsuppress(account: Account, email: str) -> bool:
    """Lift a suppression by hand, and no other; False when there is none."""
    profile = account.profiles.holder("email", email)
    if profile is None or REASON not in account.consents.suppressions(profile.number):
        return False
    account.consents.lift(profile.number, (REASON,))
    return True


# ------------------------------------------------------------------------------------------------------------


def _read(body: bytes, kind: str) -> tuple[list[str], str | None]:
    """Addresses, or a list, or the 400: a request names people in one way only."""
    data = documents.resource_of(
        documents.decode(body), kind, required=("type", "attributes"), optional=("relationships",)
    )
    attributes = data["attributes"]
    problems = [*object_problems(attributes, "/data/attributes", optional=("profiles",), resource=kind)]
    given = attributes if isinstance(attributes, dict) else {}
    by_address = given.get("profiles") is not None
    relations = relations_of(data, ("list", "segment"), problems)
    resources = (
        documents.members_of(given, "/data/attributes", "profiles", MAX_PROFILES, problems)
        if by_address
        else []
    )
    emails = [_email(resource, pointer_to(PROFILES, at), problems) for at, resource in enumerate(resources)]
    if not problems and by_address + len(relations) != 1:
        problems.append(Problem("Name profiles, or a list, or a segment.", pointer="/data"))
    if problems:
        raise ApiError(400, problems)
    if "segment" in relations:
        detail = f"Segment ID {relations['segment']} does not exist."
        raise invalid(detail, "/data")
    return emails, relations.get("list")


def _email(resource: Any, pointer: str, problems: list[Problem]) -> str:
    inside = pointer_to(pointer, "attributes")
    found = [*documents.resource_problems(resource, pointer, "profile")]
    if not found:
        found = [*object_problems(resource["attributes"], inside, required=("email",), resource="profile")]
    email = "" if found else resource["attributes"]["email"]
    if not found and not (isinstance(email, str) and _is_suppressible(email)):
        found = [Problem(identifiers.BAD_EMAIL, pointer=pointer_to(inside, "email"))]
    problems += found
    return str(email)


# ------------------------------------------------------------------------------------------------------------


def _is_suppressible(email: str) -> bool:
    """Stricter than elsewhere, as recorded by a client in production."""
    local = email.rpartition("@")[0]
    return identifiers.is_email(email) and not set("#*&") & set(local)


def _type(kind: Kind) -> str:
    return f"profile-suppression-bulk-{kind}-job"


def _attributes(job: SuppressionJob) -> dict[str, Any]:
    return {
        "status": job.status,
        "created_at": timestamp(job.created),
        "total_count": job.total,
        "completed_count": job.completed,
        "completed_at": timestamp(job.ended),
        "skipped_count": job.skipped,
    }


def _resource(call: Call, job: SuppressionJob) -> dict[str, Any]:
    kind = _type(job.kind)
    path = f"/api/{kind}s/{job.id}"
    lists = [] if job.list_id is None else [{"type": "list", "id": job.list_id}]
    return {
        "type": kind,
        "id": job.id,
        "attributes": sparse(_attributes(job), call.query.fields.get(kind)),
        "relationships": {
            "lists": {"data": lists, **links_of(call.root, path, "lists")},
            "segments": {"data": [], **links_of(call.root, path, "segments")},
        },
        "links": {"self": f"{call.root}{path}/"},
    }


def _list_jobs(call: Call, kind: Kind) -> Answer:
    with call.account.lock:
        call.account.settle()
        jobs = [
            job
            for job in call.account.suppressions.of(kind)
            if all(
                each.matches(job.status if each.field == "status" else job.list_id)
                for each in call.query.filter
            )
        ]
        is_descending = call.query.sort == "-created"
        document = page(
            call,
            jobs[::-1] if is_descending else jobs,
            resource=partial(_resource, call),
            position=lambda job: job.number,
            is_descending=is_descending,
        )
        return Answer(200, document)


def _get_job(call: Call, kind: Kind) -> Answer:
    with call.account.lock:
        call.account.settle()
        job = call.account.suppressions.get(kind, call.path["job_id"])
        if job is None:
            detail = f"A {_type(kind)} with id {call.path['job_id']} does not exist."
            raise not_found(detail)
        return Answer(200, {"data": _resource(call, job), "links": {"self": call.self_link}})


_FIELDS = flattened(_attributes(SuppressionJob("", "create", 0.0, None))) | {"id"}
_FILTERS = {
    "status": Filterable(("equals",), values=frozenset(("queued", "processing", "complete", "cancelled"))),
    "list_id": Filterable(("equals",)),
}
_READS = ("subscriptions:read",)


def _operations(kind: Kind, verb: str, scopes: tuple[str, ...]) -> tuple[Operation, ...]:
    path = f"/api/{_type(kind)}s"
    fields = QueryRules(fields={_type(kind): _FIELDS})
    listing = QueryRules(
        fields=fields.fields, filters=_FILTERS, sort=("created", "-created"), fixed_page=JOBS_ON_PAGE
    )
    return (
        Operation(
            f"bulk_{verb}_profiles",
            "POST",
            path,
            scopes,
            L,
            partial(_create, kind=kind),
            fields,
            has_body=True,
        ),
        Operation(
            f"get_bulk_{verb}_profiles_jobs", "GET", path, _READS, L, partial(_list_jobs, kind=kind), listing
        ),
        Operation(
            f"get_bulk_{verb}_profiles_job",
            "GET",
            path + "/{job_id}",
            _READS,
            L,
            partial(_get_job, kind=kind),
            fields,
        ),
    )


OPERATIONS = (
    *_operations("create", "suppress", ("profiles:write", "subscriptions:write")),
    *_operations("delete", "unsuppress", ("subscriptions:write",)),
)
