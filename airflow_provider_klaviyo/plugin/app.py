"""The pages, as Airflow's API server answers them: with its login, and to those who may see the Dag."""

import secrets
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from airflow_provider_klaviyo.client.clock import SystemClock
from airflow_provider_klaviyo.exceptions import KlaviyoError
from airflow_provider_klaviyo.masking import mask
from airflow_provider_klaviyo.plugin import other_pages
from airflow_provider_klaviyo.plugin.access import GetUserDep, check_task, may_see_logs, readable_dags
from airflow_provider_klaviyo.plugin.around import Around
from airflow_provider_klaviyo.plugin.layout import policy
from airflow_provider_klaviyo.plugin.report_page import report_page
from airflow_provider_klaviyo.plugin.shelf import Address, Found, Shelf
from airflow_provider_klaviyo.plugin.tasks import look_up
from airflow_provider_klaviyo.plugin.told import Told, Unreadable, examples_of, objects
from airflow_provider_klaviyo.storage import keep_seconds, storage_path

# FastAPI reads these signatures when the app is made: without ``from __future__ import annotations``, at the top level.

_TASK = "{dag_id}/{run_id:path}/{task_id}/{map_index}"
_CHUNK = 1 << 18

app = FastAPI(title="Klaviyo syncs", docs_url=None, redoc_url=None, openapi_url=None)
clock = SystemClock()

TryNumber = Annotated[int | None, Query(ge=0)]


@app.exception_handler(HTTPException)
def refused(_: Request, error: HTTPException) -> Response:
    """What somebody is told who may not see something."""
    nonce = secrets.token_urlsafe(16)
    words = {
        401: "Log in to Airflow, then come back.",
        403: "You may not see this. Ask who looks after Airflow.",
    }
    title = {401: "Not logged in", 403: "No access", 404: "Nothing is here"}.get(error.status_code, "No page")
    content = other_pages.message_page(nonce, title, words.get(error.status_code, str(error.detail)))
    return _answer(content, nonce, error.status_code)


@app.get("/task/" + _TASK)
def task(
    request: Request,
    user: GetUserDep,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: str,
    try_number: TryNumber = None,
) -> Response:
    """The report of a task instance: of its last try, or of another one."""
    check_task(user, dag_id)
    address = _address(dag_id, run_id, task_id, map_index)
    nonce, place = secrets.token_urlsafe(16), "storage_path"
    try:
        shelf = Shelf(storage_path())
        place = str(shelf.root)
        tries = shelf.tries(address)
        chosen = next((each for each in reversed(tries) if try_number in (None, each.try_number)), None)
        if chosen is None:
            content = other_pages.no_report(
                look_up(address), place=place, keep_seconds=keep_seconds(), now=clock.now(), nonce=nonce
            )
        else:
            told = chosen.read()
            sees_people = may_see_logs(user, dag_id)
            numbers = {row for each in objects(told, "reasons") for row in examples_of(each)}
            around = Around(
                root=_root(request),
                now=clock.now(),
                nonce=nonce,
                address=address,
                try_number=chosen.try_number,
                tries=[each.try_number for each in tries],
                last_runs=list(_readable(shelf.last_runs(address))),
                rows=shelf.rows(address, chosen.try_number, numbers) if sees_people and numbers else {},
                has_rejects=bool(told.get("rejected_path")),
                sees_people=sees_people,
                place=f"{place}: {chosen.file.name}",
            )
            content = report_page(told, around)
    except Unreadable as error:
        content = other_pages.unreadable(place, str(error), nonce)
    except (OSError, KlaviyoError) as error:
        content = other_pages.unreachable(place, mask(str(error)), nonce)
    return _answer(content, nonce)


@app.get("/rejects/" + _TASK)
def rejects(
    user: GetUserDep,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: str,
    try_number: Annotated[int, Query(ge=0)],
) -> Response:
    """The rejected rows of a try, for those who may see the task's logs."""
    check_task(user, dag_id)
    if not may_see_logs(user, dag_id):
        raise HTTPException(403, "You may not see the logs of this Dag's tasks.")
    try:
        path = Shelf(storage_path()).rejects(_address(dag_id, run_id, task_id, map_index), try_number)
        file = path.open("rb")
    except (OSError, KlaviyoError):
        raise HTTPException(
            404, "There is no such file (any more), or it cannot be read from here."
        ) from None
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.name)}",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return StreamingResponse(_pieces(file), media_type="application/x-ndjson", headers=headers)


@app.get("/syncs")
def syncs(request: Request, user: GetUserDep) -> Response:
    """Every sync of the Dags that somebody may see."""
    nonce, place = secrets.token_urlsafe(16), "storage_path"
    try:
        shelf = Shelf(storage_path())
        place = str(shelf.root)
        found = list(shelf.syncs(readable_dags(user)))
        told = list(_readable(found))
        content = other_pages.syncs_page(
            told,
            root=_root(request),
            now=clock.now(),
            nonce=nonce,
            place=place,
            unread=len(found) - len(told),
        )
    except (OSError, KlaviyoError) as error:
        content = other_pages.unreachable(place, mask(str(error)), nonce)
    return _answer(content, nonce)


def _readable(found: list[Found]) -> Iterator[Told]:
    for each in found:
        try:
            yield each.read()
        except (Unreadable, OSError):
            continue


def _address(dag_id: str, run_id: str, task_id: str, map_index: str) -> Address:
    """The UI sends ``{MAP_INDEX}`` as it stands of a task that is not mapped."""
    return Address(dag_id, run_id, task_id, int(map_index) if map_index.isdecimal() else -1)


def _root(request: Request) -> str:
    """What all addresses of the app begin with; Airflow itself may be below a path."""
    return str(request.scope.get("root_path", ""))


def _answer(content: str, nonce: str, status: int = 200) -> Response:
    headers = {
        "Content-Security-Policy": policy(nonce),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(content, status_code=status, headers=headers)


def _pieces(file: Any) -> Iterator[bytes]:
    with file:
        while piece := file.read(_CHUNK):
            yield piece
