from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.client.config import REVISION


@pytest.fixture(scope="session")
def facts() -> dict[str, Any]:
    """What Klaviyo's OpenAPI file says of the revision that the client sends; see reduce_openapi.py."""
    path = Path(__file__).with_name(f"klaviyo-{REVISION}.facts.json")
    return dict(json.loads(path.read_text()))
