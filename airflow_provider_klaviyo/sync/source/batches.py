"""Rows by the batch, as Arrow and pandas have them: read in parts, so that memory does not grow with the batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.sync.source.copies import are_constant, copied
from airflow_provider_klaviyo.sync.source.drivers.arrow_values import reader_of_field, values
from airflow_provider_klaviyo.sync.source.drivers.columns import each
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.source import Row

_FRAME = ("pandas", "DataFrame")
_BATCHES = frozenset((_FRAME, ("pyarrow", "RecordBatch")))
_COLUMNS = frozenset(
    (("pandas", "Series"), ("polars", "Series"), ("pyarrow", "ChunkedArray"), ("pyarrow", "Array"))
)


class NoTable(Exception):
    """What was given exports one column."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a batch, column by column; there may be none."""

    names: Sequence[Any]
    columns: Sequence[Sequence[object]]

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.columns[0]) if self.columns else 0

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """The rows with these columns in this order; NULL in those that there are none of."""
        wanted = [self.columns[self.names.index(name)] if name in self.names else None for name in names]
        return zip(
            *(repeat(None, self.count) if column is None else column for column in wanted), strict=True
        )


def is_batch(given: object) -> bool:
    """Whether it has rows by the batch."""
    kinds = _kinds(given)
    if _COLUMNS & kinds:
        return False
    return bool(_BATCHES & kinds) or hasattr(given, "__arrow_c_stream__")


def is_column(given: object) -> bool:
    """Whether it is known to be one column, or one row, though it may export Arrow's data as a batch does."""
    return bool(_COLUMNS & _kinds(given))


def check_is_readable(batch: object) -> None:
    """Make sure that there is what reads a batch.

    :raises KlaviyoConfigurationError: where that is pyarrow, which is not installed.
    """
    if _is_frame(batch):
        return
    try:
        import pyarrow  # noqa: F401 - only asked whether it is there
    except ImportError:
        kind = type(batch).__name__
        msg = f"The function gave {kind}, which pyarrow reads: install it on the workers, or yield dicts."
        raise KlaviyoConfigurationError(msg) from None


def parts_of(batch: Any, most: int) -> Iterator[Part]:
    """The parts of a batch, at least one.

    :param most: rows of a part.
    :raises NoTable: for what exports data of Arrow's that are none.
    :raises Exception: what the batch raises, which may do its work only now.
    """
    if _is_frame(batch):
        yield from _of_frame(batch, most)
        return
    import pyarrow

    if isinstance(batch, pyarrow.RecordBatch):
        yield from _of_arrow((batch,), batch.schema, most)
        return
    # As it is where it can be, since errors do not pass through C as what they are.
    is_reader = isinstance(batch, pyarrow.RecordBatchReader)
    reader = batch if is_reader else _reader(batch)
    yield from _of_arrow(reader, reader.schema, most)


def _reader(batch: Any) -> Any:
    import pyarrow

    try:
        return pyarrow.RecordBatchReader.from_stream(batch)
    except pyarrow.ArrowInvalid as error:
        if "non-struct type" in str(error):
            raise NoTable from None
        raise


def _is_frame(given: object) -> bool:
    return _FRAME in _kinds(given)


def _kinds(given: object) -> set[tuple[str, str]]:
    """The classes of a value, by library and name, since none of the libraries is imported before it is met."""
    return {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(given).__mro__}


def _of_frame(frame: Any, most: int) -> Iterator[Part]:
    """What is missing (NaN, NaT, NA) is NULL."""
    names = list(frame.columns)
    for start in range(0, max(len(frame), 1), most):
        rows = frame.iloc[start : start + most]
        yield Part(names, [_values(rows.iloc[:, index]) for index in range(len(names))])


def _values(series: Any) -> Sequence[object]:
    found: Sequence[object] = series.tolist()
    if series.dtype.kind == "O" and not are_constant(map(type, found)):
        found = copied(found)
    missing = series.isna()
    if missing.any():
        return [None if is_missing else value for value, is_missing in zip(found, missing, strict=True)]
    return found


def _of_arrow(batches: Iterable[Any], schema: Any, most: int) -> Iterator[Part]:
    lenience = Lenience()
    readers = [reader_of_field(lenience, field) for field in schema]
    yield Part(schema.names, [() for _ in readers])
    for batch in batches:
        for start in range(0, batch.num_rows, most):
            found = [values(column, lenience) for column in batch.slice(start, most).columns]
            read = [
                each(reader)(column) if reader else column
                for reader, column in zip(readers, found, strict=True)
            ]
            yield Part(schema.names, lenience.naming_columns(schema.names, read))
