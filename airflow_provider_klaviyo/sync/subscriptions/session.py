"""A subscriptions sync during one run: its checks, and the delivery that its terms take."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_klaviyo.client.responses import read_accepted
from airflow_provider_klaviyo.records.mapping import Columns, MappingError, bind_only
from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.records.subscriptions.consent import CHANNELS
from airflow_provider_klaviyo.records.subscriptions.mapper import (
    SubscriptionMapper,
    SubscriptionOptions,
)
from airflow_provider_klaviyo.records.subscriptions.mapping import CONSENTED_AT, FIELDS, elsewhere
from airflow_provider_klaviyo.sync.contracts import Hold, Mapper, Session, SyncContext, SyncType, Target
from airflow_provider_klaviyo.sync.delivery.preview import PathOf, PreviewDelivery
from airflow_provider_klaviyo.sync.in_flight.notes import InFlight
from airflow_provider_klaviyo.sync.seen import SeenPeople
from airflow_provider_klaviyo.sync.subscriptions.agreement import FIRST, Resubscribe
from airflow_provider_klaviyo.sync.subscriptions.asked import AskedPeople
from airflow_provider_klaviyo.sync.subscriptions.bodies import consent_body
from airflow_provider_klaviyo.sync.subscriptions.consent_words import FirstWords, HeardMapper, Objections
from airflow_provider_klaviyo.sync.subscriptions.delivery import (
    ConsentDelivery,
    Parts,
    Post,
    UncheckedDelivery,
)
from airflow_provider_klaviyo.sync.subscriptions.grouping import GroupByAddress, GroupByMember
from airflow_provider_klaviyo.sync.subscriptions.guard import Guard
from airflow_provider_klaviyo.sync.subscriptions.held import HeldForConsent
from airflow_provider_klaviyo.sync.subscriptions.held_unsubscribes import HeldUnsubscribes
from airflow_provider_klaviyo.sync.subscriptions.looks import LONGEST_LOOK
from airflow_provider_klaviyo.sync.subscriptions.roster import Roster
from airflow_provider_klaviyo.sync.subscriptions.standing import Rules
from airflow_provider_klaviyo.sync.subscriptions.subscribe import SubscribeDelivery
from airflow_provider_klaviyo.sync.subscriptions.terms import Terms
from airflow_provider_klaviyo.sync.subscriptions.unsubscribe import UnsubscribeDelivery
from airflow_provider_klaviyo.wording import counted

log = logging.getLogger(__name__)

_NOTHING_NEW = "other rows of this run ask for the same, and the first ones count"


@dataclass(frozen=True, slots=True)
class ConsentTarget(Target):
    """What consent is changed for.

    :param asks: whether people are asked for a confirmation, and subscribed only when they give it.
    """

    asks: bool = False


class SubscriptionsSession(Session):
    """A subscriptions sync during one run; its parameters are those of ``SubscriptionsSync``.

    :param patience: seconds to look for outcomes in doubt; 0 where the run does not wait.
    """

    def __init__(
        self,
        sync_type: SyncType,
        context: SyncContext,
        terms: Terms,
        mapping: Mapping[str, str] | None,
        options: SubscriptionOptions,
        *,
        only_changes: bool,
        patience: float,
        look_seconds: float,
    ) -> None:
        super().__init__(sync_type, context)
        if not only_changes:  # all rows are sent, whatever state is kept
            self.changes = self._changes(None, sync_type, is_preview=context.is_preview)
        self._terms = terms
        self._mapping = mapping
        self._options = options
        self._only_changes = only_changes
        self._patience = patience
        self._look_seconds = look_seconds
        self._list_id = context.target.list_id
        self._asks = isinstance(context.target, ConsentTarget) and context.target.asks
        self._delivery: ConsentDelivery | None = None
        self._objections: Objections | None = None
        self._closing = ExitStack()

    def mapper(self, columns: Sequence[str]) -> Mapper:
        """The mapper for the columns of a result.

        :raises MappingError: when mapping, columns and terms do not fit.
        """
        found = Columns(columns)
        mapping = self._mapping
        if (
            mapping
            and self._terms.historical_import
            and CONSENTED_AT not in mapping
            and _has(found, CONSENTED_AT)
        ):
            mapping = {**mapping, CONSENTED_AT: CONSENTED_AT}
        fields = bind_only(found, mapping, FIELDS[self._terms.mode], elsewhere(self._terms.mode))
        self._check_consented_at(fields)
        self._check_consent_flags(fields)
        now = dt.datetime.fromtimestamp(self._context.client.server_now(), dt.UTC)
        mapper = SubscriptionMapper(fields, self._options, now)
        left_alone = [name for index, name in enumerate(columns) if index not in fields.values()]
        log.info(
            "People are matched by %s. Columns left alone: %s.",
            mapper.identifier,
            ", ".join(left_alone) or "none",
        )
        return self._heard(mapper) if self._terms.subscribes and mapper.speaks_of else mapper

    def _heard(self, mapper: SubscriptionMapper) -> HeardMapper:
        """The mapper, where rows may disagree on somebody's consent."""
        if self._terms.conflicts == FIRST:
            words = self._closing.enter_context(closing(FirstWords(self._context.scratch)))
            return HeardMapper(mapper, words.hear)
        self._objections = self._closing.enter_context(closing(Objections(self._context.scratch)))
        return HeardMapper(mapper, self._objections.hear)

    def hold(self, *, may_meet_more_columns: bool) -> Hold | None:
        """Where rows speak of one person together, or may yet do so, nobody is sent before the last one is read."""
        if self._objections or (self._terms.subscribes and may_meet_more_columns):
            return HeldForConsent(self._context.scratch, self._objections)
        if self._terms.subscribes or len(self._terms.channels) == 1:
            return None
        if self._list_id:
            by_member = GroupByMember(Roster(self._context.client, self._list_id))
            return HeldUnsubscribes(
                self._context.scratch, by_member, needs_every_row=True, duplicate=_NOTHING_NEW
            )
        by_address = self._closing.enter_context(closing(GroupByAddress(self._context.scratch)))
        return HeldUnsubscribes(
            self._context.scratch, by_address, needs_every_row=False, duplicate=_NOTHING_NEW
        )

    def delivery(self) -> ConsentDelivery:
        """How batches reach Klaviyo."""
        endpoint = self._terms.endpoint(asks=self._asks)

        @contextmanager
        def turn(look_takes: float) -> Iterator[Post]:
            with self._context.client.turn(endpoint, hold=LONGEST_LOOK, prepares=look_takes) as one:
                yield Post(lambda batch: one.send(self._body(batch), read_accepted), one.wait)

        return self._made(turn)

    def preview(self, path_of: PathOf) -> ConsentDelivery:
        """The same with its checks, which only read, and without requests that write."""
        shown, lock = PreviewDelivery(path_of, lambda batch: [self._body(batch)]), threading.Lock()

        def post(batch: Sequence[Record]) -> str:
            with lock:
                shown.send(batch)
            return ""

        return self._made(lambda _: nullcontext(Post(post)))

    def report_extras(self) -> Mapping[str, object]:
        """How many people are subscribed, and how many were asked for a confirmation and are not yet."""
        sent = self._delivery.sent if self._delivery and not self._context.is_preview else 0
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
                "%s asked for a confirmation, and will be subscribed when it is given.",
                counted(sent, "person was", "people were"),
            )
        return {"subscribed": 0 if self._asks else sent, "confirmation_requested": sent if self._asks else 0}

    def close(self) -> None:
        """Forget what rows said."""
        self._closing.close()

    def _not_awaited(self) -> Mapping[str, int]:
        """How many were asked to be unsubscribed from the list and may still be on it."""
        people = self._delivery.not_awaited if isinstance(self._delivery, UnsubscribeDelivery) else 0
        if not people or self._context.is_preview:
            return {}
        log.warning(
            "wait_for_completion=False: %s people are accepted on Klaviyo's word, and may be on the list for minutes "
            "yet. Until the next run sees them gone, or for a day, no sync that shares the storage takes them off it.",
            f"{people:,}",
        )
        return {"not_awaited": people}

    # --- what a delivery is made of ---------------------------------------------------------------------------

    def _made(self, turn: Callable[[float], AbstractContextManager[Post]]) -> ConsentDelivery:
        terms, client = self._terms, self._context.client
        endpoint = terms.endpoint(asks=self._asks)
        parts = Parts(
            client,
            self._state(),
            turn,
            endpoint,
            _addresses(self._context.scratch),
            self._options.drop_invalid,
        )
        if terms.subscribes:
            needs_profile = terms.globally and not terms.historical_import
            rules = Rules(self._list_id, terms.resubscribe, needs_profile=needs_profile)
            guard = Guard(client, self._list_id, rules, look_seconds=self._look_seconds)
            self._delivery = SubscribeDelivery(parts, guard, terms.ask_again_after)
        elif self._list_id is None:
            self._delivery = UncheckedDelivery(parts)
        else:
            patience = 0.0 if self._context.is_preview else self._patience
            in_flight = InFlight.on(self._list_id, self._context)
            self._delivery = UnsubscribeDelivery(
                parts,
                self._list_id,
                in_flight,
                patience=patience,
                poll_interval=self._context.poll_interval,
                look_seconds=self._look_seconds,
            )
        return self._delivery

    def _state(self) -> AskedPeople:
        """What answers acknowledge: not a confirmation that was only asked for, and not leaving a list."""
        leaves_list = not self._terms.subscribes and self._list_id is not None
        return AskedPeople(
            self._context.ledger,
            now=self._context.client.server_now,
            remembers=self._asks or leaves_list,
            keeps_rows=self._only_changes,
            is_outcome_awaited=leaves_list and self._patience > 0 and not self._context.is_preview,
        )

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

    def _check_consent_flags(self, fields: Mapping[str, int]) -> None:
        flags = [f"consent.{channel}" for channel in CHANNELS if f"consent.{channel}" in fields]
        if flags and not self._terms.subscribes:
            log.warning(
                "%s: where it is true the channel is unsubscribed; false and NULL leave it.",
                ", ".join(flags),
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


def _addresses(scratch: Path) -> SeenPeople:
    folder = scratch / "addresses"
    folder.mkdir(exist_ok=True)
    return SeenPeople(folder)


def _has(columns: Columns, name: str) -> bool:
    return name in {column.casefold() for column in columns.names}
