"""``python -m airflow_provider_klaviyo``: commands for those who look after syncs."""

from __future__ import annotations

import sys

from airflow_provider_klaviyo.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
