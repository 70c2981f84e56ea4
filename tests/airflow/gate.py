"""A gate in a database of PostgreSQL, at which queries wait for each other: ``SELECT … FROM …, wait_at_gate()``."""

from __future__ import annotations

import psycopg

GATE = (
    "CREATE TABLE gate (is_open bool)",
    "INSERT INTO gate VALUES (false)",
    """
    CREATE FUNCTION wait_at_gate() RETURNS bool LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
        PERFORM pg_advisory_lock_shared(4711);
        WHILE NOT (SELECT is_open FROM gate) LOOP PERFORM pg_sleep(0.05); END LOOP;
        RETURN true;
    END $$
    """,
)
"""The statements that build it."""

_WAITING = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE locktype = 'advisory' AND objid = 4711 AND datname = current_database()
"""


def waiting_at_gate(database: str) -> int:
    """How many queries wait."""
    with psycopg.connect(database) as connection:
        row = connection.execute(_WAITING).fetchone()
    return row[0] if row else 0


def open_gate(database: str) -> None:
    """Let everybody through, from now on."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE gate SET is_open = true")
