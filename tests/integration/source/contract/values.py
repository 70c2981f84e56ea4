"""The one table of types and values: what of a column arrives in Klaviyo, whatever source it comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from airflow_provider_klaviyo.records.values.canonical import canonical
from airflow_provider_klaviyo.records.values.columns import to_json_values

ZONE = ZoneInfo("Europe/Berlin")
"""Of timestamps that have none; neither the machine's nor a server's."""


@dataclass(frozen=True)
class Refused:
    """A value that cannot be sent, and words of the reason."""

    words: str


ARRIVES: dict[str, object] = {
    "text": "Zoë 🙂",
    "empty text": "",
    "integer": 9223372036854775807,
    "true": True,
    "false": False,
    "bit": True,  # of one bit
    "numeric": 12.5,
    "long numeric": 12345678901.25,
    "double": 0.1,
    "date": "2024-05-01",
    "time": "12:30:00",
    "timestamp": "2024-05-01T10:30:00.500000+00:00",  # 12:30 in Berlin
    "moment": "2024-05-01T09:30:00.500000+00:00",  # a timestamp with zone
    "uuid": "00000000-0000-0000-0000-00000000000a",
    "json": {"a": [1, 2.5, None], "b": "x"},
    "texts": ["a", None, "b"],
    "integers": [1, 2],
    "moments": ["2024-05-01T09:30:00.500000+00:00", None],
    "uuids": ["00000000-0000-0000-0000-00000000000a"],
    "jsons": [{"a": 1}, 2],
    "domains": ["a", "b"],  # of a type that a driver cannot know
    "single": 0.1,  # of 32 bits
    "address": "10.0.0.1",
    "struct": {"a": 1, "b": "x"},
    "nested": {"a": 1.5, "j": {"x": 1}, "t": ["2024-05-01T09:30:00.500000+00:00"]},
    "binary": Refused("encode it as text"),
    "interval": Refused("cast it to seconds or to text"),
    "nan": Refused("NaN"),
    "24 o'clock": Refused("24 o'clock"),
    "beyond in a list": Refused("column 'a' holds infinity"),
    "beyond": Refused(""),  # what Python's types have no place for, such as infinity
}
"""By the name of a value: in the one spelling, in which moments are in UTC."""


def arrived(values: list[Any]) -> list[object]:
    """The one spelling of what is sent for a column, a ``Refused`` for what is not."""
    sent, reasons = to_json_values(values, timezone=ZONE)
    texts = [json.loads(_encode(value)) for value in sent]
    meanings = [json.loads(_encode(value)) for value in canonical(sent, values, ZONE)]
    assert [type(text) for text in texts] == [type(meaning) for meaning in meanings]
    return [Refused(reasons[n]) if n in reasons else meaning for n, meaning in enumerate(meanings)]


_encode = msgspec.json.Encoder(decimal_format="number").encode
