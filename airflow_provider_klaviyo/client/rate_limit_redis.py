"""Rate-limit windows that all hosts share, in Redis (5 or newer)."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast

from airflow_provider_klaviyo.client.bounded import OutOfTime, ToldToStop, call_bounded
from airflow_provider_klaviyo.client.rate_limit import LATE, LOOK_AGAIN, MAX_SECONDS
from airflow_provider_klaviyo.client.rate_limit_slots import SOONEST, Rate, longest_window
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
-- A hash that tells one life of the two from another: its "name", its "turns" (calls so far), and "told": whether
-- somebody said that an earlier life was lost. What the caller knew of it comes first in ARGV.
-- Who waits for a slot is in two sorted sets, by when it came and by when it looks again: a line, so that nobody
-- starves, and each waits for a slot of its own. It makes no slot: who does not look again in its time is passed over.
local slots, notes, life, line, looks = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local fresh, name = table.remove(ARGV, 1), table.remove(ARGV, 1)
local turns, reach = tonumber(table.remove(ARGV, 1)), tonumber(table.remove(ARGV, 1))
local command = ARGV[1]
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
  redis.call('DEL', line, looks)
  paused = paused - back
end

-- Redis lost what it kept: all of it, or the newest where it came back with an older copy. Whatever was sent may be
-- counted for as long as the longest window reaches. Once for each life, however many callers find it out.
local found = redis.call('HMGET', life, 'name', 'turns', 'told')
if turns > 0 and (found[1] ~= name and not found[3] or found[1] == name and tonumber(found[2]) < turns) then
  longest = math.max(longest, reach)
  redis.call('DEL', life)
  redis.call('HSET', life, 'name', fresh, 'told', 1)
  if now + reach > paused then
    paused = now + reach
    redis.call('HSET', notes, 'why', 'Redis lost what it kept of the rate limits')
  end
elseif not found[1] then
  redis.call('HSET', life, 'name', fresh)
end
turns = redis.call('HINCRBY', life, 'turns', 1)

if command == 'acquire' then
  local token, hold, lead, soonest = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  local came, patience, prepares = now - tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
  for i = 9, #ARGV, 2 do longest = math.max(longest, tonumber(ARGV[i + 1])) end
  redis.call('ZREMRANGEBYSCORE', slots, '-inf', text(now - longest))
  -- A token that is there already was sent twice by a client that lost the first answer.
  if not redis.call('ZSCORE', slots, token) then
    for _, late in ipairs(redis.call('ZRANGEBYSCORE', looks, '-inf', text(now - LATE))) do
      redis.call('ZREM', line, late)
      redis.call('ZREM', looks, late)
    end
    redis.call('ZREM', line, token)
    redis.call('ZREM', looks, token)
    local ahead = redis.call('ZCOUNT', line, '-inf', '(' .. text(came))
    wait = math.max(0, paused - now)
    local is_foreseen = true
    for i = 9, #ARGV, 2 do
      local limit, seconds = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
      -- Those ahead take the slots as they become free, and theirs are free again a window later at the earliest.
      local rank, rounds = limit - 1 - ahead % limit, math.floor(ahead / limit)
      local last = redis.call('ZREVRANGE', slots, rank, rank, 'WITHSCORES')
      local over, free = tonumber(last[2] or '-inf'), 0
      if over <= now then
        free = math.max(0, over + seconds - now)
      else
        free = math.max(seconds - lead, soonest)
        is_foreseen = false
      end
      is_foreseen = is_foreseen and rounds == 0
      wait = math.max(wait, free + rounds * seconds)
    end
    if wait > 0 and wait <= prepares and is_foreseen then wait = -wait end
    if wait <= 0 then
      redis.call('ZADD', slots, text(now + hold), token)
    elseif wait <= patience then
      redis.call('ZADD', line, text(came), token)
      redis.call('ZADD', looks, text(now + math.min(wait, LOOK_AGAIN)), token)
    end
  else
    wait = -prepares
  end
  keep = hold
elseif command == 'release' then
  redis.call('ZADD', slots, text(now - tonumber(ARGV[3])), ARGV[2])
elseif command == 'pause' then
  if now + tonumber(ARGV[2]) > paused then
    paused = now + tonumber(ARGV[2])
    redis.call('HSET', notes, 'why', ARGV[3])
  end
end

redis.call('HSET', notes, 'seen', text(now), 'paused', text(paused), 'longest', text(longest))
keep = math.ceil(1000 * (1 + math.max(longest + keep, paused - now)))
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, math.max(keep, redis.call('PTTL', key))) end
local lasts = redis.call('PTTL', life)
if command == 'pause_of' then wait = math.max(0, paused - now) end
local micros = math.ceil(math.abs(wait) * 1e6)
if wait < 0 then micros = -micros end
return {micros, redis.call('HGET', notes, 'why') or '', redis.call('HGET', life, 'name'), turns, lasts}
""".replace("LOOK_AGAIN", repr(LOOK_AGAIN)).replace("LATE", repr(LATE))

_KEYS = ("places", "notes", "life", "line", "looks")

_SOONER = 0.5
"""Seconds by which a process forgets sooner than Redis: clocks differ."""

_LEAST = 1.0
"""Seconds that a call has in any case: so close to a deadline it would fail where it could succeed."""

SOCKET_SECONDS = 15.0
"""What a Redis may take to connect, or for the next bytes. It ends a call that was given up, not the wait for it."""


_LONGEST_LOSS = 60.0
"""Seconds that are waited at most where Redis lost what it kept. A daily window is not waited for: Klaviyo's own 429
does less harm than a day of standstill."""


class _Life(NamedTuple):
    """What a process knows of the windows of a key in Redis.

    :param name: differs when they were lost meanwhile.
    :param turns: calls so far; fewer when the newest were lost.
    :param reach: seconds of the longest window that was asked for.
    :param until: by the caller's clock; from then on it may have been forgotten, since no window needs it.
    """

    name: str = ""
    turns: int = 0
    reach: float = 0.0
    until: float = -math.inf


class _Answer(NamedTuple):
    seconds: float
    why: str


class RedisScript(Protocol):
    """What ``register_script`` returns."""

    def __call__(self, keys: Sequence[str], args: Sequence[str]) -> object:
        """Run the script."""


class RedisClient(Protocol):
    """What is needed of a ``redis.Redis``."""

    def register_script(self, script: str) -> RedisScript:
        """Make a script that can be run by its hash."""

    def close(self) -> None:
        """Close all connections."""


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
        self._client = client
        self._script = client.register_script(_SCRIPT)
        self._lives: dict[str, _Life] = {}

    def acquire(self, key: str, token: int, rates: Sequence[Rate], hold: float, caller: Caller) -> float:
        """See ``WindowStore``."""
        self._remember(key, longest_window(rates))
        windows = [number for rate in rates for number in (str(rate.limit), repr(rate.seconds))]
        now = caller.clock.monotonic()
        is_to_wait = caller.since < math.inf
        waited, patience = (now - caller.since, caller.until - now) if is_to_wait else (0.0, 0.0)
        waits = (hold, caller.lead, SOONEST, waited, min(patience, MAX_SECONDS), caller.prepares)
        return self._run(key, caller, "acquire", str(token), *map(repr, waits), *windows).seconds

    def release(self, key: str, token: int, ago: float, caller: Caller) -> None:
        """See ``WindowStore``."""
        self._run(key, caller, "release", str(token), repr(ago))

    def pause(self, key: str, seconds: float, why: str, caller: Caller) -> None:
        """See ``WindowStore``."""
        self._run(key, caller, "pause", repr(seconds), why)

    def pause_of(self, key: str, caller: Caller) -> Pause:
        """See ``WindowStore``."""
        return Pause(*self._run(key, caller, "pause_of"))

    def way_out(self, key: str) -> str:
        """See ``WindowStore``."""
        return f"delete the key {self._name(key)}:notes in Redis ({self._where})"

    def close(self) -> None:
        """See ``WindowStore``."""
        self._client.close()

    def _name(self, key: str) -> str:
        # The braces keep all keys on one node of a cluster.
        return f"{self._prefix}:{{{key}}}"

    def _remember(self, key: str, reach: float) -> None:
        life = self._lives.get(key, _Life())
        self._lives[key] = life._replace(reach=max(life.reach, min(reach, _LONGEST_LOSS)))

    def _run(self, key: str, caller: Caller, *arguments: str) -> _Answer:
        """Run the script, telling it what is known of the life of the key, and learn of it."""
        began, life = caller.clock.monotonic(), self._lives.get(key, _Life())
        known = life if began < life.until else _Life()
        told = (secrets.token_hex(8), known.name, str(known.turns), repr(known.reach))
        micros, why, name, turns, lasts = cast(
            "tuple[int, bytes | str, bytes | str, int, int]", self._call(key, caller, *told, *arguments)
        )
        until = began + lasts / 1000 - _SOONER
        self._lives[key] = _Life(_text(name), turns, self._lives.get(key, life).reach, until)
        return _Answer(micros / 1e6, _text(why))

    def _call(self, key: str, caller: Caller, *arguments: str) -> object:
        # Here, since only who shares limits through Redis has it installed.
        from redis.exceptions import RedisError

        name, seconds = self._name(key), max(caller.seconds_left, _LEAST)
        try:
            return call_bounded(
                lambda: self._script(keys=[f"{name}:{each}" for each in _KEYS], args=arguments),
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


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("ascii", "replace")


def _may_pass(error: Exception) -> bool:
    """Whether Redis may answer when it is asked again: it is not there, or is just starting."""
    from redis import exceptions as redis

    refused = (redis.AuthenticationError, redis.AuthorizationError)
    passing = (OSError, redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError)
    return isinstance(error, passing) and not isinstance(error, refused)
