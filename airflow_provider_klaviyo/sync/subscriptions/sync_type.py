"""The subscriptions sync: who consents, and who no longer does."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace

import msgspec

from airflow_provider_klaviyo.client.answers import attributes_of, read_accepted, read_resource
from airflow_provider_klaviyo.client.endpoints import (
    GET_LIST,
    MAX_REQUEST_BYTES,
    SUBSCRIBE,
    SUBSCRIBE_ONCE,
    UNSUBSCRIBE,
    UNSUBSCRIBE_GLOBALLY,
    Endpoint,
)
from airflow_provider_klaviyo.client.klaviyo import KlaviyoClient
from airflow_provider_klaviyo.client.lists import NOT_FOUND, find_list
from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError, KlaviyoRequestError
from airflow_provider_klaviyo.records.mapping import Columns, MappingError, bind_only
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.records.subscriptions import record as subscription
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.mapper import (
    FIELDS,
    SubscriptionMapper,
    SubscriptionOptions,
)
from airflow_provider_klaviyo.records.subscriptions.record import CONSENTED_AT
from airflow_provider_klaviyo.state.ledger import Ledger
from airflow_provider_klaviyo.sync.batching import MARGIN, BatchLimits
from airflow_provider_klaviyo.sync.changes import Changes
from airflow_provider_klaviyo.sync.contracts import Means, SyncType
from airflow_provider_klaviyo.sync.delivery.preview import PathOf, PreviewDelivery
from airflow_provider_klaviyo.sync.engine import Hold, Mapper
from airflow_provider_klaviyo.sync.in_flight.notes import InFlight
from airflow_provider_klaviyo.sync.seen import SeenPeople
from airflow_provider_klaviyo.sync.subscriptions.asked import AskedPeople
from airflow_provider_klaviyo.sync.subscriptions.consent_words import FirstWords, HeardMapper, Objections
from airflow_provider_klaviyo.sync.subscriptions.delivery import (
    ConsentDelivery,
    Parts,
    Post,
    UncheckedDelivery,
)
from airflow_provider_klaviyo.sync.subscriptions.guard import Guard
from airflow_provider_klaviyo.sync.subscriptions.held import HeldForConsent
from airflow_provider_klaviyo.sync.subscriptions.held_wishes import HeldWishes
from airflow_provider_klaviyo.sync.subscriptions.looks import CHECKED_FOR
from airflow_provider_klaviyo.sync.subscriptions.roster import Roster
from airflow_provider_klaviyo.sync.subscriptions.standing import Resubscribe, Rules
from airflow_provider_klaviyo.sync.subscriptions.subscribe import SubscribeDelivery
from airflow_provider_klaviyo.sync.subscriptions.unsubscribe import PATIENCE, UnsubscribeDelivery
from airflow_provider_klaviyo.sync.subscriptions.wishes import WishesByAddress, WishesByMember

log = logging.getLogger(__name__)

_ELSEWHERE = (
    "This sync changes consent only: map identifiers ({fields}), and send other fields with "
    "KlaviyoSyncProfilesOperator."
)
_LIST_OR_ELSE = {
    "subscribe": (
        "subscribe needs list_name or list_id, or historical_import=True, or globally=True for the account's default: "
        "without a list Klaviyo stores nobody whom it does not know yet."
    ),
    "unsubscribe": (
        "unsubscribe needs list_name or list_id; to unsubscribe people from everything, say globally=True."
    ),
}

_NOTHING_NEW = "other rows of this run ask for the same, and the first ones count"

OUT, FIRST = "out", "first"
CONFLICTS = (OUT, FIRST)
"""What becomes of a channel of a person whose rows disagree: it is kept out, or the first row decides."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of people's consent; the names are those of the operator's parameters.

    :raises KlaviyoConfigurationError: for terms that contradict each other; the message names them.
    """

    mode: str
    channels: Sequence[str]
    list_name: str | None = None
    list_id: str | None = None
    historical_import: bool = False
    custom_source: str | None = None
    resubscribe: Resubscribe = Resubscribe.NEVER
    ask_again_after: float | None = None
    conflicts: str = OUT
    globally: bool = False

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise KlaviyoConfigurationError(problem)

    @property
    def names_list(self) -> bool:
        """Whether it is about one list."""
        return bool(self.list_name or self.list_id)

    @property
    def subscribes(self) -> bool:
        """Whether people are subscribed; else they are unsubscribed."""
        return self.mode == subscription.SUBSCRIBE

    def _problem(self) -> str | None:
        if self.mode not in FIELDS:
            return f"mode must be 'subscribe' or 'unsubscribe', not {self.mode!r}."
        if not self.channels:
            return "channels is empty: name email, sms or both."
        if unknown := [channel for channel in self.channels if channel not in CHANNELS]:
            return f"channels knows {' and '.join(CHANNELS)}, not {', '.join(map(repr, unknown))}."
        if len(set(self.channels)) < len(self.channels):
            return f"channels names one channel twice: {', '.join(self.channels)}."
        if self.list_name and self.list_id:
            return "Give list_name or list_id, not both."
        if self.names_list and self.globally:
            return "globally=True is for syncs without a list: leave it out, or leave the list out."
        if not self.names_list and not self.globally and not (self.subscribes and self.historical_import):
            return _LIST_OR_ELSE[self.mode]
        return None if self.subscribes else self._problem_of_unsubscribing()

    def _problem_of_unsubscribing(self) -> str | None:
        given = {
            "historical_import": self.historical_import,
            "custom_source": self.custom_source,
            "resubscribe": self.resubscribe is not Resubscribe.NEVER,
            "ask_again_after": self.ask_again_after is not None,
            "conflicts": self.conflicts != OUT,
        }
        if names := [name for name, value in given.items() if value]:
            return f"{', '.join(names)}: for mode='subscribe' only. Leave it out to unsubscribe."
        return None


class SubscriptionsSync(SyncType):
    """What is particular to subscriptions.

    :param mapping: ``{Klaviyo field: column}``; None maps by column name.
    :param only_changes: whether rows are compared with what was acknowledged.
    :param waits: whether the run waits for outcomes in doubt.
    """

    name = "subscriptions"
    may_change = ("channels", "key columns")  # who was asked, and where, is remembered by address

    def __init__(
        self,
        terms: Terms,
        mapping: Mapping[str, str] | None,
        options: SubscriptionOptions,
        *,
        only_changes: bool,
        waits: bool,
    ) -> None:
        self.mode = terms.mode
        self.limits = BatchLimits(self._endpoint(terms).max_records, int(MAX_REQUEST_BYTES * (1 - MARGIN)))
        self.keeps_state = terms.subscribes or terms.names_list
        self._terms = terms
        self._mapping = mapping
        self._options = options
        self._only_changes = only_changes
        self._waits = waits
        self._list_id: str | None = None
        self._asks = terms.subscribes and not terms.historical_import
        self._delivery: ConsentDelivery | None = None
        self._is_preview = False
        self._objections: Objections | None = None
        self._closing = ExitStack()
        self._means: Means

    @property
    def target(self) -> Mapping[str, str]:
        """The list and the channels."""
        return {"list": self._list_id or "", "channels": ", ".join(sorted(self._terms.channels))}

    @property
    def list_id(self) -> str | None:
        """The list, once it is found."""
        return self._list_id

    def prepare(self, client: KlaviyoClient, *, is_preview: bool) -> None:  # noqa: ARG002 - it only reads
        """Find the list, and how people join it.

        :raises KlaviyoConfigurationError: when there is no such list, or several.
        """
        terms = self._terms
        if terms.names_list:
            self._list_id = terms.list_id or _list_named(client, terms.list_name or "")
            is_single = _opt_in_process(client, self._list_id) == "single_opt_in"
            self._asks = self._asks and not is_single
        _announce_terms(terms, self._list_id, asks=self._asks)

    def begin(self, means: Means) -> None:
        """Take what a preview needs, too."""
        self._means = means

    def mapper(self, columns: Sequence[str]) -> Mapper:
        """The mapper for the columns of a result.

        :raises MappingError: when mapping, columns and terms do not fit.
        """
        known = FIELDS[self.mode]
        found = Columns(columns)
        mapping = self._mapping
        if (
            mapping
            and self._terms.historical_import
            and CONSENTED_AT not in mapping
            and _has(found, CONSENTED_AT)
        ):
            mapping = {**mapping, CONSENTED_AT: CONSENTED_AT}
        fields = bind_only(found, mapping, known, _ELSEWHERE.format(fields=", ".join(known)))
        self._check_consented_at(fields)
        self._check_wishes(fields)
        now = dt.datetime.fromtimestamp(self._means.client.server_now(), dt.UTC)
        mapper = SubscriptionMapper(fields, replace(self._options, now=now))
        left_alone = [name for place, name in enumerate(columns) if place not in fields.values()]
        log.info(
            "People are matched by %s. Columns left alone: %s.",
            mapper.identifier,
            ", ".join(left_alone) or "none",
        )
        return self._heard(mapper) if self._terms.subscribes and mapper.speaks_of else mapper

    def _heard(self, mapper: SubscriptionMapper) -> HeardMapper:
        """The mapper, where rows may disagree on somebody's consent."""
        if self._terms.conflicts == FIRST:
            words = self._closing.enter_context(closing(FirstWords(self._means.scratch)))
            return HeardMapper(mapper, words.hear)
        self._objections = self._closing.enter_context(closing(Objections(self._means.scratch)))
        return HeardMapper(mapper, self._objections.hear)

    def hold(self, means: Means) -> Hold | None:
        """Where rows speak of one person together, nobody is sent before the last one is read."""
        if self._objections:
            return HeldForConsent(means.scratch, self._objections)
        if self._terms.subscribes or len(self._terms.channels) == 1:
            return None
        if self._list_id:
            by_member = WishesByMember(Roster(means.client, self._list_id))
            return HeldWishes(means.scratch, by_member, needs_every_row=True, duplicate=_NOTHING_NEW)
        by_address = self._closing.enter_context(closing(WishesByAddress(means.scratch)))
        return HeldWishes(means.scratch, by_address, needs_every_row=False, duplicate=_NOTHING_NEW)

    def changes(self, ledger: Ledger | None, *, is_preview: bool) -> Changes:
        """What tells which rows are to be sent; without ``only_changes`` all of them, whatever state is kept."""
        return super().changes(ledger if self._only_changes else None, is_preview=is_preview)

    def delivery(self, means: Means) -> ConsentDelivery:
        """How batches reach Klaviyo."""
        endpoint = self._endpoint(self._terms, asks=self._asks)

        @contextmanager
        def turn() -> Iterator[Post]:
            with means.client.turn(endpoint, hold=CHECKED_FOR) as send:
                yield lambda batch: send(self._body(batch), read_accepted)

        return self._made(means, turn)

    def preview(self, path_of: PathOf) -> ConsentDelivery:
        """The same with its checks, which only read, and without requests that write."""
        shown, lock = PreviewDelivery(path_of, lambda batch: [self._body(batch)]), threading.Lock()

        def post(batch: Sequence[Record]) -> str:
            with lock:
                shown.send(batch)
            return ""

        self._is_preview = True
        return self._made(self._means, lambda: nullcontext(post))

    def tell(self) -> Mapping[str, object]:
        """How many people are subscribed, and how many were asked for a confirmation and are not yet."""
        sent = self._delivery.sent if self._delivery and not self._is_preview else 0
        if not self._terms.subscribes:
            return {"unsubscribed": sent, **self._not_awaited()}
        if isinstance(self._delivery, SubscribeDelivery) and self._delivery.perhaps_asked:
            log.warning(
                "%s addresses were not asked: an earlier request for them had no clear answer, so they may have been "
                "asked then. Set ask_again_after to ask them again when that time has passed.",
                f"{self._delivery.perhaps_asked:,}",
            )
        if self._asks and sent:
            log.info(
                "%s people were asked for a confirmation; they are subscribed when they give it.", f"{sent:,}"
            )
        return {"subscribed": 0 if self._asks else sent, "confirmation_requested": sent if self._asks else 0}

    def close(self) -> None:
        """Forget what rows said."""
        self._closing.close()

    def _not_awaited(self) -> Mapping[str, int]:
        """How many were asked to be unsubscribed from the list and may still be on it."""
        people = self._delivery.not_awaited if isinstance(self._delivery, UnsubscribeDelivery) else 0
        if not people or self._is_preview:
            return {}
        log.warning(
            "wait_for_completion=False: %s people are accepted on Klaviyo's word, and may be on the list for minutes "
            "yet. Until the next run sees them gone, or for a day, no sync that shares the storage takes them off it.",
            f"{people:,}",
        )
        return {"not_awaited": people}

    # --- what a delivery is made of ---------------------------------------------------------------------------

    def _made(self, means: Means, turn: Callable[[], AbstractContextManager[Post]]) -> ConsentDelivery:
        terms, client = self._terms, means.client
        endpoint = self._endpoint(terms, asks=self._asks)
        parts = Parts(
            client, self._state(means), turn, endpoint, _addresses(means), self._options.drop_invalid
        )
        if terms.subscribes:
            needs_profile = terms.globally and not terms.historical_import
            rules = Rules(self._list_id, terms.resubscribe, needs_profile=needs_profile)
            guard = Guard(client, self._list_id, rules)
            self._delivery = SubscribeDelivery(parts, guard, terms.ask_again_after)
        elif self._list_id is None:
            self._delivery = UncheckedDelivery(parts)
        else:
            patience = PATIENCE if self._waits and not self._is_preview else 0.0
            in_flight = InFlight.on(self._list_id, means, is_preview=self._is_preview)
            self._delivery = UnsubscribeDelivery(
                parts, self._list_id, in_flight, patience=patience, poll_interval=means.poll_interval
            )
        return self._delivery

    def _state(self, means: Means) -> AskedPeople:
        """What answers acknowledge: not a confirmation that was only asked for, and not leaving a list."""
        leaves_list = not self._terms.subscribes and self._list_id is not None
        return AskedPeople(
            means.ledger,
            now=means.client.server_now,
            remembers=self._asks or leaves_list,
            keeps_rows=self._only_changes,
            rows_with_request=not self._asks and not leaves_list,
        )

    @staticmethod
    def _endpoint(terms: Terms, *, asks: bool = False) -> Endpoint:
        if terms.subscribes:
            return SUBSCRIBE_ONCE if asks else SUBSCRIBE
        return UNSUBSCRIBE if terms.names_list else UNSUBSCRIBE_GLOBALLY

    def _body(self, batch: Sequence[Record]) -> bytes:
        terms = self._terms
        return consent_body(
            [record.body for record in batch],
            terms.mode,
            self._list_id,
            {"custom_source": terms.custom_source, "historical_import": terms.historical_import or None},
        )

    # --- checks before the first row --------------------------------------------------------------------------

    def _check_consented_at(self, fields: Mapping[str, int]) -> None:
        terms = self._terms
        needs_it = terms.historical_import or terms.resubscribe is Resubscribe.NEWER_CONSENT
        if CONSENTED_AT in fields and not needs_it:
            msg = (
                "consented_at is mapped (or is a column's name), and Klaviyo takes it with historical_import=True "
                "only. Set that if consent was given earlier elsewhere, or leave the column out of the mapping."
            )
            raise MappingError(msg)
        if CONSENTED_AT not in fields and needs_it:
            which = "historical_import=True" if terms.historical_import else "resubscribe='newer_consent'"
            msg = f"{which} needs the moment of everybody's consent: map a column to consented_at."
            raise MappingError(msg)

    def _check_wishes(self, fields: Mapping[str, int]) -> None:
        wishes = [f"consent.{channel}" for channel in CHANNELS if f"consent.{channel}" in fields]
        if wishes and not self._terms.subscribes:
            log.warning(
                "%s: where it is true the channel is unsubscribed; false and NULL leave it.",
                ", ".join(wishes),
            )
        idle = [
            channel
            for channel in CHANNELS
            if f"consent.{channel}" in fields and channel not in self._terms.channels
        ]
        if idle and self._mapping is not None:
            named = ", ".join(f"consent.{channel}" for channel in idle)
            msg = f"The mapping names {named}, but channels has no {' and no '.join(idle)}: add it, or leave it out."
            raise MappingError(msg)


def consent_body(
    people: Sequence[bytes], mode: str, list_id: str | None, attributes: Mapping[str, object]
) -> bytes:
    """The request that subscribes or unsubscribes people, given as encoded records."""
    kind = "create" if mode == subscription.SUBSCRIBE else "delete"
    profiles = msgspec.Raw(b'{"data":[' + b",".join(people) + b"]}")
    given = {name: value for name, value in attributes.items() if value is not None}
    data: dict[str, object] = {
        "type": f"profile-subscription-bulk-{kind}-job",
        "attributes": {**given, "profiles": profiles},
    }
    if list_id is not None:
        data["relationships"] = {"list": {"data": {"type": "list", "id": list_id}}}
    return msgspec.json.encode({"data": data})


def _addresses(means: Means) -> SeenPeople:
    folder = means.scratch / "addresses"
    folder.mkdir(exist_ok=True)
    return SeenPeople(folder)


def _has(columns: Columns, name: str) -> bool:
    return name in {column.casefold() for column in columns.names}


def _list_named(client: KlaviyoClient, name: str) -> str:
    found = find_list(client, name)
    if found is None:
        msg = (
            f"Klaviyo has no list named {name!r}, and this sync creates none. Nothing was sent: check the spelling, or "
            "create the list with KlaviyoCreateListOperator."
        )
        raise KlaviyoConfigurationError(msg)
    return found


def _opt_in_process(client: KlaviyoClient, list_id: str) -> object:
    """How people join a list: ``single_opt_in``, ``double_opt_in``, or whatever Klaviyo will call it one day."""
    try:
        resource = client.send(GET_LIST, resource_id=list_id, read=read_resource)
    except KlaviyoRequestError as error:
        if error.status not in NOT_FOUND:
            raise
        msg = f"Klaviyo has no list with the id {list_id}. Nothing was sent: check list_id, or use list_name."
        raise KlaviyoConfigurationError(msg) from error
    return attributes_of(resource).get("opt_in_process")


def _announce_terms(terms: Terms, list_id: str | None, *, asks: bool) -> None:
    where = f"list {list_id}" if list_id else "no list"
    log.info("%s: %s, channels %s.", terms.mode.capitalize(), where, ", ".join(terms.channels))
    if asks:
        log.info(
            "People are asked for a confirmation, once each%s. Whoever was asked is not subscribed before giving it.",
            "" if list_id else ", if that is the account's default, which cannot be read",
        )
    if terms.resubscribe is Resubscribe.ALWAYS:
        log.warning("resubscribe=True: people who have opted out are subscribed again.")
    if not terms.subscribes and list_id:
        log.info(
            "Whether Klaviyo's account-wide setting turns leaving a list into unsubscribing from everything cannot be "
            "read: look it up in Klaviyo's settings."
        )
    if not terms.subscribes and not list_id:
        log.warning("globally=True: people are unsubscribed from everything on the channels named.")
