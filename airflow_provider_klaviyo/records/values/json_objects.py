"""Makes the JSON objects of a chunk's rows from its columns: msgspec builds and encodes them in C."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

MakeObject = Callable[..., object]
"""From the values of some keys, in order, to an object that encodes without those that are None."""

_encode = msgspec.json.encode


def object_maker(keys: Sequence[str]) -> MakeObject:
    """What makes objects of some keys.

    :param keys: in the order in which the values are given; may be none.
    """
    return _dictionary(keys) if any(map(_has_escapes, keys)) else _struct(keys)


def _struct(keys: Sequence[str]) -> MakeObject:
    indexes = [f"f{index}" for index in range(len(keys))]
    return msgspec.defstruct(
        "Object",
        [(index, object, None) for index in indexes],
        omit_defaults=True,
        gc=False,
        rename=dict(zip(indexes, keys, strict=True)),
    )


def _has_escapes(key: str) -> bool:
    """Whether a key has quotation marks or the like, which the structs of msgspec do not take."""
    return _encode(key) != b'"%b"' % key.encode()


def _dictionary(keys: Sequence[str]) -> MakeObject:
    return lambda *values: {key: value for key, value in zip(keys, values, strict=False) if value is not None}
