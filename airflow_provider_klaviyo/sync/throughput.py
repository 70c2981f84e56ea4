"""How far a run was at which time: a few points, however long it takes."""

from __future__ import annotations

from typing import NamedTuple

MAX_POINTS = 200


class Point(NamedTuple):
    """What had been done so many seconds after the run began; ``settled`` are the rows that have a verdict."""

    seconds: float
    rows_read: int
    settled: int
    requests: int


class Throughput:
    """At most ``MAX_POINTS`` points; where there would be more, every second one is left out, from then on too."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._apart = 0.0

    def note(self, point: Point) -> None:
        """Add the newest point; it takes the place of the last one where that is too near to the one before."""
        points = list(self.points)
        if len(points) > 1 and point.seconds - points[-2].seconds < self._apart:
            points[-1] = point
        else:
            points.append(point)
        if len(points) > MAX_POINTS:
            points = [*points[:-1:2], points[-1]]
            self._apart = max(2 * self._apart, 2 * (point.seconds - points[0].seconds) / MAX_POINTS)
        self.points = points  # at once: another thread may be reading
