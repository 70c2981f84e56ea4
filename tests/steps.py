"""The steps of a run at which a process may be killed.

A step is a request about to leave, an answer just received, and each write of the state or of a note for other syncs,
before and after.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any


def die_at(step: int) -> None:
    """Have this process killed (SIGKILL) at its n-th step; at none for 0."""
    from airflow_provider_klaviyo.client.http import HttpTransport
    from airflow_provider_klaviyo.state.log import StateLog
    from airflow_provider_klaviyo.state.notes import NoteFolder

    lock, steps = threading.Lock(), 0

    def count() -> None:
        nonlocal steps
        with lock:
            steps += 1
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def around(*args: Any, **kwargs: Any) -> Any:
            count()
            result = function(*args, **kwargs)
            count()
            return result

        return around

    HttpTransport.exchange = counted(HttpTransport.exchange)  # type: ignore[method-assign]
    for adding in ("begin", "append", "append_file"):
        setattr(StateLog, adding, counted(getattr(StateLog, adding)))
    NoteFolder.write = counted(NoteFolder.write)  # type: ignore[method-assign]
