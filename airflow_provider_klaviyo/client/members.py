"""Members of a list, and profiles, by their identifiers: what pages of them show, and no more of it than that.

A page of a hundred is 90 KB, most of it links. So pages are decoded into what is read of them; the rest is passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Annotated, NamedTuple, NotRequired, TypedDict

import msgspec

from airflow_provider_klaviyo.client.abreast import abreast
from airflow_provider_klaviyo.client.endpoints import GET_PROFILES, Endpoint
from airflow_provider_klaviyo.client.filters import MAX_VALUES, any_of, in_filters
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.responses import Document, Response, attributes_of, error_of, unreadable


class Member(NamedTuple):
    """A profile that is on a list."""

    id: str
    email: str | None
    phone_number: str | None
    external_id: str | None


class _Attributes(msgspec.Struct, frozen=True, gc=False):
    email: str | None = None
    phone_number: str | None = None
    external_id: str | None = None
    joined_group_at: object = None


class _Profile(msgspec.Struct, frozen=True, gc=False):
    id: Annotated[str, msgspec.Meta(min_length=1)]
    attributes: _Attributes


class MemberPage(TypedDict):
    """A page of profiles, each with an id and with identifiers that are text or null."""

    data: list[_Profile]
    links: NotRequired[object]


_decode = msgspec.json.Decoder(MemberPage).decode


def read_members(endpoint: Endpoint, response: Response) -> MemberPage:
    """A page of profiles; refuses what ``read_profiles`` refuses, and says the same.

    :raises KlaviyoError: as ``read_profiles`` does.
    """
    if not response.is_success:
        raise error_of(endpoint, response)
    try:
        if not response.body.isascii():
            response.body.decode()  # what is passed over has to be text, too
        return _decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unreadable(endpoint, response) from None


def members_of(page: MemberPage) -> list[Member]:
    """The members that a page shows; an identifier that is empty is none."""
    return [
        Member(each.id, shown.email or None, shown.phone_number or None, shown.external_id or None)
        for each in page["data"]
        for shown in (each.attributes,)
    ]


def member_of(resource: Document) -> Member:
    """A profile's id and identifiers."""
    attributes = attributes_of(resource)
    email, phone, external = (attributes.get(name) for name in ("email", "phone_number", "external_id"))
    return Member(
        str(resource["id"]),
        str(email) if email else None,
        str(phone) if phone else None,
        str(external) if external else None,
    )


def profiles_now(client: KlaviyoClient, ids: Sequence[str]) -> dict[str, Member]:
    """Profiles by id as they are now, whatever a list shows of them."""
    query = {"fields[profile]": "email,phone_number,external_id", "page[size]": str(MAX_VALUES)}

    def look_up(part: Sequence[str]) -> dict[str, Member]:
        asked = query | {"filter": any_of("id", part)}
        pages = client.pages(GET_PROFILES, query=asked, read=read_members)
        return {member.id: member for page in pages for member in members_of(page)}

    with closing(abreast(client, GET_PROFILES, look_up, in_filters(ids))) as looks:
        return {member: found for each in looks for member, found in each.items()}
