"""Refusals that several endpoints share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_provider_klaviyo.emulator.account.list_store import ProfileList
from airflow_provider_klaviyo.emulator.api.operations import Call
from airflow_provider_klaviyo.emulator.core.errors import ApiError, Problem, pointer_to
from airflow_provider_klaviyo.emulator.core.faults import Fault
from airflow_provider_klaviyo.emulator.requests import documents


def refuse_on_order(call: Call, pointer: str, identifiers: Iterable[str]) -> None:
    """Raise the 400 that a fault has on order for some of the records below `pointer`."""
    refusing = [fault for fault in call.faults if fault.kind.is_of_records]
    if not refusing:
        return
    document = documents.decode(call.body)
    problems = [
        problem
        for index, each in enumerate(identifiers)
        for fault in refusing
        if fault.strikes_record(each)
        and (problem := problem_on_order(fault, document, pointer_to(pointer, index, "attributes")))
    ]
    if problems:
        raise ApiError(400, problems)


def problem_on_order(fault: Fault, document: Any, pointer: str) -> Problem | None:
    """What a fault has against the record whose attributes a pointer means; None where the field is not there."""
    if not fault.field:
        return Problem("The record was refused.", pointer=pointer)
    field = f"{pointer}/{fault.field}"
    return Problem("The value was refused.", pointer=field) if documents.is_there(document, field) else None


def imported_list(call: Call, list_id: str) -> ProfileList:
    """A list that a bulk import names, or the 400 for one that does not exist; as seen on real accounts."""
    return _list(call, list_id, f"List ID {list_id} does not exist.", "/data")


def related_list(call: Call, list_id: str) -> ProfileList:
    """The same for the list of a request about consent."""
    return _list(call, list_id, f"List not found with id {list_id}.", "/data/relationships/list/data/id")


def _list(call: Call, list_id: str, detail: str, pointer: str) -> ProfileList:
    found = call.account.lists.get(list_id)
    if found is None:
        raise ApiError(400, [Problem(detail, pointer=pointer)])
    return found
