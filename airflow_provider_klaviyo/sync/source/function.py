"""The rows that a function gives, where there is no database to ask: streamed as they come, batches in parts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.masking import words_of
from airflow_provider_klaviyo.sync.source.batches import (
    NoTable,
    Part,
    check_is_readable,
    is_batch,
    is_column,
    parts_of,
)
from airflow_provider_klaviyo.sync.source.copies import are_constant, copied
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.query import QueryFailed, UnsuitableQuery
from airflow_provider_klaviyo.sync.source.source import CHUNK_SIZE, Chunk, Row
from airflow_provider_klaviyo.wording import counted

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger(__name__)

_OURS = __file__.removesuffix("function.py")
"""The folder of what reads rows, whose frames are nobody's business."""


class FunctionFailed(QueryFailed):
    """The function raised ``error``, which has its own frames only; ``rows_read`` rows had been handed out by then."""

    def __init__(self, message: str, error: Exception, *, rows_read: int) -> None:
        super().__init__(message, rows_read=rows_read)
        self.error = error


class NoRows(UnsuitableQuery):
    """The function gave something else than rows, or rows whose columns do not agree."""


class FunctionRows:
    """The rows of a function, a peer of ``RowStream``: it is called on entry, and closed where it is left early.

    A row is a mapping from column to value. A list of rows, a table or a record batch of Arrow's, whatever exports
    Arrow's data, and a frame of pandas are rows, too. None of these libraries is imported before one is met.

    :param function: returns rows or yields them.
    :param columns: those to take of each row, whatever else it has. Without any, the first row's, and a row with
        another one fails the run. A column that a row has not is NULL in it.
    :param columns_of_none: those that there are when the function gives no row, and ``columns`` names none.
    :raises NoRows: for what is none.
    :raises FunctionFailed: for what the function raises.
    """

    columns: Sequence[str] = ()
    total: int | None = None
    distrust = ""
    unzoned: Sequence[str] = ()

    def __init__(
        self,
        function: Callable[[], object],
        name: str,
        *,
        columns: Sequence[str] = (),
        columns_of_none: Sequence[str] = (),
    ) -> None:
        self.rows_read = 0
        self._function = function
        self._name = name
        self._chosen = tuple(columns)
        self._columns_of_none = tuple(columns_of_none)
        self._given: Iterator[object] = iter(())
        self._rows: Iterator[Row] = iter(())
        self._number = 0
        self._size = FetchSize(CHUNK_SIZE)

    def __enter__(self) -> Self:
        try:
            self._given = self._called()
            pieces = self._pieces()
            first = self._first(pieces)
            self.columns = self._columns(first)
            self._rows = self._tuples(chain(() if first is None else (first,), pieces))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Chunk]:
        failure: Exception | None = None
        while not failure:
            chunk: Chunk = []
            try:
                for row in islice(self._rows, self._size.rows):
                    chunk.append(row)
            except (FunctionFailed, NoRows, KlaviyoConfigurationError) as error:
                failure = error
            except Exception as error:
                failure = self._failed(error)
            if chunk:
                self.rows_read += len(chunk)
                self._size.learn(chunk)
                yield chunk
            elif not failure:
                return
        raise failure from None

    @property
    def may_meet_more_columns(self) -> bool:
        """Unless the columns were named."""
        return not self._chosen

    def keep_keys(self, columns: Sequence[str]) -> None:
        """Nothing to do: no former release has read functions."""

    def commit(self) -> None:
        """Nothing to do: the function is over, and what it has changed is its own affair."""

    def close(self) -> None:
        """Have a generator clean up behind its ``yield``; what it raises then ends no run."""
        given, self._given = self._given, iter(())
        try:
            getattr(given, "close", lambda: None)()
        except Exception as error:
            log.warning("The function %r did not end well: %s", self._name, words_of(error))

    # --- what the function gives ------------------------------------------------------------------------------

    def _called(self) -> Iterator[object]:
        try:
            given = self._function()
        except Exception as error:
            raise self._failed(error) from None
        if is_batch(given):
            return iter((given,))
        if is_column(given) or isinstance(given, (Mapping, str, bytes)) or not isinstance(given, Iterable):
            raise NoRows(self._returned(given))
        return iter(given)

    def _pieces(self) -> Iterator[Mapping[Any, Any] | Part]:
        """Rows and parts of batches, in their order."""
        while True:
            try:
                given = next(self._given)
            except StopIteration:
                return
            except Exception as error:
                raise self._failed(error) from None
            if isinstance(given, Mapping):
                yield given
            elif isinstance(given, list):
                yield from map(self._as_row, given)
            elif is_batch(given):
                check_is_readable(given)
                yield from self._parts(given)
            else:
                raise self._no_row(given)

    def _parts(self, batch: object) -> Iterator[Part]:
        try:
            yield from parts_of(batch, CHUNK_SIZE)
        except NoTable:
            raise self._no_row(batch) from None
        except Exception as error:
            raise self._failed(error) from None

    def _as_row(self, given: object) -> Mapping[Any, Any]:
        if isinstance(given, Mapping):
            return given
        raise self._no_row(given)

    def _first(self, pieces: Iterator[Mapping[Any, Any] | Part]) -> Mapping[Any, Any] | Part | None:
        """The first piece with a row; where there is none, the first one with columns."""
        named = None
        for piece in pieces:
            if piece.count if isinstance(piece, Part) else piece:
                return piece
            if isinstance(piece, Part) and piece.names:
                named = named or piece
        return named

    def _columns(self, first: Mapping[Any, Any] | Part | None) -> tuple[str, ...]:
        if first is None:
            return self._chosen or self._columns_of_none
        names = tuple(first.names if isinstance(first, Part) else first)
        wrong = [name for name in names if not isinstance(name, str)]
        if wrong:
            message = (
                f"The function {self._name!r} names a column by a {type(wrong[0]).__name__}, not by a text."
            )
            raise NoRows(message)
        self._check_once(names)
        return self._chosen or names

    def _tuples(self, pieces: Iterable[Mapping[Any, Any] | Part]) -> Iterator[Row]:
        columns, count = self.columns, len(self.columns)
        values_of = _getter(columns)
        for piece in pieces:
            if isinstance(piece, Part):
                if piece.count:
                    self._check(piece.names, self._number + 1)
                for row in piece.rows(columns):
                    self._number += 1
                    yield row
                continue
            is_plain = type(piece) is dict and len(piece) == count  # others may make up what they do not have
            try:
                row = values_of(piece) if is_plain else self._looked_up(piece)
            except KeyError:
                row = self._looked_up(piece)
            self._number += 1
            yield row if are_constant(map(type, row)) else copied(row)

    def _looked_up(self, row: Mapping[Any, Any]) -> Row:
        """The values of a row that has perhaps other columns than the first one, or is another mapping than a dict."""
        names = tuple(row)
        self._check(names, self._number + 1)
        return tuple(row[column] if column in names else None for column in self.columns)

    def _check(self, names: Sequence[object], number: int) -> None:
        """Make sure that nothing is lost of a row without a word."""
        self._check_once(names)
        if self._chosen:
            return
        more = [name for name in names if name not in self.columns]
        if more:
            message = (
                f"Row {number:,} of the function {self._name!r} has the column {more[0]!r}, which the first row has "
                "not. Let all rows have the same columns, or name those to take: columns=[…]."
            )
            raise NoRows(message)

    def _check_once(self, names: Sequence[object]) -> None:
        """Make sure that each column is there once."""
        if len(set(names)) < len(names):
            shown = ", ".join(sorted({repr(name) for name in names if names.count(name) > 1}))
            message = f"The function {self._name!r} gives more than one column named {shown}."
            raise NoRows(message)

    # --- what is wrong with it --------------------------------------------------------------------------------

    def _failed(self, error: Exception) -> FunctionFailed:
        when = f"after {counted(self._number, 'row')}" if self._number else "before its first row"
        message = f"The function {self._name!r} failed {when}: {type(error).__name__}: {words_of(error)}"
        return FunctionFailed(message, error.with_traceback(_its_own(error)), rows_read=self._number)

    def _no_row(self, given: object) -> NoRows:
        return NoRows(
            f"The function {self._name!r} gave {_a(given)} as row {self._number + 1:,}. A row is a dict from column to "
            "value; a list of those, a table of Arrow's or a frame of pandas is several."
        )

    def _returned(self, given: object) -> str:
        what = "one row" if isinstance(given, Mapping) else _a(given)
        return (
            f"The function {self._name!r} returned {what}, not rows. Let it yield them one by one, or return a list of "
            "them, which is empty where there is none."
        )


def _getter(columns: Sequence[str]) -> Callable[[Mapping[Any, Any]], Row]:
    """What gets these values of a row, all of which it must have."""
    if len(columns) > 1:
        return itemgetter(*columns)
    return lambda row: tuple(row[column] for column in columns)


def _a(given: object) -> str:
    return "None" if given is None else f"a value of type {type(given).__name__}"


def _its_own(error: Exception) -> TracebackType | None:
    """The frames of an error from the function's first on; all where it has none, as when it cannot be called."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    return trace or error.__traceback__
