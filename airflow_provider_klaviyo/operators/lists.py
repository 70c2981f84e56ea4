"""Lists: add people, remove them, make a list agree with a query, create one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.failures import told_in_a_sentence
from airflow_provider_klaviyo.links.klaviyo import KlaviyoListLink, push_list_link
from airflow_provider_klaviyo.literals import ChecksLiterals, Reader, Rule
from airflow_provider_klaviyo.operators.base import KlaviyoSyncOperator
from airflow_provider_klaviyo.operators.shards import check_own_list
from airflow_provider_klaviyo.parameters import (
    exact_text_if_given,
    flag,
    named,
    one_of,
    people_or_share,
    positive,
    text,
    text_if_given,
)
from airflow_provider_klaviyo.records.lists.mapping import OPT_IN_PROCESSES, check_mapping

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook
    from airflow_provider_klaviyo.sync.contracts import SyncType
    from airflow_provider_klaviyo.sync.lists.sync_type import ListSync
    from airflow_provider_klaviyo.sync.lists.target import ListTarget
    from airflow_provider_klaviyo.sync.options import SyncOptions

MODES = ("add", "remove", "mirror")
_MAX_REMOVALS = 0.2


def opt_in_process(name: str, value: object) -> str | None:
    """How people join a list; None is the account's default."""
    process = text(name, value)
    return process and one_of(*OPT_IN_PROCESSES)(name, process)


def one_list_is_named(list_name: str | None = None, list_id: str | None = None) -> None:
    if list_name and list_id:
        msg = "list_name and list_id are both given: use one of them."
        raise KlaviyoConfigurationError(msg)


def only_mirrors_have_these(
    mode: str, *, strict: bool = False, max_removals: float | None = _MAX_REMOVALS, allow_empty: bool = False
) -> None:
    given = {"strict": strict, "allow_empty": allow_empty, "max_removals": max_removals}
    defaults = {"strict": False, "allow_empty": False, "max_removals": _MAX_REMOVALS}
    for name, value in given.items():
        if value != defaults[name] and mode != "mirror":
            msg = f"{name}={value!r} belongs to mode='mirror', not to mode={mode!r}."
            raise KlaviyoConfigurationError(msg)


def mirror_needs_a_key(mode: str, primary_key: Sequence[str]) -> None:
    if mode == "mirror" and not primary_key:
        msg = "mode='mirror' needs primary_key: the column or columns that identify a row."
        raise KlaviyoConfigurationError(msg)


def mirror_waits(mode: str, *, wait_for_completion: bool) -> None:
    if mode == "mirror" and not wait_for_completion:
        msg = (
            "mode='mirror' removes people when Klaviyo has settled who was added, so wait_for_completion=False "
            "does not go with it. To free the worker meanwhile, set deferrable=True."
        )
        raise KlaviyoConfigurationError(msg)


class KlaviyoSyncListOperator(KlaviyoSyncOperator):
    """Puts the people of a query on a list, takes them off it, or makes the list agree with the query.

    Only what identifies people is read and sent; other columns are left alone. Nobody's consent changes. Besides the
    parameters of ``KlaviyoSyncOperator``, of which a mirror needs ``primary_key``:

    :param mode: ``add``; ``remove``; or ``mirror``, which adds who is in the query and in the end removes whom this
        sync once added and who left it (templated).
    :param list_name: the list's name, exactly; None is the task's id (templated).
    :param list_id: the list's id, in place of its name (templated).
    :param create_list: create the list where there is none of that name.
    :param opt_in_process: of a list that is created: ``single_opt_in`` or ``double_opt_in``; None is the account's
        default (templated).
    :param max_removals: how many people a mirror may remove in a run, its earlier tries included: a number (int), or a
        share (float) of the people that this sync tracks, of the list's members when ``strict``; a share always permits
        10. None lifts it, but not where a template or a task before gives it (templated).
    :param allow_empty: a query without rows empties a mirror. Otherwise the task fails and removes nobody.
    :param strict: a mirror removes every member who is not in the query, whoever put them there.

    .. seealso:: Klaviyo's guide: https://developers.klaviyo.com/en/reference/lists_api_overview
    """

    template_fields: Sequence[str] = (
        *KlaviyoSyncOperator.template_fields,
        "mode",
        "list_name",
        "list_id",
        "opt_in_process",
        "max_removals",
    )
    readers: ClassVar[Mapping[str, Reader]] = {
        **KlaviyoSyncOperator.readers,
        "mode": one_of(*MODES),
        "list_name": exact_text_if_given,
        "list_id": text_if_given,
        "create_list": flag,
        "opt_in_process": opt_in_process,
        "max_removals": people_or_share,
        "allow_empty": flag,
        "strict": flag,
    }
    rules: ClassVar[Sequence[Rule]] = (
        *KlaviyoSyncOperator.rules,
        one_list_is_named,
        only_mirrors_have_these,
        mirror_needs_a_key,
        mirror_waits,
    )
    early_rules: ClassVar[Sequence[Rule]] = (check_mapping,)
    operator_extra_links = (KlaviyoListLink(),)

    def __init__(
        self,
        *,
        mode: str,
        list_name: str | None = None,
        list_id: str | None = None,
        create_list: bool = True,
        opt_in_process: str | None = None,
        max_removals: float | str | None = _MAX_REMOVALS,
        allow_empty: bool = False,
        strict: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mode = mode
        self.list_name = list_name
        self.list_id = list_id
        self.create_list = create_list
        self.opt_in_process = opt_in_process
        self.max_removals = max_removals
        self._has_limit = max_removals is not None
        self.allow_empty = allow_empty
        self.strict = strict
        self._run_alone_with_state(mode=mode)
        self.check_literals()

    @classmethod
    def keeps_state(cls, arguments: Mapping[str, Any]) -> bool:
        """See ``KlaviyoSyncOperator``; a mirror does, and so may a mode that a template gives."""
        return super().keeps_state(arguments) or arguments.get("mode") not in ("add", "remove")

    def sync_type(self, options: SyncOptions) -> SyncType:
        """The list sync of this operator's mode."""
        from airflow_provider_klaviyo.sync.lists.sync_type import AddToList, RemoveFromList

        mode = self.read("mode")
        if mode == "mirror":
            return self._mirror(options)
        kind: type[ListSync] = AddToList if mode == "add" else RemoveFromList
        return kind(self._target(), options.mapping, _profile_options(options))

    def _mirror(self, options: SyncOptions) -> SyncType:
        from airflow_provider_klaviyo.sync.lists.leaving import MirrorRules
        from airflow_provider_klaviyo.sync.lists.mirror import MirrorList

        strict = self.read("strict")
        if strict:
            check_own_list(self)
        rules = MirrorRules(
            max_removals=self._limit(),
            allow_empty=self.read("allow_empty"),
            full_refresh=options.full_refresh,
            allows=options.allows,
        )
        return MirrorList(self._target(), options.mapping, _profile_options(options), rules, strict=strict)

    def _limit(self) -> float | None:
        """How many may be removed; a limit that turns out to be missing is none that somebody has lifted."""
        most: float | None = self.read("max_removals")
        if most is None and self._has_limit:
            msg = (
                "max_removals is what a template or a task before gives, and that gave nothing (None). Nothing was "
                "sent. Make sure that the task before has run and returned a number."
            )
            raise KlaviyoConfigurationError(msg)
        return most

    def _target(self) -> ListTarget:
        name, list_id = self.read("list_name"), self.read("list_id")
        return _list_target(
            None if list_id else name or self.task_id,
            list_id,
            creates=self.read("create_list"),
            opt_in_process=self.read("opt_in_process"),
        )


class KlaviyoCreateListOperator(ChecksLiterals, BaseOperator):
    """Creates a list, and returns its id; once, also when tasks that share ``storage_path`` try at the same time.

    Klaviyo allows 150 new lists a day for the whole account, so the name is looked up first.

    :param list_name: the list's name (templated).
    :param opt_in_process: ``single_opt_in`` or ``double_opt_in``; None is the account's default (templated).
    :param if_exists: ``use`` returns the id of a list of that name, ``fail`` fails.
    :param klaviyo_conn_id: the connection of type ``klaviyo`` (templated).
    :param timeout: seconds that it may take, waits and retries included.

    .. seealso:: Klaviyo's reference: https://developers.klaviyo.com/en/reference/create_list
    """

    template_fields: Sequence[str] = ("list_name", "opt_in_process", "if_exists", "klaviyo_conn_id")
    readers: ClassVar[Mapping[str, Reader]] = {
        "list_name": named,
        "opt_in_process": opt_in_process,
        "if_exists": one_of("use", "fail"),
        "timeout": positive,
    }
    operator_extra_links = (KlaviyoListLink(),)
    ui_color = "#c8e6d0"

    def __init__(
        self,
        *,
        list_name: str,
        opt_in_process: str | None = None,
        if_exists: str = "use",
        klaviyo_conn_id: str = "klaviyo_default",
        timeout: float = 600,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.list_name = list_name
        self.opt_in_process = opt_in_process
        self.if_exists = if_exists
        self.klaviyo_conn_id = klaviyo_conn_id
        self.timeout = timeout
        self.check_literals()

    @cached_property
    def hook(self) -> KlaviyoHook:
        """The hook of ``klaviyo_conn_id``."""
        from airflow_provider_klaviyo.hooks.klaviyo import KlaviyoHook

        return KlaviyoHook(self.klaviyo_conn_id)

    @told_in_a_sentence
    def execute(self, context: Context) -> str:
        """The list's id.

        :raises AirflowFailException: when a retry would not help.
        """
        list_id = self._obtain()
        push_list_link(context["ti"], list_id)
        return list_id

    def _obtain(self) -> str:
        name = self.read("list_name")
        target = _list_target(name, None, creates=True, opt_in_process=self.read("opt_in_process"))
        may_exist = self.read("if_exists") == "use"
        timeout = self.read("timeout")
        hook = self.hook
        with hook.get_client(timeout=timeout) as client:
            hook.check_account(client)
            found = target.find(client)
            if found and not may_exist:
                msg = f"There is a list named {name!r} already: {found}. To use it, set if_exists='use'."
                raise KlaviyoConfigurationError(msg)
            return found or target.create(client)


def _profile_options(options: SyncOptions) -> Any:
    from airflow_provider_klaviyo.client.endpoints import MAX_PROFILE_BYTES
    from airflow_provider_klaviyo.records.profiles.mapper import ProfileOptions

    return ProfileOptions(
        max_bytes=MAX_PROFILE_BYTES,
        match_by=options.match_by,
        phone_region=options.phone_region,
        timezone=options.timezone,
        drop_invalid=options.drops_invalid,
    )


def _list_target(
    name: str | None, list_id: str | None, *, creates: bool, opt_in_process: str | None
) -> ListTarget:
    from airflow_provider_klaviyo.storage import storage_path
    from airflow_provider_klaviyo.sync.lists.target import ListTarget
    from airflow_provider_klaviyo.sync.storage import Storage

    return ListTarget(
        name=name,
        id=list_id,
        creates=creates,
        opt_in_process=opt_in_process,
        folder=Storage(storage_path()).list_creation,
    )
