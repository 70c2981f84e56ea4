"""A local Klaviyo for demos and tests: `python -m airflow_provider_klaviyo.emulator`.

Written from Klaviyo's OpenAPI file (revision 2026-07-15) and its documentation, and from nothing of this package's
client: limits and shapes stand here a second time, so that the client's mistakes show. Where Klaviyo's behaviour is
not known it takes the stricter one.
"""

from __future__ import annotations

from airflow_provider_klaviyo.emulator.consent_audit import Incident, IncidentKind
from airflow_provider_klaviyo.emulator.emulator import Emulator
from airflow_provider_klaviyo.emulator.faults import Fault, FaultKind
from airflow_provider_klaviyo.emulator.request_log import LoggedRequest
from airflow_provider_klaviyo.emulator.settings import ALL_SCOPES, Clock, ManualClock, Settings, SystemClock

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
