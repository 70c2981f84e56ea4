"""Who of those that are to be taken off a list is on it: looked up a hundred at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from airflow_provider_klaviyo.client.abreast import abreast
from airflow_provider_klaviyo.client.endpoints import GET_LIST_PROFILES, GET_PROFILES, Endpoint
from airflow_provider_klaviyo.client.filters import in_filters
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.members import Member, member_of
from airflow_provider_klaviyo.client.people import Found, find_on_list, find_people
from airflow_provider_klaviyo.exceptions import KlaviyoRequestError
from airflow_provider_klaviyo.identity import Identity, comparable
from airflow_provider_klaviyo.records.contacts.kept import as_kept
from airflow_provider_klaviyo.records.lists.member import ListMember
from airflow_provider_klaviyo.records.record import Problem, Record
from airflow_provider_klaviyo.state.keys import person_hash
from airflow_provider_klaviyo.sync.delivery.refusals import RefusalHandler
from airflow_provider_klaviyo.sync.outcomes import Outcome

STILL_NAMED = Problem("", "still_named: another row names the same profile by another identifier")

CHANGED = Problem(
    "", "changed: the profile shows another identifier by now than the one that it was found by, or none"
)

_ABOUT_VALUES = (400,)
"""What Klaviyo answers to a filter with a value that is not shaped as it expects."""

_CONTACTS = ("email", "phone_number")
"""What a list can be asked for."""


class LookUp(NamedTuple):
    """Finds people by values of one identifier, by requests of one endpoint."""

    endpoint: Endpoint
    find: Callable[[Sequence[str]], Found]


class Reason(NamedTuple):
    """Why somebody is not taken off the list."""

    outcome: Outcome
    problem: Problem


class Looked(NamedTuple):
    """What a look for records has found; a record that is in neither is not on the list.

    :param ids: the Klaviyo ids of those who are on the list, by the records' numbers; mostly one each.
    :param reasons: why some are not to be taken off it, by their numbers.
    """

    ids: Mapping[int, Sequence[str]]
    reasons: Mapping[int, Reason] = {}

    def absent(self, records: Sequence[Record]) -> list[Record]:
        """Those of the records that are not on the list."""
        return [
            record
            for record in records
            if record.number not in self.ids and record.number not in self.reasons
        ]


Find = Callable[[Sequence[Record]], Looked]
"""Looks for records among the members of a list."""


@dataclass(slots=True)
class Search:
    """What one look for records has found: members by the records' numbers, and values that Klaviyo refused."""

    members: dict[int, list[Member]] = field(default_factory=dict)
    refused: dict[str, Problem] = field(default_factory=dict)
    reasons: dict[int, Reason] = field(default_factory=dict)

    def add(self, number: int, members: Iterable[Member]) -> None:
        """Note members that a record has found."""
        known = self.members.setdefault(number, [])
        known += [each for each in members if each not in known]

    def reject(self, number: int, problem: Problem) -> None:
        """Note that a record cannot be looked for."""
        self.reasons[number] = Reason(Outcome.REJECTED, problem)


class MemberFinder:
    """Finds records among the members of a list, in the fewest requests.

    A list can be asked for addresses and numbers only, so people who are known by another identifier are looked up
    first. A person with neither an address nor a number counts as a member: to take off somebody who is not on the
    list changes nothing.
    A value that makes Klaviyo refuse a look-up is found by halving, and only its record is rejected.
    """

    def __init__(self, client: KlaviyoClient, list_id: str) -> None:
        self._client = client
        self._list_id = list_id
        # A refusal points at the filter and at no value of it, so there is no array to find one in; and one bad value
        # may be blamed though no other is taken.
        self._refusals: RefusalHandler[Record] = RefusalHandler(
            "", about_records=_ABOUT_VALUES, has_history=lambda: True
        )

    def find(self, field: str, records: Sequence[Record]) -> Looked:
        """The records that are on the list, without those that are found as several people or are to stay.

        :param field: the identifier that the records' identities are values of.
        """
        search = Search()
        if field in _CONTACTS:
            wanted = {record.number: _spellings(record) for record in records}
            self._by_contact(search, field, wanted)
        else:
            self._by_id(search, field, records)
        self.complete(search, records)
        return Looked(self._ids(search), search.reasons)

    def members(self, field: str, values: Sequence[str]) -> set[str]:
        """The ids of profiles that any of these values finds; of members only, where a list can be asked."""
        ask = self._on_the_list(field) if field in _CONTACTS else self._anywhere(field)
        found = self._look_up(Search(), ask, values)
        return {str(each["id"]) for documents in found.values() for each in documents}

    def complete(self, search: Search, records: Sequence[Record]) -> None:
        """Correct what the identifiers have found, for those who know more."""

    def staying(self, members: Sequence[Member]) -> Mapping[str, Problem]:  # noqa: ARG002 - for those who know more
        """The ids of found profiles that stay on the list all the same, each with the reason."""
        return {}

    def _ids(self, search: Search) -> dict[int, list[str]]:
        staying = self.staying([each for members in search.members.values() for each in members])
        found: dict[int, list[str]] = {}
        for number, members in search.members.items():
            if ids := [each.id for each in members if each.id not in staying]:
                found[number] = ids
            else:
                search.reasons[number] = Reason(Outcome.SKIPPED, staying[members[0].id])
        return found

    def _by_id(self, search: Search, name: str, records: Sequence[Record]) -> None:
        """Look up whose an id is, and then by what contact the list can be asked for them."""
        values = {record.number: _value(record) for record in records}
        field = "id" if name == "klaviyo_id" else name
        found = self._look_up(search, self._anywhere(field), list(values.values()))
        owners: dict[int, Member] = {}
        for number, value in values.items():
            people = list(map(member_of, found.get(value, ())))
            if value in search.refused:
                search.reject(number, search.refused[value]._replace(field=name))
            elif len(people) > 1:
                search.reject(
                    number,
                    Problem(name, f"{len(people)} profiles have this id: which one is meant is not known"),
                )
            elif people:
                owners[number] = people[0]
        self.profiles(search, owners)

    def profiles(self, search: Search, owners: Mapping[int, Member]) -> None:
        """Look which of these profiles are on the list, by what it can be asked for.

        :param owners: profiles, by the number under which the search has them.
        """
        contacts: dict[str, dict[int, Member]] = {"email": {}, "phone_number": {}}
        for number, owner in owners.items():
            if owner.email or owner.phone_number:
                contacts["email" if owner.email else "phone_number"][number] = owner
            else:
                search.add(number, [owner])
        for contact, some in contacts.items():
            wanted = {number: [getattr(owner, contact)] for number, owner in some.items()}
            self._by_contact(search, contact, wanted, some)

    def _by_contact(
        self,
        search: Search,
        field: str,
        wanted: Mapping[int, Sequence[str]],
        owners: Mapping[int, Member] | None = None,
    ) -> None:
        """Look up members by what the list can be asked for.

        :param owners: whose contacts these are, where that is known: others may have the same as a second one.
        """
        values = list(dict.fromkeys(value for values in wanted.values() for value in values))
        found = self._look_up(search, self._on_the_list(field), values)
        for number, spellings in wanted.items():
            members = [
                member_of(each)
                for key in dict.fromkeys(comparable(field, value) for value in spellings)
                for each in found.get(key, ())
            ]
            if owners:
                members = [each for each in members if each.id == owners[number].id]
            refused = [search.refused[value] for value in spellings if value in search.refused]
            if members:
                search.add(number, members)
            elif refused:
                search.reject(number, refused[0]._replace(field=field))

    def _on_the_list(self, field: str) -> LookUp:
        return LookUp(GET_LIST_PROFILES, partial(find_on_list, self._client, self._list_id, field))

    def _anywhere(self, field: str) -> LookUp:
        return LookUp(GET_PROFILES, partial(find_people, self._client, field))

    def _look_up(self, search: Search, ask: LookUp, values: Sequence[str]) -> Found:
        """Who is found by the values that Klaviyo takes."""

        def look_up(part: Sequence[str]) -> tuple[Found, dict[str, Problem]]:
            found: Found = {}
            refused: dict[str, Problem] = {}
            self._refusals.deliver(
                [Record(0, (), value, b"") for value in part],
                lambda asked: found.update(_asked(ask.find, [each.identity for each in asked])),
                lambda asked, problem: refused.update({asked.identity: problem}),
            )
            return found, refused

        found: Found = {}
        parts = in_filters(list(dict.fromkeys(values)))
        with closing(abreast(self._client, ask.endpoint, look_up, parts)) as looks:
            for some, refused in looks:
                found |= some
                search.refused |= refused
        return found


def _asked(ask: Callable[[Sequence[str]], Found], values: Sequence[str]) -> Found:
    """What a look-up finds; a refusal points at the filter, which is what the values make of it."""
    try:
        return ask(values)
    except KlaviyoRequestError as error:
        error.errors = tuple(replace(entry, pointer="") for entry in error.errors)
        raise


def _spellings(record: Record) -> list[str]:
    """An address as Klaviyo is known to keep it, and as the row has it: Klaviyo compares letter by letter."""
    spelled = record.spelling if isinstance(record, ListMember) else ""
    value = _value(record)
    return [value, spelled] if spelled and spelled != value else [value]


def _value(record: Record) -> str:
    """The identifier itself; where state is kept, the identity has the field before it."""
    return record.named("").value


def person_shown(member: Member, field: str) -> int | None:
    """Who a profile is by an identifier, as the state knows people; None where it does not show it."""
    value = member.id if field == "klaviyo_id" else as_kept(field, [getattr(member, field)])[0]
    return person_hash(Identity(field, value)) if value else None
