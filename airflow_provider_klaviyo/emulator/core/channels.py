"""The channels that people consent to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Consent = Literal["SUBSCRIBED", "UNSUBSCRIBED"]

#: Channels by their group; marketing goes by the group's name alone.
CHANNELS: Mapping[str, tuple[str, ...]] = {
    "email": ("email", "email.open_tracking"),
    "sms": ("sms", "sms.transactional"),
}
#: The channels that opting out, opting in again and lists are about.
MARKETING = tuple(CHANNELS)


def group_of(channel: str) -> str:
    """`email` or `sms`."""
    return channel.partition(".")[0]
