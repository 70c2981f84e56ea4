"""The client: rate limits before a request, retries after it, typed errors out of it."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import replace
from typing import NamedTuple, NoReturn, Self, TypeVar
from urllib.parse import quote

import tenacity

from airflow_provider_klaviyo.client.clock import Clock, SystemClock
from airflow_provider_klaviyo.client.config import KlaviyoConfig
from airflow_provider_klaviyo.client.endpoints import Endpoint
from airflow_provider_klaviyo.client.http import HttpTransport
from airflow_provider_klaviyo.client.pace import Pace, Paces
from airflow_provider_klaviyo.client.rate_limit import Permit, RateLimiter
from airflow_provider_klaviyo.client.rate_limit_waits import RateLimitDeadline, WaitStopped
from airflow_provider_klaviyo.client.responses import (
    Document,
    Response,
    read_collection,
    read_document,
)
from airflow_provider_klaviyo.client.retry import is_hopeless, is_repeatable, wait_before, was_not_processed
from airflow_provider_klaviyo.client.server_clock import ServerClock
from airflow_provider_klaviyo.client.traffic import Traffic
from airflow_provider_klaviyo.client.trail import Trail
from airflow_provider_klaviyo.exceptions import (
    KlaviyoError,
    KlaviyoRateLimitError,
    KlaviyoResponseError,
    KlaviyoRetryableError,
    KlaviyoStopped,
    KlaviyoTimeout,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
D = TypeVar("D", bound=Document)
Read = Callable[[Endpoint, Response], T]
During = Callable[[], AbstractContextManager[object]]
"""Makes what is entered while a request is under way."""

_STOP_CHECK = 1.0

_IS_OVER: ContextVar[Callable[[], bool]] = ContextVar("klaviyo_is_over", default=lambda: False)
"""Whether what this thread does is of no use any more."""


class Turn(NamedTuple):
    """The permission to send one request.

    :param wait: until the request may leave, for those who had their turn while they were preparing it.
    :param send: sends it with a body, at once and once, and reads the answer.
    """

    wait: Callable[[], None]
    send: Callable[[bytes, Read[str]], str]


class KlaviyoClient:
    """Klaviyo's API for one connection; safe to share among threads.

    :param deadline: by ``clock.monotonic()``; after it nothing is tried any more. None for no bound.
    :param stop: asked at least each second while waiting; True ends the wait.
    """

    def __init__(
        self,
        config: KlaviyoConfig,
        limiter: RateLimiter,
        *,
        clock: Clock | None = None,
        deadline: float | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self._deadline = math.inf if deadline is None else deadline
        self.traffic = Traffic()
        self._limiter = limiter
        self._cancelled = threading.Event()
        self._asked_to_stop = stop
        # Not ended by ``cancel``: what is under way when another request fails may still tell the id of a job.
        self._transport = HttpTransport(config, stop=stop)
        self._paces = Paces(config.rate_limit_share, self.clock)
        self._server_clock = ServerClock(self.clock)
        self._was_reached = False

    @property
    def requests_sent(self) -> int:
        """How many requests have left."""
        return self.traffic.requests

    @property
    def seconds_waited(self) -> float:
        """Seconds that rate limits held requests back, altogether."""
        return self.traffic.seconds_waited

    @property
    def longest_exchange(self) -> float:
        """Seconds after which a request has its answer, or will have none; the transport ends it then."""
        return self.config.timeout

    @property
    def seconds_left(self) -> float:
        """Until the deadline; endless where there is none."""
        return self._deadline - self.clock.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections, those of the rate limits among them."""
        self._transport.close()
        self._limiter.close()

    def get(
        self, endpoint: Endpoint, *, resource_id: str = "", query: Mapping[str, str] | None = None
    ) -> Document:
        """The document that a reading endpoint answers with; ``resource_id`` fills its path."""
        return self.send(endpoint, resource_id=resource_id, query=query)

    def pages(
        self,
        endpoint: Endpoint,
        *,
        resource_id: str = "",
        query: Mapping[str, str] | None = None,
        read: Read[D] = read_collection,  # type: ignore[assignment]
        during: During = nullcontext,
    ) -> Iterator[D]:
        """Every page of a collection, following ``links.next`` until there is none.

        A page that is not shaped as it should be is asked for again, and is never taken for the last one.

        :param read: holds a page to its shape.
        :param during: as ``send`` takes it.
        :raises KlaviyoResponseError: when a page stays unreadable, or the pages go in a circle.
        """
        trail = Trail(query or {})

        def read_page(endpoint: Endpoint, response: Response) -> tuple[D, Mapping[str, str]]:
            document = read(endpoint, response)
            return document, trail.next_query(endpoint, response, document)

        while trail.query or not trail.pages:
            document, following = self.send(
                endpoint, resource_id=resource_id, query=trail.query, read=read_page, during=during
            )
            trail.go_on(document, following)
            yield document

    def send(
        self,
        endpoint: Endpoint,
        *,
        resource_id: str = "",
        query: Mapping[str, str] | None = None,
        body: bytes | Callable[[], bytes] | None = None,
        hold: float = 0.0,
        read: Read[T] = read_document,  # type: ignore[assignment]
        during: During = nullcontext,
    ) -> T:
        """Send a request within Klaviyo's limits until it gets a verdict, and read the answer with ``read``.

        A request is repeated after 429, 5xx and lost answers where that is safe, until the client's deadline.

        :param body: the body, or what makes it right before each try, when nothing has to be waited for any more.
        :param hold: seconds that making it may take.
        :param during: entered for each try, while nothing is waited for but the answer; what it raises ends the tries.
        :raises KlaviyoError: the error of the last try; see ``exceptions`` for what to do about which.
        """
        endpoint = endpoint.asked_with(query or {})
        path = endpoint.path.replace("{id}", quote(resource_id, safe=""))
        started = self.clock.monotonic()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: is_repeatable(endpoint, error)),
            wait=lambda state: wait_before(endpoint, _error(state), state.attempt_number),
            stop=lambda state: self._must_give_up(state, started),
            sleep=self.sleep,
            before_sleep=self._repeat,
            retry_error_callback=lambda state: self._give_up(state, started),
        )
        doubtful = False

        def attempt() -> T:
            nonlocal doubtful
            try:
                with self._slot(endpoint, hold) as permit:
                    made = body() if callable(body) else body
                    with during():
                        return self._try(permit, endpoint, path, query or {}, made, read)
            except KlaviyoError as error:
                error.was_repeated = doubtful
                if isinstance(error, KlaviyoRetryableError):
                    doubtful = doubtful or not was_not_processed(error)
                raise

        result: T = retrying(attempt)
        return result

    @contextmanager
    def turn(self, endpoint: Endpoint, *, hold: float, prepares: float = 0.0) -> Iterator[Turn]:
        """Wait until a request may be sent, for those who must look at something right before it leaves.

        It is tried once; whoever repeats it waits for that with ``wait_to_repeat``, and then for another turn.

        :param hold: seconds that it may take before the request leaves.
        :param prepares: seconds that it takes at least, as far as that is known: the turn may come so much earlier, and
            ``Turn.wait`` waits for what is left.
        """
        with self._slot(endpoint, hold, prepares) as permit:

            def wait() -> None:
                early = permit.not_before - self.clock.monotonic()
                if early > 0:
                    self.traffic.waited(endpoint.name, early)
                    self.sleep(early)

            def send(body: bytes, read: Read[str]) -> str:
                wait()
                return self._try(permit, endpoint, endpoint.path, {}, body, read)

            yield Turn(wait, send)

    def wait_to_repeat(self, endpoint: Endpoint, error: KlaviyoError, tries: int, started: float) -> None:
        """Wait as ``send`` does after so many tries, the first of which was at ``started`` by the monotonic clock.

        :raises KlaviyoError: that error, when the request must not be repeated, or when it is time to give up.
        """
        wait = wait_before(endpoint, error, tries)
        elapsed = self.clock.monotonic() + wait - started
        if (
            not is_repeatable(endpoint, error)
            or wait > self.seconds_left
            or is_hopeless(error, tries=tries, elapsed=elapsed, was_reached=self._was_reached)
        ):
            raise error
        log.warning("%s Try %d follows in %.1f s.", error, tries + 1, wait)
        self.traffic.repeats(wait)
        self.sleep(wait)

    def pace(self, endpoint: Endpoint) -> Pace:
        """How many requests of an endpoint are to be under way, by its answers to this client."""
        return self._paces.of(endpoint)

    @property
    def limiter(self) -> RateLimiter:
        """What every request of this client waits for."""
        return self._limiter

    def server_now(self) -> float:
        """Klaviyo's time in seconds since the epoch: for what several hosts write down and compare."""
        return self._server_clock.now()

    def sleep(self, seconds: float) -> None:
        """Wait, by the client's clock, unless told to stop.

        :raises KlaviyoStopped: when told to stop.
        """
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            self.check_stop()
            self.clock.sleep(min(left, _STOP_CHECK))
        self.check_stop()

    def rest(self, seconds: float) -> None:
        """Wait between two looks at something, until the client's deadline at the latest.

        :raises KlaviyoTimeout: when the deadline has passed.
        :raises KlaviyoStopped: when told to stop.
        """
        if self.seconds_left <= 0:
            msg = "The time is up."
            raise KlaviyoTimeout(msg)
        self.sleep(min(seconds, self.seconds_left))

    @contextmanager
    def waiting_for(self, when_late: Callable[[], str]) -> Iterator[None]:
        """Within, a wait that the deadline ends says what was waited for, wherever in a look it ended.

        :param when_late: makes the message.
        """
        try:
            yield
        except KlaviyoTimeout as error:
            pause = error.__cause__.notice if isinstance(error.__cause__, RateLimitDeadline) else ""
            raise KlaviyoTimeout(f"{when_late()} {pause}".rstrip(), endpoint=error.endpoint) from error

    def cancel(self) -> None:
        """End every wait and retry, in all threads: the run is over."""
        self._cancelled.set()

    @contextmanager
    def until(self, is_over: Callable[[], bool]) -> Iterator[None]:
        """Within, and in this thread, waits and retries end as soon as that is so, and no request leaves any more."""
        token = _IS_OVER.set(is_over)
        try:
            yield
        finally:
            _IS_OVER.reset(token)

    def check_stop(self) -> None:
        """Raise ``KlaviyoStopped`` when told to stop."""
        if self._stop():
            msg = "The run was told to stop."
            raise KlaviyoStopped(msg)

    def _stop(self) -> bool:
        return (
            self._cancelled.is_set()
            or _IS_OVER.get()()
            or bool(self._asked_to_stop and self._asked_to_stop())
        )

    def _try(
        self,
        permit: Permit,
        endpoint: Endpoint,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        read: Read[T],
    ) -> T:
        with self.pace(endpoint).request():
            self.traffic.sent()
            answer = self._transport.exchange(endpoint, path, query, body)
            self._hear(permit, endpoint, answer)
            answer = replace(answer, arrived=self.clock.now(), conn_id=self.config.conn_id)
            return self._read(endpoint, answer, read)

    def _hear(self, permit: Permit, endpoint: Endpoint, answer: Response) -> None:
        """Let the limits know by when a request was counted; how long before a refusal, no success tells."""
        counting, began = self.pace(endpoint).counting, self.clock.monotonic() - answer.read_in
        if answer.is_success:
            counting.hear(answer.awaited)
            began -= min(counting.lead, answer.awaited)
        permit.counted_by = began

    def _read(self, endpoint: Endpoint, response: Response, read: Read[T]) -> T:
        self._was_reached = True
        self._server_clock.hear(response)
        try:
            return read(endpoint, response)
        except KlaviyoRateLimitError as error:
            self.traffic.refused()
            self.pace(endpoint).counting.doubt()
            self._pause(endpoint, error)
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            msg = f"The answer of {endpoint} is not shaped as Klaviyo documents it ({type(error).__name__})."
            raise KlaviyoResponseError(msg, status=response.status, endpoint=endpoint.name) from None

    def _pause(self, endpoint: Endpoint, error: KlaviyoRateLimitError) -> None:
        """Let nobody send for as long as an answer asks for; of a long pause the error says how to end it."""
        seconds = wait_before(endpoint, error, 1)
        why = f"HTTP {error.status}, request {error.request_id or 'unknown'}"
        notice = self._limiter.pause(endpoint.name, seconds, why)
        if notice and error.retry_after and error.retry_after > seconds:
            notice += f" It asked for {error.retry_after:,.0f} s, which is no time that Klaviyo asks for."
        if notice:
            error.args = (f"{error} {notice}",)

    @contextmanager
    def _slot(self, endpoint: Endpoint, hold: float = 0.0, prepares: float = 0.0) -> Iterator[Permit]:
        """Wait for a slot in the endpoint's windows; it is kept for so many seconds longer than a request takes."""
        self.check_stop()
        try:
            with self._limiter.permit(
                endpoint.name,
                endpoint.rates,
                hold=self.longest_exchange + hold,
                deadline=self._deadline,
                stop=self._stop,
                lead=self.pace(endpoint).counting.lead,
                prepares=prepares,
            ) as permit:
                self.traffic.waited(endpoint.name, permit.waited)
                self.check_stop()
                yield permit
        except RateLimitDeadline as error:
            msg = f"The time is up before Klaviyo's rate limit allows {endpoint.name} again. {error.notice}".rstrip()
            raise KlaviyoTimeout(msg, endpoint=endpoint.name) from error
        except WaitStopped as error:
            msg = "The run was told to stop."
            raise KlaviyoStopped(msg) from error

    def _repeat(self, state: tenacity.RetryCallState) -> None:
        log.warning(
            "%s Try %d follows in %.1f s.", _error(state), state.attempt_number + 1, state.upcoming_sleep
        )
        self.traffic.repeats(state.upcoming_sleep)

    def _must_give_up(self, state: tenacity.RetryCallState, started: float) -> bool:
        if state.upcoming_sleep > self.seconds_left:
            return True
        return is_hopeless(
            _error(state),
            tries=state.attempt_number,
            elapsed=self.clock.monotonic() + state.upcoming_sleep - started,
            was_reached=self._was_reached,
        )

    def _give_up(self, state: tenacity.RetryCallState, started: float) -> NoReturn:
        error = _error(state)
        seconds = self.clock.monotonic() - started
        tries = "1 try" if state.attempt_number == 1 else f"{state.attempt_number} tries"
        error.args = (f"{error} Gave up after {tries} in {seconds:.0f} s.",)
        raise error


def _error(state: tenacity.RetryCallState) -> BaseException:
    outcome = state.outcome
    error = outcome.exception() if outcome else None
    return error or KlaviyoError("unknown")
