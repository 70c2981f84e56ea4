"""Who is known to Klaviyo, or on a list, by the identifiers that were asked for; nobody is overlooked in silence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

from airflow_provider_klaviyo.client.endpoints import GET_LIST_PROFILES, GET_PROFILES, Endpoint
from airflow_provider_klaviyo.client.filters import MAX_VALUES, any_of, in_filters
from airflow_provider_klaviyo.client.klaviyo import During, KlaviyoClient
from airflow_provider_klaviyo.client.responses import (
    Document,
    Response,
    attributes_of,
    read_resources,
    resources,
    unreadable,
)
from airflow_provider_klaviyo.identity import comparable

Found = dict[str, list[Document]]
"""The profiles that each value found; addresses are in lower case."""

_FIELDS = ("email", "phone_number", "external_id")


class Ask(NamedTuple):
    """A filter: the profiles whose ``field`` (``id``, ``email``, …) is any of the values.

    :param list_id: only members of this list, by ``email`` or ``phone_number`` and without consent; else empty.
    """

    field: str
    values: Sequence[str]
    list_id: str = ""

    @property
    def endpoint(self) -> Endpoint:
        """What is asked."""
        return GET_LIST_PROFILES if self.list_id else GET_PROFILES

    def answer(self, client: KlaviyoClient, during: During = nullcontext) -> list[Document]:
        """Whom the filter finds, each once: who changes meanwhile is read twice, and the last reading counts.

        :param during: entered while a request is under way.
        :raises KlaviyoResponseError: when an answer cannot be read, since nobody would be known then.
        """
        query = {
            "fields[profile]": ",".join(_FIELDS if self.list_id else (*_FIELDS, "subscriptions")),
            "page[size]": str(MAX_VALUES),
            "filter": any_of(self.field, self.values),
        }
        if not self.list_id:
            query["additional-fields[profile]"] = "subscriptions"
        pages = client.pages(
            self.endpoint, resource_id=self.list_id, query=query, read=read_profiles, during=during
        )
        return list({profile["id"]: profile for page in pages for profile in resources(page)}.values())


class ValueSearch:
    """What is to be asked so that it is known whom each value of an identifier finds: as few filters as that takes.

    A profile may show another address than the one that found it, as those with several do. Where one shows none of the
    values, each that found nobody is looked up on its own. One may even hide behind another address of the same filter,
    so where consent is read, those that found nobody are looked up once more without the others.

    :param field: as ``Ask`` takes it, and ``list_id``.
    """

    def __init__(self, field: str, list_id: str = "") -> None:
        self.found: Found = {}
        self._field = field
        self._list_id = list_id
        self._is_thorough = field == "email" and not list_id
        self._wanted: set[str] = set()
        self._open: set[str] = set()
        self._first: list[str] = []
        self._again: list[str] = []
        self._alone: list[str] = []
        self._asked_again: set[str] = set()

    def want(self, values: Iterable[str]) -> None:
        """Have values looked up, each once however often it is wanted."""
        for value in values:
            if value not in self._wanted:
                self._wanted.add(value)
                self._open.add(value)
                self._first.append(value)

    def knows(self, value: str) -> bool:
        """Whether all is known of a value that was wanted."""
        return value not in self._open

    def of(self, value: str) -> list[Document]:
        """The profiles that a value found."""
        return self.found.get(self._key(value), [])

    def asks(self, *, whole_only: bool = False) -> list[Ask]:
        """What is to be asked next, side by side; each is handed out once.

        :param whole_only: keep a filter that is not full for later, when more may be wanted.
        """
        first, self._first = _filters(self._first, whole_only=whole_only)
        again, self._again = _filters(self._again, whole_only=whole_only)
        self._asked_again.update(value for values in again for value in values)
        alone, self._alone = [[value] for value in self._alone], []
        return [Ask(self._field, values, self._list_id) for values in (*first, *again, *alone)]

    def take(self, ask: Ask, profiles: Sequence[Document]) -> None:
        """Take an answer in."""
        strangers, shown = self._sort(ask, profiles)
        missing = [value for value in ask.values if self._key(value) not in self.found]
        if len(ask.values) == 1:
            left: list[str] = []
        elif strangers:
            left = missing
            self._alone += left
        else:
            is_worth_it = shown and self._is_thorough
            left = [value for value in missing if is_worth_it and value not in self._asked_again]
            self._again += left
        self._open.difference_update(set(ask.values).difference(left))

    def _sort(self, ask: Ask, profiles: Sequence[Document]) -> tuple[bool, bool]:
        """Keep the profiles by what found them; whether one shows none of the values, and whether any shows one."""
        asked_for = {self._key(value) for value in ask.values}
        strangers = is_shown = False
        for profile in profiles:
            shown = profile["id"] if self._field == "id" else attributes_of(profile).get(self._field)
            key = self._key(str(shown))
            if len(asked_for) == 1:
                (key,) = asked_for
            elif shown is None or key not in asked_for:
                strangers = True
                continue
            is_shown = True
            same = self.found.setdefault(key, [])
            same[:] = [each for each in same if each["id"] != profile["id"]]
            same.append(profile)
        return strangers, is_shown

    def _key(self, value: str) -> str:
        return comparable(self._field, value)


def find_people(client: KlaviyoClient, field: str, values: Sequence[str]) -> Found:
    """The profiles whose ``field`` (``id``, ``email``, …) is any of the values, with everybody's consent.

    :raises KlaviyoResponseError: when an answer cannot be read, since nobody would be known then.
    """
    return _found(client, ValueSearch(field), values)


def find_on_list(client: KlaviyoClient, list_id: str, field: str, values: Sequence[str]) -> Found:
    """The same for members of a list, by ``email`` or ``phone_number`` and without consent."""
    return _found(client, ValueSearch(field, list_id), values)


def _found(client: KlaviyoClient, search: ValueSearch, values: Sequence[str]) -> Found:
    search.want(values)
    while asks := search.asks():
        for ask in asks:
            search.take(ask, ask.answer(client))
    return search.found


def _filters(values: list[str], *, whole_only: bool) -> tuple[list[list[str]], list[str]]:
    """The values in filters, and those that are left for a later one."""
    filters = list(in_filters(values))
    if not whole_only or not filters or len(filters[-1]) == MAX_VALUES:
        return filters, []
    return filters[:-1], filters[-1]


def read_profiles(endpoint: Endpoint, response: Response) -> Document:
    """The JSON of a page of profiles, each with an id and with identifiers that are text or null.

    :raises KlaviyoError: as ``read_resources`` does.
    """
    page = read_resources(endpoint, response)
    for profile in resources(page):
        attributes = attributes_of(profile)
        if not all(isinstance(attributes.get(name), (str, type(None))) for name in _FIELDS):
            raise unreadable(endpoint, response)
    return page
