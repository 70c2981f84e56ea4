"""Reverse ETL from any SQL database into Klaviyo, as an Airflow provider package."""

from __future__ import annotations

__version__ = "0.1.0"
