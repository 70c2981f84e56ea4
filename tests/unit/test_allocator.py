"""Whether the system has memory back that was freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
from pathlib import Path
from airflow_provider_klaviyo.operators.allocator import return_large_blocks

def megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096 / 1e6

return_large_blocks()
before = megabytes()
for _ in range(3):
    block = b"x" * 30_000_000
    del block
print(megabytes() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps large blocks")
def test_a_large_block_that_was_freed_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 10
