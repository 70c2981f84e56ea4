"""A shop whose customers do not exist: names, numbers and addresses of ranges that belong to nobody."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

COLUMNS = (
    "id TEXT, email TEXT, phone TEXT, first_name TEXT, last_name TEXT, city TEXT, country TEXT, tier TEXT, "
    "lifetime_value REAL, last_order_at TEXT, updated_at TEXT"
)

FIRST_NAMES = "Ada Björn Chloé Dmitri Emeka Fatima Grace Hiroshi Inês Jürgen Katherine".split()
LAST_NAMES = "Lovelace Åström Dubois Petrov Okafor Hassan Hopper Tanaka Sousa".split()
CITIES = "Boston Chicago Denver Portland Austin Seattle Atlanta".split()
TIERS = ("bronze", "silver", "gold", None)
AREA_CODES = "212 206 303 312 404 415 503 512 617 702 713 773 801 816 901 205 214 305 314 407".split()

Customer = tuple[str | float | None, ...]

FAULTY: tuple[tuple[str, str | None, str | None], ...] = (
    ("F01", "short.number@mail.example", "(212) 555-01"),
    ("F02", "call.me@mail.example", "ask my wife"),
    ("F03", "two@@mail.example", "(212) 555-0100"),
    ("F04", "with space@mail.example", None),
    ("F05", None, None),
    ("F06", "  ", "+1 999"),
    ("F07", "CUSTOMER.1@mail.example", None),
    ("F08", "customer.2@mail.example", None),
)
"""What people type into a shop: numbers too short, no numbers, no addresses, nothing, and themselves a second time."""


def make_shop(path: Path, customers: int) -> int:
    """Make a fresh SQLite file with a table ``customers``; returns its number of rows."""
    path.unlink(missing_ok=True)
    rows = [*(good_customer(number) for number in range(1, customers + 1)), *faulty_customers()]
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"CREATE TABLE customers ({COLUMNS})")
        database.executemany(f"INSERT INTO customers VALUES ({', '.join('?' * len(rows[0]))})", rows)
        database.commit()
    return len(rows)


def good_customer(number: int) -> Customer:
    """Someone whom Klaviyo takes as they are; the first 2,000 have a phone number (555-0100 to 0199 are fiction)."""
    area, line = divmod(number - 1, 100)
    return (
        f"C{number:06}",
        f"customer.{number}@mail.example",
        f"({AREA_CODES[area]}) 555-{100 + line:04}" if area < len(AREA_CODES) else None,
        FIRST_NAMES[number % len(FIRST_NAMES)],
        LAST_NAMES[number % len(LAST_NAMES)],
        CITIES[number % len(CITIES)],
        "US",
        TIERS[number % len(TIERS)],
        round(number * 7.35 % 990, 2),
        *[f"2026-{number % 9 + 1:02}-{number % 28 + 1:02} 09:30:00"] * 2,
    )


def faulty_customers() -> Iterator[Customer]:
    """Rows older than all good ones, so that ``ORDER BY updated_at DESC`` prefers the good ones."""
    for name, email, phone in FAULTY:
        yield (name, email, phone, "Faulty", name, None, "US", None, 0.0, None, "2024-01-01 00:00:00")
