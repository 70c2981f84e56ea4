"""Charts as plain SVG. Each has a title that says what it shows, and its numbers stand in a table beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from airflow_provider_klaviyo.plugin.markup import Markup, tag, together

WIDTH = 1_000.0
_LEAST = 4.0
"""What a part is wide at least, so that one row of a million can be seen."""


class Run(NamedTuple):
    """A run in the chart of the last ones."""

    name: str
    counts: Mapping[str, int]
    seconds: float


def segments(counts: Mapping[str, int], width: float = WIDTH) -> list[tuple[str, float, float]]:
    """Where each part of a bar begins and how long it is, without those that are nothing; together the whole bar."""
    shown = {name: count for name, count in counts.items() if count > 0}
    total = sum(shown.values())
    if not total:
        return []
    lengths = {name: max(_LEAST, width * count / total) for name, count in shown.items()}
    grown = sum(lengths.values())
    found, start = [], 0.0
    for name, length in lengths.items():
        found.append((name, start, length * width / grown))
        start += length * width / grown
    return found


def stacked_bar(counts: Mapping[str, int], title: str, *, height: int = 28) -> Markup:
    """One bar, by outcome."""
    parts = [
        tag(
            "rect",
            tag("title", f"{name}: {counts[name]:,}"),
            class_=f"fill-{name}",
            x=_at(start),
            y=0,
            width=_at(max(length - 2, 1)),
            height=height,
        )
        for name, start, length in segments(counts)
    ]
    background = tag("rect", class_="fill-none", x=0, y=0, width=int(WIDTH), height=height)
    return _chart(title, height, background, *parts, class_="bar", stretches=True)


def rates(
    points: Sequence[tuple[float, float, float, float]], column: int
) -> list[tuple[float, float, float]]:
    """From when to when how many rows a second."""
    return [
        (before[0], after[0], max(after[column] - before[column], 0.0) / (after[0] - before[0]))
        for before, after in pairwise(points)
        if after[0] > before[0]
    ]


def throughput(
    points: Sequence[tuple[float, float, float, float]], ceiling: float, title: str
) -> tuple[Markup, bool]:
    """Rows a second over time, read and settled; and whether the ceiling is in sight."""
    height, left, bottom = 220.0, 90.0, 180.0
    read, settled = rates(points, 1), rates(points, 2)
    highest = max((rate for *_, rate in (*read, *settled)), default=0.0)
    is_in_sight = bool(ceiling) and highest * 3 >= ceiling
    top = (max(highest, ceiling) if is_in_sight else highest) * 1.1 or 1.0
    end = points[-1][0] if points else 1.0

    def x(seconds: float) -> float:
        return left + (WIDTH - left - 10) * seconds / (end or 1.0)

    def y(rate: float) -> float:
        return bottom - (bottom - 12) * rate / top

    def line(steps: Sequence[tuple[float, float, float]], name: str) -> Markup | None:
        if not steps:
            return None
        path = "".join(
            f"{'L' if index else 'M'}{_at(x(start))} {_at(y(rate))}L{_at(x(stop))} {_at(y(rate))}"
            for index, (start, stop, rate) in enumerate(steps)
        )
        return tag("path", d=path, class_=f"line-{name}")

    marks = [
        together(
            tag("line", x1=int(left), x2=int(WIDTH - 10), y1=_at(y(rate)), y2=_at(y(rate)), class_="grid"),
            tag("text", short(rate), x=int(left - 8), y=_at(y(rate) + 5), text_anchor="end"),
        )
        for rate in (0.0, top / 2.2, top / 1.1)
    ]
    times = [
        tag("text", duration(seconds), x=_at(x(seconds)), y=int(height - 16), text_anchor=anchor)
        for seconds, anchor in ((0.0, "start"), (end / 2, "middle"), (end, "end"))
    ]
    limit = None
    if is_in_sight:
        limit = together(
            tag(
                "line",
                x1=int(left),
                x2=int(WIDTH - 10),
                y1=_at(y(ceiling)),
                y2=_at(y(ceiling)),
                class_="limit",
            ),
            tag("text", "Klaviyo's ceiling", x=int(WIDTH - 14), y=_at(y(ceiling) - 6), text_anchor="end"),
        )
    drawn = _chart(title, int(height), *marks, *times, line(read, "read"), line(settled, "settled"), limit)
    return drawn, is_in_sight


def last_runs(runs: Sequence[Run], title: str) -> Markup:
    """Rows by outcome of each run, oldest first, and below how long it took."""
    height, rows_bottom, time_top, time_bottom = 260.0, 160.0, 196.0, 244.0
    step = WIDTH / max(len(runs), 8)
    width = min(step * 0.7, 60.0)
    most = max((sum(run.counts.values()) for run in runs), default=0) or 1
    longest = max((run.seconds for run in runs), default=0.0) or 1.0
    drawn: list[Markup] = []
    for index, run in enumerate(runs):
        x, total = index * step + (step - width) / 2, sum(run.counts.values())
        high = (rows_bottom - 10) * total / most
        for name, start, length in segments(run.counts, high):
            label = tag("title", f"{run.name}, {name}: {run.counts[name]:,}")
            top = _at(rows_bottom - start - length)
            drawn.append(
                tag(
                    "rect",
                    label,
                    class_=f"fill-{name}",
                    x=_at(x),
                    y=top,
                    width=_at(width),
                    height=_at(length),
                )
            )
        took = max((time_bottom - time_top) * run.seconds / longest, 1.0)
        label = tag("title", f"{run.name}: {duration(run.seconds)}")
        drawn.append(
            tag(
                "rect",
                label,
                class_="fill-time",
                x=_at(x),
                y=_at(time_bottom - took),
                width=_at(width),
                height=_at(took),
            )
        )
    lines = [
        tag("line", x1=0, x2=int(WIDTH), y1=int(bottom), y2=int(bottom), class_="grid")
        for bottom in (rows_bottom, time_bottom)
    ]
    names = [
        tag("text", f"rows, {short(most)} at most", x=0, y=int(rows_bottom + 18)),
        tag("text", f"duration, {duration(longest)} at most", x=0, y=int(height - 1)),
    ]
    return _chart(title, int(height), *lines, *drawn, *names)


def short(value: float) -> str:
    """A number as an axis has it."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}".removesuffix(".0") + unit
    return f"{value:.1f}".removesuffix(".0") if value < 10 else f"{value:.0f}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left} s" if left else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _chart(
    title: str, height: int, *drawn: Markup | None, class_: str = "chart", stretches: bool = False
) -> Markup:
    return tag(
        "svg",
        tag("title", title),
        *drawn,
        viewBox=f"0 0 {int(WIDTH)} {height}",
        class_=class_,
        role="img",
        aria_label=title,
        preserveAspectRatio="none" if stretches else None,
    )


def _at(place: float) -> str:
    return f"{place:.1f}"
