"""The tree of errors."""

from __future__ import annotations

import re

from airflow_provider_klaviyo import exceptions


def test_the_tree_of_errors_is_complete() -> None:
    drawn = set(re.findall(r"Klaviyo\w+", (exceptions.__doc__ or "")))
    defined = {name for name in vars(exceptions) if name.startswith("Klaviyo")}
    assert defined == drawn
