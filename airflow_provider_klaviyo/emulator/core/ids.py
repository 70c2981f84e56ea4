"""Ids in the forms that Klaviyo gives them."""

from __future__ import annotations

import base64
import random
import string

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {letter: value for value, letter in enumerate(_CROCKFORD)}
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
_MASK = (1 << 40) - 1
_SPREAD = 0x9E3779B97F


class Ids:
    """Makes ids; the same seed makes the same ones."""

    def __init__(self, account_id: str, seed: int) -> None:
        self._account_id = account_id
        self._random = random.Random(seed)  # noqa: S311 - ids, not secrets
        self._salt = self._random.getrandbits(40)

    def profile(self, number: int, created: float) -> str:
        """The ULID of a profile. Its number can be read back, so that no table of ids is needed; ids rise with it."""
        return (
            _base32(int(created * 1000), 10)
            + _base32(number, 8)
            + _base32((number * _SPREAD + self._salt) & _MASK, 8)
        )

    def number_of(self, profile_id: str) -> int | None:
        """The number that a profile id would carry; whether it is really that id is the store's business."""
        if len(profile_id) != 26:
            return None
        number = 0
        for letter in profile_id[10:18]:
            if letter not in _VALUES:
                return None
            number = number << 5 | _VALUES[letter]
        return number

    def list(self) -> str:
        """Six letters and digits, as `Y6nRLr`."""
        return self._word()

    def metric(self) -> str:
        """Six letters and digits, as `SkDfHe`."""
        return self._word()

    def event(self, number: int) -> str:
        """Eleven letters and digits, all different; which of them comes when means nothing."""
        return _base32((number * _SPREAD + self._salt) % (1 << 55), 11)

    def job(self, created: float) -> str:
        """The id of a bulk import job."""
        text = f"{self._account_id}_maintenance.{self._word()}.{int(created)}.{self._word()}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def _word(self) -> str:
        return "".join(self._random.choices(string.ascii_letters + string.digits, k=6))


def _base32(number: int, digits: int) -> str:
    """The last digits of a number, written two at a time."""
    pairs = "".join(
        [_PAIRS[number >> shift & 1023] for shift in range(5 * (digits - digits % 2) - 10, -1, -10)]
    )
    return _CROCKFORD[number >> 5 * (digits - 1) & 31] + pairs if digits % 2 else pairs
