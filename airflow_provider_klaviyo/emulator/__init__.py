"""A local Klaviyo for demos and tests: `python -m airflow_provider_klaviyo.emulator`.

Written from Klaviyo's OpenAPI file (revision 2026-07-15) and its documentation, and from nothing of this package's
client: limits and shapes stand here a second time, so that the client's mistakes show. Where Klaviyo's behaviour is
not known it takes the stricter one.
"""

from __future__ import annotations

from airflow_provider_klaviyo.emulator.account.consent_audit import Incident, IncidentKind
from airflow_provider_klaviyo.emulator.core.faults import Fault, FaultKind
from airflow_provider_klaviyo.emulator.core.settings import (
    ALL_SCOPES,
    Clock,
    ManualClock,
    Settings,
    SystemClock,
)
from airflow_provider_klaviyo.emulator.server.emulator import Emulator
from airflow_provider_klaviyo.emulator.server.request_log import LoggedRequest

__all__ = [
    "ALL_SCOPES",
    "Clock",
    "Emulator",
    "Fault",
    "FaultKind",
    "Incident",
    "IncidentKind",
    "LoggedRequest",
    "ManualClock",
    "Settings",
    "SystemClock",
]
