"""What a row says of its person's consent, whatever becomes of the row itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import NamedTuple

from airflow_provider_klaviyo.identity import Identity
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS

_IDS = ("klaviyo_id", "external_id")


class Word(NamedTuple):
    """A row's word on consent, channel by channel; a channel without a column of its own is not spoken of.

    :param number: the row's position in the query's result, from 1.
    :param matched_by: the field that identifies the person; empty where the row has none that can be read.
    :param names: every identifier that the row gives of the person, as Klaviyo keeps it.
    :param yes: channels that the row consents to.
    :param no: channels whose boolean is false, NULL or unreadable.
    :param is_sent: whether the row can be sent at all; where it cannot, its no is heard and its yes is worth nothing.
    """

    number: int
    matched_by: str
    names: Mapping[str, str]
    yes: Sequence[str]
    no: Sequence[str]
    is_sent: bool

    def own(self, channel: str) -> list[Identity]:
        """Under which of the names the word on a channel counts: another row that has one of them is about the same.

        Ids, what people are matched by, and the channel's own address name the person. The address of another channel
        does not: a household's number beside two addresses is no reason to take two people for one.

        :param channel: ``email`` or ``sms``.
        """
        own = (*_IDS, self.matched_by, CHANNELS[channel])
        return [each for each in spoken_of(self.names) if each.field in own]


def spoken_of(names: Mapping[str, str]) -> list[Identity]:
    """Under which names a word on somebody is looked for.

    :param names: identifiers and their values, as Klaviyo keeps them.
    """
    return list(starmap(Identity, names.items()))
