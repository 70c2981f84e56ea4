"""Rate-limit windows that all hosts share, in Redis (5 or newer)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from airflow_provider_klaviyo.client.clock import Clock
from airflow_provider_klaviyo.client.rate_limit import Rate, RateLimitStoreError

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
  paused = math.max(paused, now + tonumber(ARGV[2]))
end

redis.call('HSET', notes, 'seen', text(now), 'paused', text(paused), 'longest', text(longest))
keep = math.ceil(1000 * (1 + math.max(longest + keep, paused - now)))
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, math.max(keep, redis.call('PTTL', key))) end
return math.ceil(wait * 1e6)
"""


class RedisScript(Protocol):
    """What ``register_script`` returns."""

    def __call__(self, keys: Sequence[str], args: Sequence[str]) -> object:
        """Run the script."""


class RedisClient(Protocol):
    """The one thing needed of a ``redis.Redis``."""

    def register_script(self, script: str) -> RedisScript:
        """Make a script that can be run by its hash."""


class RedisWindows:
    """Windows for all hosts that reach one Redis, counted by that Redis' own clock.

    :param client: a ``redis.Redis``; its timeouts and retries are those of the connection.
    :param prefix: what the names of the keys begin with.
    """

    def __init__(self, client: RedisClient, prefix: str = "airflow-klaviyo") -> None:
        self._prefix = prefix
        self._script = client.register_script(_SCRIPT)

    def acquire(self, key: str, token: int, rates: Sequence[Rate], hold: float, clock: Clock) -> float:  # noqa: ARG002
        """See ``WindowStore``."""
        windows = [number for rate in rates for number in (str(rate.limit), repr(rate.seconds))]
        return self._run(key, "acquire", str(token), repr(hold), *windows)

    def release(self, key: str, token: int, clock: Clock) -> None:  # noqa: ARG002
        """See ``WindowStore``."""
        self._run(key, "release", str(token))

    def pause(self, key: str, seconds: float, clock: Clock) -> None:  # noqa: ARG002
        """See ``WindowStore``."""
        self._run(key, "pause", repr(seconds))

    def _run(self, key: str, *arguments: str) -> float:
        # Here, since only who shares limits through Redis has it installed.
        from redis.exceptions import RedisError

        # The braces keep both keys on one node of a cluster.
        name = f"{self._prefix}:{{{key}}}"
        try:
            return int(str(self._script(keys=[f"{name}:places", f"{name}:notes"], args=arguments))) / 1e6
        except (RedisError, OSError) as error:
            msg = (
                f"The rate-limit windows in Redis cannot be kept ({type(error).__name__}: {error}), "
                "so nothing is sent. Check the connection that rate_limit_conn_id names; "
                "without one, the processes of this host share the limits."
            )
            raise RateLimitStoreError(msg) from error
