"""Who is known to Klaviyo, or on a list, by the identifiers that were asked for; nobody is overlooked in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

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


def find_people(
    client: KlaviyoClient, field: str, values: Sequence[str], during: During = nullcontext
) -> Found:
    """The profiles whose ``field`` (``id``, ``email``, …) is any of the values, with everybody's consent.

    :param during: entered while a request is under way.
    :raises KlaviyoResponseError: when an answer cannot be read, since nobody would be known then.
    """
    query = {
        "additional-fields[profile]": "subscriptions",
        "fields[profile]": ",".join((*_FIELDS, "subscriptions")),
    }
    return _Search(client, field, query, during=during).of(values)


def find_on_list(
    client: KlaviyoClient, list_id: str, field: str, values: Sequence[str], during: During = nullcontext
) -> Found:
    """The same for members of a list, by ``email`` or ``phone_number`` and without consent."""
    return _Search(client, field, {"fields[profile]": ",".join(_FIELDS)}, list_id, during=during).of(values)


class _Search:
    """Looks values up, as many at a time as a filter holds.

    A profile may show another address than the one that found it, as those with several do. Where one shows none of the
    values, each that found nobody is looked up on its own. One may even hide behind another address of the same filter,
    so where consent is read, those that found nobody are looked up once more without the others.
    """

    def __init__(
        self,
        client: KlaviyoClient,
        field: str,
        query: Mapping[str, str],
        list_id: str = "",
        *,
        during: During,
    ) -> None:
        self._during = during
        self._client = client
        self._field = field
        self._is_thorough = field == "email" and not list_id
        self._query = {**query, "page[size]": str(MAX_VALUES)}
        self._list_id = list_id

    def of(self, values: Sequence[str]) -> Found:
        found: Found = {}
        for part in in_filters(values):
            shown, strangers = self._sort(part)
            found |= shown
            missing = [value for value in part if self._key(value) not in found]
            if shown and missing and not strangers and self._is_thorough:
                again, strangers = self._sort(missing)
                found |= again
                missing = [value for value in missing if self._key(value) not in found]
            for value in missing if strangers else ():
                if profiles := self._read([value]):
                    found[self._key(value)] = profiles
        return found

    def _sort(self, values: Sequence[str]) -> tuple[Found, bool]:
        """Profiles by what found them, and whether one of them shows none of the values."""
        asked_for = {self._key(value) for value in values}
        found: Found = {}
        strangers = False
        for resource in self._read(values):
            shown = resource["id"] if self._field == "id" else attributes_of(resource).get(self._field)
            key = self._key(str(shown))
            if shown is not None and key in asked_for:
                found.setdefault(key, []).append(resource)
            else:
                strangers = True
        return found, strangers

    def _key(self, value: str) -> str:
        return comparable(self._field, value)

    def _read(self, values: Sequence[str]) -> list[Document]:
        """Whom a filter finds, each once: who changes meanwhile is read twice, and the last reading counts."""
        found: dict[object, Document] = {}
        endpoint = GET_LIST_PROFILES if self._list_id else GET_PROFILES
        query = {**self._query, "filter": any_of(self._field, values)}
        pages = self._client.pages(
            endpoint, resource_id=self._list_id, query=query, read=read_profiles, during=self._during
        )
        for page in pages:
            found |= {profile["id"]: profile for profile in resources(page)}
        return list(found.values())


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
