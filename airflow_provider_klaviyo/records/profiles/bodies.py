"""Values of profiles to the JSON that is sent, a column at a time: msgspec makes the objects and encodes them in C."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import repeat

import msgspec

from airflow_provider_klaviyo.records.mapping import IDENTIFIERS, PROPERTIES
from airflow_provider_klaviyo.records.profiles.fields import Values
from airflow_provider_klaviyo.records.profiles.mapping import LOCATION, TEXTS
from airflow_provider_klaviyo.records.resources import with_nulls
from airflow_provider_klaviyo.records.values.json_objects import MakeObject, object_maker

_encode = msgspec.json.Encoder(decimal_format="number").encode


class ProfileBodies:
    """Compiled once per run from the names of the mapped fields."""

    def __init__(self, fields: Collection[str]) -> None:
        self._location = [name for name in fields if name.startswith(LOCATION)]
        self._properties = [name for name in fields if name.startswith(PROPERTIES)]
        self._make_location = object_maker([name.removeprefix(LOCATION) for name in self._location])
        self._make_properties = object_maker([name.removeprefix(PROPERTIES) for name in self._properties])
        self._attribute_names = [
            *(name for name in IDENTIFIERS[1:] if name in fields),
            *(name for name in TEXTS if name in fields),
            *(["location"] if self._location else []),
            *(["properties"] if self._properties else []),
        ]
        self._make_attributes = object_maker(self._attribute_names)

    def encode(
        self,
        values: Mapping[str, Values],
        size: int,
        *,
        unset: Mapping[int, Sequence[str]],
        nulls: Mapping[int, Sequence[str]],
    ) -> list[bytes]:
        """One record a row; a value that is None is left out.

        :param values: those of every mapped field, ``size`` of each.
        :param size: how many rows there are.
        :param unset: the custom properties to remove, by row: bulk imports ignore nulls.
        :param nulls: the standard fields to send as null, by row.
        :returns: the JSON of each profile.
        """
        parts = dict(values)
        if self._location:
            parts["location"] = _objects(self._make_location, [values[name] for name in self._location])
        if self._properties:
            parts["properties"] = _objects(self._make_properties, [values[name] for name in self._properties])
        attributes = _made(self._make_attributes, [parts[name] for name in self._attribute_names], size)
        ids = values.get("klaviyo_id") or repeat(None)
        metas = _metas(unset, size) if unset else repeat(None)
        bodies = list(map(_encode, map(_Profile, attributes, ids, metas)))
        for index, names in nulls.items():
            bodies[index] = with_nulls(bodies[index], names)
        return bodies


class _Profile(msgspec.Struct, tag_field="type", tag="profile", omit_defaults=True, gc=False):
    attributes: object
    id: str | None = None
    meta: dict[str, object] | None = None


def _made(make: MakeObject, columns: Sequence[Values], size: int) -> Iterable[object]:
    return map(make, *columns) if columns else (make() for _ in range(size))


def _objects(make: MakeObject, columns: Sequence[Values]) -> Values:
    """One object a row; None where all its values are, so that an empty object is never sent."""
    objects: Values = list(map(make, *columns))
    if None in columns[0]:
        nothing = make()
        return [None if made == nothing else made for made in objects]
    return objects


def _metas(unset: Mapping[int, Sequence[str]], size: int) -> list[dict[str, object] | None]:
    metas: list[dict[str, object] | None] = [None] * size
    for index, names in unset.items():
        metas[index] = {"patch_properties": {"unset": [name.removeprefix(PROPERTIES) for name in names]}}
    return metas
