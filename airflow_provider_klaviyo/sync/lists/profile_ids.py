"""Reads Klaviyo's ids of whom a tracked mirror has added, so that a changed address hides nobody from a later run."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.exceptions import KlaviyoError, KlaviyoStopped
from airflow_provider_klaviyo.records.lists.member import ListMember
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.sync.lists.members import MemberFinder

log = logging.getLogger(__name__)

MOST = 50_000
"""So many people's ids a run reads at most, a hundred with a request: a minute or so."""

_PART = 10_000
"""People in one entry of the state."""


def learn_ids(client: KlaviyoClient, list_id: str, ledger: Ledger) -> None:
    """Read ids of people whose are not known yet, and keep them; what cannot be read, a later run reads.

    :param list_id: of the list that they were put on.
    """
    ids = ledger.people.ids
    unread = ids.unread(MOST)
    finder = MemberFinder(client, list_id)
    field = ledger.people.known_by() or ""
    read = 0
    for start in range(0, len(unread), _PART):
        records = tracked_records(ledger, dict(enumerate(unread[start : start + _PART])))
        try:
            found = finder.find(field, records).ids
        except KlaviyoStopped:
            raise
        except KlaviyoError as error:
            log.warning(
                "Klaviyo's ids of the people who were added could not be read, and a later run reads them: %s",
                error,
            )
            return
        ledger.identify({record.person: found.get(record.number, ()) for record in records})
        read += len(found)
    if unread:
        log.info(
            "Klaviyo's ids of %s people who were added were read; those of %s are left to later runs.",
            f"{read:,}",
            f"{ids.count_unread():,}",
        )


def tracked_records(ledger: Ledger, persons: Mapping[int, int]) -> list[Record]:
    """Tracked people as records, by the identifiers that the state keeps.

    :param persons: people by the numbers that the records get.
    """
    identities = ledger.people.identities(list(persons.values()))
    return [
        ListMember(number=number, row=(), identity=identities[person], body=b"", person=person)
        for number, person in persons.items()
    ]
