"""What rows come from, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

CHUNK_SIZE = 2_000
"""Rows of a chunk, at most: larger ones are slower (Python's garbage collector) and take more memory."""

Row = tuple[object, ...]
Chunk = list[Row]


class Source(Protocol):
    """The rows of a sync, in chunks; to be used in a ``with`` block, which opens everything.

    ``columns`` is known on entry, and so is ``total`` where somebody counts ahead. ``distrust`` says why there may be
    more rows than are handed out, if there may be, and ``unzoned`` names columns whose timestamps may be of another
    zone than they are read in. ``may_meet_more_columns`` is whether a later row may have another column, which ends the
    reading: till then nobody knows what it says.

    :raises QueryError: on entry or while reading, when there are no rows, or not all of them.
    """

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def total(self) -> int | None: ...

    @property
    def distrust(self) -> str: ...

    @property
    def unzoned(self) -> Sequence[str]: ...

    @property
    def may_meet_more_columns(self) -> bool: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Chunk]:
        """The rows in their order, some at a time; never an empty chunk. Once."""

    def keep_keys(self, columns: Sequence[str]) -> None:
        """Have the values of these columns as former releases had them; before the block is entered."""

    def commit(self) -> None:
        """Keep what reading has changed, once all rows are read and sent; without this it is undone."""

    def close(self) -> None:
        """Let go of everything, without an error; may be done again."""
