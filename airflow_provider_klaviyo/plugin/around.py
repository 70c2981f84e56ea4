"""What a run's page needs beside its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_klaviyo.masking import mask_quotes
from airflow_provider_klaviyo.plugin.shelf import Address
from airflow_provider_klaviyo.plugin.told import Told

Rows = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Around:
    """Where the report is shown, and to whom.

    :param root: the path that all addresses of the app begin with.
    :param now: seconds since the epoch.
    :param tries: every try that has a report.
    :param last_runs: reports of the task's last runs, oldest first, with the ids of their runs.
    :param rows: lines of rejected rows; empty for those who may not see people.
    :param sees_people: whether the reader may see the task's logs.
    """

    root: str
    now: float
    nonce: str
    address: Address
    try_number: int
    tries: Sequence[int] = ()
    last_runs: Sequence[Told] = ()
    rows: Rows = field(default_factory=dict)
    has_rejects: bool = False
    sees_people: bool = False
    place: str = ""

    def shown(self, words: str) -> str:
        """Others' words, as this reader may see them."""
        return words if self.sees_people else mask_quotes(words)
