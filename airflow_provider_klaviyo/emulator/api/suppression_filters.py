"""Filters of profiles by suppression.

Source: OpenAPI 2026-07-15, get_profiles; rules of their combination from the guide "Collect email and SMS consent via
API": global and list filters do not mix, one date at the most, list filters name their list.
"""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_klaviyo.emulator.account.consent_store import REASONS, ConsentStore
from airflow_provider_klaviyo.emulator.core.errors import invalid_parameter
from airflow_provider_klaviyo.emulator.requests.filters import Comparison, Filterable

_GLOBAL = "subscriptions.email.marketing.suppression."
_LIST = "subscriptions.email.marketing.list_suppressions."
_INSTANTS = ("greater-or-equal", "greater-than", "less-or-equal", "less-than")

FILTERS = {
    _GLOBAL + "reason": Filterable(("equals",), values=frozenset(REASONS)),
    _GLOBAL + "timestamp": Filterable(_INSTANTS, "datetime"),
    _LIST + "reason": Filterable(("equals",), values=frozenset(REASONS)),
    _LIST + "timestamp": Filterable(_INSTANTS, "datetime"),
    _LIST + "list_id": Filterable(("equals",)),
}


class SuppressionFilter:
    """The part of a filter that is about suppressions; one and the same suppression must fulfil all of it."""

    def __init__(self, conditions: Iterable[Comparison]) -> None:
        self._conditions = tuple(each for each in conditions if each.field in FILTERS)
        names = [each.field for each in self._conditions]
        self._on_lists = any(name.startswith(_LIST) for name in names)
        if self._on_lists and any(name.startswith(_GLOBAL) for name in names):
            detail = "Filters on global suppressions and on list suppressions cannot be mixed."
            raise invalid_parameter(detail, "filter")
        if self._on_lists and _LIST + "list_id" not in names:
            detail = "A list_id is required to filter on list suppressions."
            raise invalid_parameter(detail, "filter")
        if sum(name.endswith(".timestamp") for name in names) > 1:
            detail = "Only a single date filter on suppressions is allowed."
            raise invalid_parameter(detail, "filter")

    def __bool__(self) -> bool:
        return bool(self._conditions)

    def candidates(self, consents: ConsentStore) -> Iterable[int]:
        """The numbers of profiles that could match."""
        return consents.suppressed(on_lists=self._on_lists)

    def matches(self, consents: ConsentStore, number: int) -> bool:
        """Whether somebody has such a suppression."""
        if self._on_lists:
            listed = consents.list_suppressions(number).items()
            return any(self._fits(each.reason, each.at, list_id) for list_id, each in listed)
        return any(self._fits(reason, at) for reason, at in consents.suppressions(number).items())

    def _fits(self, reason: str, at: float, list_id: str | None = None) -> bool:
        values: dict[str, str | float | None] = {"reason": reason, "timestamp": at, "list_id": list_id}
        return all(each.matches(values[each.field.rpartition(".")[2]]) for each in self._conditions)
