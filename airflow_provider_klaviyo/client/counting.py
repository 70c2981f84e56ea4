"""When Klaviyo has counted a request, as far as answers tell.

That moment lies somewhere between a request's sending and its answer. How long both ways take does not matter, as long
as they take all requests alike: what matters is how far two requests can come to be counted nearer to each other than
they are sent. A request needs ``d`` seconds until it is counted, and ``r`` until its answer begins. The earlier one is
counted ``r`` before its answer at the latest, and the later one ``d`` after its sending at the earliest. So of the time
for which a slot is held behind an answer, the least ``r`` and the least ``d`` together can be spared.

What is seen is ``d + r`` of single requests, whose least is no less than those two together, and where ``d`` and ``r``
are independent of each other hardly more. By how much is not known; that the least of many is nearer to it than to
their middle is. So as much as lies between the least and the middle is left out: what varies little is spared nearly
whole, and what varies as much as it lasts not at all. A server that counts at any moment of an answer's constant time
would be misjudged: where Klaviyo throttles after all, nothing is spared for a while, each time for longer.
"""

from __future__ import annotations

import threading
from collections import deque
from statistics import median_low

_FEWEST = 8
"""Answers before anything is spared."""

_RECENT = 240
"""Answers that are remembered: the network of an hour ago is another one."""

_LONGER, _LONGEST = 5, 7_500
"""Times the answers that it takes after each doubt, and how many they become."""


class Counting:
    """What the answers of one endpoint tell of it; safe to share among threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._awaited: deque[float] = deque(maxlen=_RECENT)
        self._heard = 0
        self._needed = _FEWEST
        self.lead = 0.0
        """Seconds before the beginning of its answer at which a request was counted at the latest."""

    def hear(self, awaited: float) -> None:
        """A success began to arrive so many seconds after all of its request had left.

        That begins behind the body and the connection, which take longer for one request than for another.
        """
        with self._lock:
            self._heard += 1
            self._awaited.append(awaited)
            if self._heard >= self._needed:
                least = min(self._awaited)
                self.lead = max(0.0, least - (median_low(self._awaited) - least))

    def doubt(self) -> None:
        """Klaviyo throttles: a request was counted in another window than it should have been, or others send too."""
        with self._lock:
            self._awaited.clear()
            self._heard, self.lead = 0, 0.0
            self._needed = min(self._needed * _LONGER, _LONGEST)
