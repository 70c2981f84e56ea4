"""``python -m airflow_provider_klaviyo preview``: the first records of a sync, as they would be sent.

It runs the operator's own preview without a scheduler, so nothing is written to Klaviyo. It shows people, since
somebody asks for that in a terminal, and leaves no file of them behind.
"""

from __future__ import annotations

import argparse
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_provider_klaviyo._compat import AirflowSkipException, dags_in
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.state.owner import Task
from airflow_provider_klaviyo.storage import storage_path
from airflow_provider_klaviyo.sync.run_files import RunFiles
from airflow_provider_klaviyo.sync.storage import Storage
from airflow_provider_klaviyo.sync.summary import COUNTS
from airflow_provider_klaviyo.sync.task_run import TaskRun

_MOST_REQUESTS = 3
_MOST_REJECTS = 5


def add_to(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Make the command known."""
    preview = groups.add_parser("preview", help="show the first records of a sync as they would be sent")
    preview.add_argument("file", help="the Dag's file")
    preview.add_argument("task_id")
    preview.add_argument("--dag", help="the Dag's id, where the file has several with such a task")
    preview.add_argument("--records", type=int, default=3, help="how many of each request (default: 3)")
    preview.set_defaults(run=_preview)


class _KnownToARun(Exception):
    """Something was asked for that is not there without a run."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is known to a run only")


class _OfARun:
    """Stands for what only a run has: it may be handed on, and whoever asks it for anything is told."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _KnownToARun(self._name)

    def _missed(self, *_: object) -> Any:
        raise _KnownToARun(self._name)

    __bool__ = __call__ = __getitem__ = __iter__ = __len__ = __str__ = __contains__ = _missed


class _Context(dict[str, Any]):
    """What templates and functions find; the sync itself, which asks by ``get``, does without what only a run has."""

    def get(self, key: str, default: Any = None) -> Any:
        value = super().get(key, default)
        return default if isinstance(value, _OfARun) else value


class _TaskInstance:
    """What an operator uses of Airflow's, as far as it is there without a run."""

    map_index = -1
    try_number = 1

    def __init__(self, dag_id: str, task_id: str) -> None:
        self.dag_id, self.task_id = dag_id, task_id
        self.run_id = f"preview__{uuid.uuid4().hex}"
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, *_: Any, **__: Any) -> Any:
        what = "what another task returns"
        raise _KnownToARun(what)


def _preview(options: argparse.Namespace, ask: Callable[[str], str]) -> int:  # noqa: ARG001 - one signature for all
    dag, task = _task(options.file, options.task_id, options.dag)
    ti = _TaskInstance(dag.dag_id, task.task_id)
    context = _context(options.now(), dag, task, ti)
    _render(task, context)
    task.preview, task.deferrable = True, False
    run = TaskRun(Task(ti.dag_id, ti.task_id), ti.run_id, due=options.now())
    files = Storage(storage_path()).files(run.holder)
    try:
        told, status = _run(task, context)
        _show(files, ti.pushed.get("return_value") or {}, options.records)
    finally:
        for file in (files.report, files.rejects, files.named, files.removed, *_requests(files)):
            with suppress(OSError):
                file.unlink()
    if told:
        print(f"\n{told}")
    print("\nReport and rejects that are named above are gone: they would hold people.")
    return status


def _task(file: str, task_id: str, dag_id: str | None) -> tuple[Any, Any]:
    """The Dag and its task.

    :raises KlaviyoConfigurationError: when there is no such task, or none that can be shown.
    """
    if not Path(file).exists():
        msg = f"There is no file {file}."
        raise KlaviyoConfigurationError(msg)
    dags, errors = dags_in(file)
    if errors:
        msg = f"Airflow cannot read {file}: {' '.join(errors.values()).strip().splitlines()[-1]}"
        raise KlaviyoConfigurationError(msg)
    found = [each for each in dags.values() if each.has_task(task_id) and dag_id in (None, each.dag_id)]
    if len(found) != 1:
        which = "several Dags have" if found else "no Dag has"
        there = ", ".join(f"{dag.dag_id}.{each}" for dag in found or dags.values() for each in dag.task_ids)
        msg = f"In {file} {which} a task {task_id!r}{' (--dag says which)' if found else ''}. There are: {there}."
        raise KlaviyoConfigurationError(msg)
    task = found[0].get_task(task_id)
    if getattr(task, "is_mapped", False):
        msg = f"{task_id} is a mapped task: what it is expanded over is known to a run only, so it cannot be shown."
        raise KlaviyoConfigurationError(msg)
    if not hasattr(task, "sync_type"):
        msg = f"{task_id} is a {type(task).__name__}, which syncs nothing."
        raise KlaviyoConfigurationError(msg)
    return found[0], task


def _context(now: float, dag: Any, task: Any, ti: _TaskInstance) -> _Context:
    """What templates find: a run by hand at this moment, over the day before it."""
    from airflow.sdk import Context
    from airflow.sdk.execution_time.context import ConnectionAccessor, MacrosAccessor, VariableAccessor

    end = datetime.fromtimestamp(now, UTC)
    known = {
        "dag": dag,
        "task": task,
        "ti": ti,
        "task_instance": ti,
        "run_id": ti.run_id,
        "params": {**dag.params.dump(), **task.params.dump()},
        "logical_date": end,
        "data_interval_start": end - timedelta(days=1),
        "data_interval_end": end,
        "ds": f"{end:%Y-%m-%d}",
        "ds_nodash": f"{end:%Y%m%d}",
        "ts": end.isoformat(),
        "ts_nodash": f"{end:%Y%m%dT%H%M%S}",
        "ts_nodash_with_tz": f"{end:%Y%m%dT%H%M%S%z}",
        "inlets": task.inlets,
        "outlets": task.outlets,
        "macros": MacrosAccessor(),
        "var": {
            "value": VariableAccessor(deserialize_json=False),
            "json": VariableAccessor(deserialize_json=True),
        },
        "conn": ConnectionAccessor(),
    }
    return _Context({name: _OfARun(name) for name in Context.__annotations__} | known)


def _render(task: Any, context: Mapping[str, Any]) -> None:
    """Render the templates.

    :raises KlaviyoConfigurationError: for what is not there without a run.
    """
    from jinja2 import StrictUndefined

    environment = task.get_template_env()
    environment.undefined = StrictUndefined
    try:
        task.render_template_fields(context, environment)
    except Exception as error:
        msg = f"A template of {task.task_id} cannot be rendered here: {error}."
        raise KlaviyoConfigurationError(msg) from error


def _run(task: Any, context: dict[str, Any]) -> tuple[str, int]:
    """Run the task; returns what else than a success a run would be, or nothing, and the exit status.

    :raises KlaviyoConfigurationError: when its function asks for what is not there without a run.
    """
    try:
        context["ti"].xcom_push("return_value", task.execute(context))
    except _KnownToARun as error:
        msg = f"{task.task_id} cannot be shown: {error}."
        raise KlaviyoConfigurationError(msg) from error
    except AirflowSkipException as error:
        return f"A run would be skipped: {error}", 0
    except Exception as error:  # a run would end with it, and what was read before is worth showing
        return f"A run would fail: {str(error) or type(error).__name__}", 1
    return "", 0


def _requests(files: RunFiles) -> list[Any]:
    return [files.preview(number) for number in range(1, _MOST_REQUESTS + 1)]


def _show(files: RunFiles, summary: Mapping[str, Any], most: int) -> None:
    for number, file in enumerate((each for each in _requests(files) if each.exists()), 1):
        print(f"\nRequest {number}")
        print(json.dumps(_shortened(json.loads(file.read_bytes()), most), indent=2, ensure_ascii=False))
    for line in _first_rejects(files):
        print(line)
    if summary:
        print("\n" + ", ".join(f"{summary[name]:,} {name}" for name in COUNTS if name in summary))
        print("Nothing was written to Klaviyo; accepted is what would be sent.")


def _first_rejects(files: RunFiles) -> Iterator[str]:
    if files.rejects.exists():
        yield "\nNot sent as they are"
        for line in files.rejects.read_bytes().decode().splitlines()[:_MOST_REJECTS]:
            told = json.loads(line)
            yield f"  {told.get('key')}: {told.get('outcome')}, {told.get('field')}: {told.get('reason')}"


def _shortened(value: object, most: int) -> object:
    """The same with no more than so many records in a list."""
    if isinstance(value, Mapping):
        return {name: _shortened(inner, most) for name, inner in value.items()}
    if not isinstance(value, list):
        return value
    more = len(value) - most
    return [
        *(_shortened(each, most) for each in value[:most]),
        *([f"… and {more:,} more"] if more > 0 else []),
    ]
