"""Readers of values: what a driver left to do of a value of some type, however deep it lies in lists and objects."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

Read = Callable[[Any], object]
"""From a value that the driver gave, never NULL, to the one that it should have been."""


def of_list(read: Read | None) -> Read | None:
    """Reads the values of a list; None where they need it not."""
    return None if read is None else lambda value: [_part(read, part) for part in value]


def of_object(reads: Mapping[str, Read | None]) -> Read | None:
    """Reads the fields of an object, by their names."""
    wanted = {name: read for name, read in reads.items() if read}
    if not wanted:
        return None
    return lambda value: {
        name: _part(wanted[name], part) if name in wanted else part for name, part in value.items()
    }


def of_map(read: Read | None) -> Read | None:
    """Reads the values of an object with any keys."""
    return None if read is None else lambda value: {key: _part(read, part) for key, part in value.items()}


def _part(read: Read, part: Any) -> object:
    return None if part is None else read(part)


def single(value: float) -> float:
    """A number of 32 bits, of which drivers make one of 64 bits (0.1 is 0.10000000149), by its own few digits."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if _of_32_bits(short) == value:
            return short
    return value


def _of_32_bits(value: float) -> float | None:
    try:
        (rounded,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        return None
    return float(rounded)
