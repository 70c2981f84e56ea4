"""Rate-limit windows that all hosts share, in Redis (5 or newer)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

from airflow_provider_klaviyo.client.bounded import OutOfTime, ToldToStop, call_bounded
from airflow_provider_klaviyo.client.rate_limit import Rate
from airflow_provider_klaviyo.client.rate_limit_waits import (
    Caller,
    Pause,
    RateLimitStoreError,
    StoreUnreachable,
    WaitStopped,
)

_SCRIPT = """
-- A sorted set of slots, scored with the time when the request was, or will at the latest be, over;
-- a hash of notes: "seen" (when last used), "paused" (until when), "longest" (seconds of the longest window).
local slots, notes, command = KEYS[1], KEYS[2], ARGV[1]
local function text(number) return string.format('%.6f', number) end
local function note(name) return tonumber(redis.call('HGET', notes, name) or '0') end

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local paused, longest, keep, wait = note('paused'), note('longest'), 0, 0

-- Redis has no clock that cannot be set. When it was set back, all that is known moves with it.
local back = note('seen') - now
if back > 0 then
  for _, token in ipairs(redis.call('ZRANGE', slots, 0, -1)) do
    redis.call('ZINCRBY', slots, text(-back), token)
  end
  paused = paused - back
end

if command == 'acquire' then
  local token, hold = ARGV[2], tonumber(ARGV[3])
  for i = 4, #ARGV, 2 do longest = math.max(longest, tonumber(ARGV[i + 1])) end
  redis.call('ZREMRANGEBYSCORE', slots, '-inf', text(now - longest))
  -- A token that is there already was sent twice by a client that lost the first answer.
  if not redis.call('ZSCORE', slots, token) then
    wait = math.max(0, paused - now)
    for i = 4, #ARGV, 2 do
      local rank, seconds = tonumber(ARGV[i]) - 1, tonumber(ARGV[i + 1])
      local last = redis.call('ZREVRANGE', slots, rank, rank, 'WITHSCORES')
      if last[2] then wait = math.max(wait, math.min(tonumber(last[2]), now) + seconds - now) end
    end
    if wait == 0 then redis.call('ZADD', slots, text(now + hold), token) end
  end
  keep = hold
elseif command == 'release' then
  redis.call('ZADD', slots, text(now), ARGV[2])
elseif command == 'pause' then
  if now + tonumber(ARGV[2]) > paused then
    paused = now + tonumber(ARGV[2])
    redis.call('HSET', notes, 'why', ARGV[3])
  end
end

redis.call('HSET', notes, 'seen', text(now), 'paused', text(paused), 'longest', text(longest))
keep = math.ceil(1000 * (1 + math.max(longest + keep, paused - now)))
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, math.max(keep, redis.call('PTTL', key))) end
if command == 'pause_of' then
  return {math.ceil(math.max(0, paused - now) * 1e6), redis.call('HGET', notes, 'why') or ''}
end
return math.ceil(wait * 1e6)
"""

_LEAST = 1.0
"""Seconds that a call has in any case: so close to a deadline it would fail where it could succeed."""

SOCKET_SECONDS = 15.0
"""What a Redis may take to connect, or for the next bytes. It ends a call that was given up, not the wait for it."""


class RedisScript(Protocol):
    """What ``register_script`` returns."""

    def __call__(self, keys: Sequence[str], args: Sequence[str]) -> object:
        """Run the script."""


class RedisClient(Protocol):
    """The one thing needed of a ``redis.Redis``."""

    def register_script(self, script: str) -> RedisScript:
        """Make a script that can be run by its hash."""


def with_timeouts(client: Any, seconds: float = SOCKET_SECONDS) -> Any:
    """The client of a ``redis.Redis``, whose sockets do not wait for ever; Airflow's hook sets no timeout."""
    pool = getattr(client, "connection_pool", None)
    if pool is not None and not pool.connection_kwargs.get("socket_timeout"):
        pool.connection_kwargs |= {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    return client


class RedisWindows:
    """Windows for all hosts that reach one Redis, counted by that Redis' own clock.

    :param client: a ``redis.Redis``; its retries are those of the connection.
    :param prefix: what the names of the keys begin with.
    :param where: names the Redis to people, without its password.
    """

    def __init__(
        self, client: RedisClient, prefix: str = "airflow-klaviyo", *, where: str = "the Redis of the client"
    ) -> None:
        self._prefix = prefix
        self._where = where
        self._script = client.register_script(_SCRIPT)

    def acquire(self, key: str, token: int, rates: Sequence[Rate], hold: float, caller: Caller) -> float:
        """See ``WindowStore``."""
        windows = [number for rate in rates for number in (str(rate.limit), repr(rate.seconds))]
        return int(str(self._run(key, caller, "acquire", str(token), repr(hold), *windows))) / 1e6

    def release(self, key: str, token: int, caller: Caller) -> None:
        """See ``WindowStore``."""
        self._run(key, caller, "release", str(token))

    def pause(self, key: str, seconds: float, why: str, caller: Caller) -> None:
        """See ``WindowStore``."""
        self._run(key, caller, "pause", repr(seconds), why)

    def pause_of(self, key: str, caller: Caller) -> Pause:
        """See ``WindowStore``."""
        micros, why = cast("tuple[int, bytes | str]", self._run(key, caller, "pause_of"))
        return Pause(int(micros) / 1e6, why if isinstance(why, str) else why.decode("ascii", "replace"))

    def way_out(self, key: str) -> str:
        """See ``WindowStore``."""
        return f"delete the key {self._name(key)}:notes in Redis ({self._where})"

    def _name(self, key: str) -> str:
        # The braces keep both keys on one node of a cluster.
        return f"{self._prefix}:{{{key}}}"

    def _run(self, key: str, caller: Caller, *arguments: str) -> object:
        # Here, since only who shares limits through Redis has it installed.
        from redis.exceptions import RedisError

        name, seconds = self._name(key), max(caller.seconds_left, _LEAST)
        try:
            return call_bounded(
                lambda: self._script(keys=[f"{name}:places", f"{name}:notes"], args=arguments),
                seconds=seconds,
                stop=caller.stop,
            )
        except ToldToStop:
            msg = f"Told to stop while waiting for Redis ({self._where})."
            raise WaitStopped(msg) from None
        except OutOfTime:
            raise StoreUnreachable(self._said(f"no answer within {seconds:.0f} s")) from None
        except (RedisError, OSError) as error:
            kind = StoreUnreachable if _may_pass(error) else RateLimitStoreError
            raise kind(self._said(f"{type(error).__name__}: {error}")) from error

    def _said(self, problem: str) -> str:
        return (
            f"The rate-limit windows in Redis ({self._where}) cannot be kept ({problem}), so nothing is sent. "
            "Check that Redis, and the connection that rate_limit_conn_id names; "
            "without one, the processes of this host share the limits."
        )


def _may_pass(error: Exception) -> bool:
    """Whether Redis may answer when it is asked again: it is not there, or is just starting."""
    from redis import exceptions as redis

    refused = (redis.AuthenticationError, redis.AuthorizationError)
    passing = (OSError, redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError)
    return isinstance(error, passing) and not isinstance(error, refused)
