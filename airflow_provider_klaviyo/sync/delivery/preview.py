"""A delivery that writes nothing to Klaviyo: it counts, and keeps the first requests to look at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from airflow_provider_klaviyo.records.record import Record
from airflow_provider_klaviyo.state.storage import usable
from airflow_provider_klaviyo.sync.delivery.no_jobs import NoJobs
from airflow_provider_klaviyo.sync.outcomes import Settled
from airflow_provider_klaviyo.sync.rejects import StoragePath, write_private

log = logging.getLogger(__name__)

_REQUESTS = 3

Bodies = Callable[[Sequence[Record]], Sequence[bytes]]
PathOf = Callable[[int], StoragePath]


class PreviewDelivery(NoJobs):
    """Accepts everything and sends nothing.

    :param path_of: gives the path of the n-th request file.
    :param bodies_of: makes the request bodies of a batch.
    """

    def __init__(self, path_of: PathOf, bodies_of: Bodies) -> None:
        self._path_of = path_of
        self._bodies_of = bodies_of
        self._sent: dict[int, Settled] = {}
        self._told = 0
        self.written: list[str] = []

    def send(self, batch: Sequence[Record]) -> None:
        """Count a batch, and write down the first requests that it would take."""
        if len(self.written) < _REQUESTS:
            for body in self._bodies_of(batch)[: _REQUESTS - len(self.written)]:
                self._write(body)
        self._sent[batch[0].number] = Settled(accepted=len(batch))

    def knows(self, batch: Sequence[Record]) -> bool:
        """Whether a batch was counted."""
        return batch[0].number in self._sent

    def settled(self) -> Iterator[Settled]:
        """What was sent since the last call."""
        for settled in list(self._sent.values())[self._told :]:
            yield settled
            self._told += 1

    def finish(self) -> Iterator[Settled]:
        """Nothing to wait for."""
        return self.settled()

    def abandon(self, reason: str) -> Iterator[Settled]:  # noqa: ARG002 - as the other deliveries
        """Nothing is in doubt."""
        return self.settled()

    def close(self) -> None:
        """Nothing to give back."""

    def _write(self, body: bytes) -> None:
        path = self._path_of(len(self.written) + 1)
        with usable(path, "A request cannot be shown in"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private(path, msgspec.json.format(body, indent=2))
        self.written.append(str(path))
        if len(self.written) == 1:
            log.info("The first request, values masked: %s", masked(body))


def masked(body: bytes) -> str:
    """The shape of a request: its first record, with every value but Klaviyo's own words replaced."""
    return msgspec.json.encode(_masked(msgspec.json.decode(body))).decode()


def _masked(value: object, key: str = "") -> object:
    if isinstance(value, Mapping):
        return {name: _masked(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return (
            [_masked(value[0], key), *([f"and {len(value) - 1} more"] if len(value) > 1 else [])]
            if value
            else []
        )
    return value if key == "type" or value is None else "***"
