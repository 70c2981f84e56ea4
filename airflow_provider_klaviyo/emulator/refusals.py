"""Refusals that several endpoints share."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_klaviyo.emulator.errors import ApiError, Problem, pointer_to
from airflow_provider_klaviyo.emulator.list_store import ProfileList
from airflow_provider_klaviyo.emulator.operations import Call


def refuse_on_order(call: Call, pointer: str, identifiers: Iterable[str]) -> None:
    """Raise the 400 that a fault has on order for some of the records below `pointer`."""
    refusing = [fault for fault in call.faults if fault.kind.is_of_records]
    if not refusing:
        return
    problems = [
        Problem("The profile was refused.", pointer=pointer_to(pointer, index, "attributes"))
        for index, each in enumerate(identifiers)
        if any(fault.strikes_record(each) for fault in refusing)
    ]
    if problems:
        raise ApiError(400, problems)


def named_list(call: Call, list_id: str) -> ProfileList:
    """A list that a body names, or the 400 for one that does not exist."""
    found = call.account.lists.get(list_id)
    if found is None:
        # The pointer as recorded from a live answer; it does not name the list, the words do.
        detail = f"List ID {list_id} does not exist."
        raise ApiError(400, [Problem(detail, pointer="/data")])
    return found
