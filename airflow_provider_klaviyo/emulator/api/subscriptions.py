"""`/api/profile-subscription-bulk-create-jobs` and `…-delete-jobs`: asked for now, worked off a little later.

Neither answers with a job: what became of a request shows in people's consent and on the list only.
"""

from __future__ import annotations

from airflow_provider_klaviyo.emulator.account.agenda import spared
from airflow_provider_klaviyo.emulator.account.subscription_rules import Subscribing
from airflow_provider_klaviyo.emulator.account.unsubscription_rules import unsubscribe
from airflow_provider_klaviyo.emulator.api.operations import Answer, Call, L, Operation
from airflow_provider_klaviyo.emulator.api.refusals import refuse_on_order, related_list
from airflow_provider_klaviyo.emulator.api.subscription_dates import date_problems
from airflow_provider_klaviyo.emulator.core.errors import ApiError, Problem, pointer_to
from airflow_provider_klaviyo.emulator.requests.subscription_schema import (
    PROFILES,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Form,
    Wish,
    Wishes,
    read_wishes,
)


def _subscribe(call: Call) -> Answer:
    account = call.account
    wishes = _read(call, SUBSCRIBE)
    with account.lock:
        now = account.settle()
        process = account.settings.default_opt_in
        if wishes.list_id is not None:
            process = related_list(call, wishes.list_id).opt_in_process
        _refuse_unknown_ids(call, wishes)
        if problems := date_problems(account, wishes):
            raise ApiError(400, problems)
        asks = process == "double_opt_in" and not wishes.is_historical
        subscribing = Subscribing(account, wishes, asks)
        records = _worked_off(call, wishes)
        seconds = account.settings.seconds_to_subscribe(is_historical=wishes.is_historical)
        account.agenda.add(now + seconds, lambda due: subscribing.work_off(records, due))
    return Answer(202, records=len(wishes.records))


def _unsubscribe(call: Call) -> Answer:
    account = call.account
    wishes = _read(call, UNSUBSCRIBE)
    with account.lock:
        now = account.settle()
        if wishes.list_id is not None:
            related_list(call, wishes.list_id)
        records = _worked_off(call, wishes)
        account.agenda.add(
            now + account.settings.subscription_seconds,
            lambda due: unsubscribe(account, wishes, records, due),
        )
    return Answer(202, records=len(wishes.records))


def _read(call: Call, form: Form) -> Wishes:
    wishes = read_wishes(call.body, form, call.account.settings, call.account.clock.now())
    refuse_on_order(call, PROFILES, map(Wish.identifiers, wishes.records))
    return wishes


def _worked_off(call: Call, wishes: Wishes) -> list[Wish]:
    return spared(wishes.records, call.faults, Wish.identifiers)


def _refuse_unknown_ids(call: Call, wishes: Wishes) -> None:
    problems = [
        Problem(f"A profile with id {wish.id} does not exist.", pointer=pointer_to(PROFILES, index, "id"))
        for index, wish in enumerate(wishes.records)
        if wish.id is not None and call.account.profiles.with_id(wish.id) is None
    ]
    if problems:
        raise ApiError(400, problems)


_SCOPES = ("lists:write", "profiles:write", "subscriptions:write")

OPERATIONS = (
    Operation(
        "bulk_subscribe_profiles",
        "POST",
        "/api/profile-subscription-bulk-create-jobs",
        _SCOPES,
        L,
        _subscribe,
        has_body=True,
    ),
    Operation(
        "bulk_unsubscribe_profiles",
        "POST",
        "/api/profile-subscription-bulk-delete-jobs",
        _SCOPES,
        L,
        _unsubscribe,
        has_body=True,
    ),
)
