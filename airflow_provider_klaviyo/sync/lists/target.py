"""Which list a sync works on: found by name or id, or created once among all who share a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import create_list, find_list, name_of_list, refuse_alike
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.sync.lists.creation import ListCreation, appears


@dataclass(frozen=True, slots=True)
class ListTarget:
    """A list by its name or its id, as an operator's parameters name it.

    :param name: exactly as it was given.
    :param creates: whether a list of this name is created where there is none.
    :param folder: a folder that all who might create the list share.
    """

    name: str | None
    id: str | None
    creates: bool
    opt_in_process: str | None
    folder: Any

    def __str__(self) -> str:
        return f"the list {self.name!r}" if self.id is None else f"the list of the id {self.id}"

    def find(self, client: KlaviyoClient) -> str | None:
        """The list's id, also when it is so new that Klaviyo does not show it yet; None where there is none.

        :raises KlaviyoConfigurationError: when the id is nobody's, several lists have the name, or one nearly has it.
        """
        if self.id is None:
            found = find_list(client, self.name or "") or self._creation(client).noted()
            if found is None and self.creates:
                refuse_alike(client, self.name or "")
            return found
        if name_of_list(client, self.id) is None and not appears(client, self.folder, self.id):
            msg = f"Klaviyo has no list with the id {self.id}. Nothing was sent: check list_id, or use list_name."
            raise KlaviyoConfigurationError(msg)
        return self.id

    def create(self, client: KlaviyoClient) -> str:
        """The id of a new list, without the blanks around its name; or of one that somebody created meanwhile."""
        creation = self._creation(client)
        return create_list(client, creation.name, self.opt_in_process, creation)

    def missing(self, what_to_do: str = "create it, or set create_list=True") -> str:
        """That there is no such list, and what to do."""
        return f"Klaviyo has no list named {self.name!r}. Nothing was sent: check the spelling, {what_to_do}."

    def _creation(self, client: KlaviyoClient) -> ListCreation:
        return ListCreation(client, (self.name or "").strip(), self.folder)
