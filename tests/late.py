"""Settings that only the run learns of, as an instance of a mapped task does; checks of Dag files pass them over."""

from __future__ import annotations

LATE = {"_airflow_from_mapped": True}
"""To be given to an operator: Airflow makes the instances of mapped tasks so."""
