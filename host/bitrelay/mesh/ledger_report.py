"""What a proof-of-relay ledger comes to: sums for its owner. Nothing is checked here (see `ledger_verify`)."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import BadData
from ..identity.keys import peer_id_of
from ..sqlite_file import open_to_read, reading, snapshot
from .ledger_export import ENTRY_KEYS
from .relay_ledger import LEDGER

MOST_MESHES: Final = 64
"""Those with most entries are told."""


@dataclass(frozen=True, slots=True)
class Sum:
    """Of entries that have one thing in common; of: what."""

    of: str
    entries: int
    fees: int


@dataclass(frozen=True, slots=True)
class Report:
    """relayer: PeerId. begun_ms, since_ms, until_ms: Unix; the last two of the first and last entry, 0 without one.

    last: the highest number; pruned, claimed: up to where. entries, fees: of what is there. newest: entries, the
    newest first, keys as in an export, and `claimed`.
    """

    relayer: bytes
    begun_ms: int
    since_ms: int
    until_ms: int
    last: int
    pruned: int
    claimed: int
    entries: int
    fees: int
    by_target: tuple[Sum, ...]
    by_origin: tuple[Sum, ...]
    by_hops: tuple[Sum, ...]
    newest: tuple[dict[str, Any], ...]


def report(path: Path, newest: int = 10) -> Report:
    """Sum a ledger up, also while a gateway writes it. Raises BadData if it is none or damaged, PortError, PortBusy."""
    connection = open_to_read(path, LEDGER)
    try:
        with reading(path), snapshot(connection):
            return _report(connection, newest)
    except (TypeError, ValueError):
        # SQLite holds no column to its type.
        raise BadData(f"there is something else in {path} than a ledger has") from None
    finally:
        connection.close()


def _report(connection: sqlite3.Connection, newest: int) -> Report:
    def one(question: str, *values: Any) -> Any:
        return connection.execute(question, values).fetchone()

    signing_key, begun_ms = one("SELECT signing_key, begun_ms FROM ledger") or (b"", 0)
    marks = dict(connection.execute("SELECT what, last FROM marks").fetchall())
    pruned, claimed = int(marks.get("anchor", 0)), int(marks.get("claim", 0))
    entries, fees = one("SELECT count(*), coalesce(sum(fee), 0) FROM entries")
    last, until_ms = one("SELECT number, time_ms FROM entries ORDER BY number DESC LIMIT 1") or (pruned, 0)
    (since_ms,) = one("SELECT time_ms FROM entries ORDER BY number LIMIT 1") or (0,)
    rows = connection.execute(f"SELECT {', '.join(ENTRY_KEYS)} FROM entries ORDER BY number DESC LIMIT ?", (newest,))
    told = tuple(dict(zip(ENTRY_KEYS, row, strict=True)) | {"claimed": row[0] <= claimed} for row in rows.fetchall())
    return Report(
        relayer=peer_id_of(signing_key),
        begun_ms=int(begun_ms),
        since_ms=int(since_ms),
        until_ms=int(until_ms),
        last=last,
        pruned=pruned,
        claimed=claimed,
        entries=entries,
        fees=int(fees),
        by_target=_sums(connection, "target"),
        by_origin=_sums(connection, "origin"),
        by_hops=_sums(connection, "hops"),
        newest=told,
    )


def _sums(connection: sqlite3.Connection, column: str) -> tuple[Sum, ...]:
    rows = connection.execute(
        f"SELECT {column}, count(*), sum(fee) FROM entries GROUP BY {column} ORDER BY count(*) DESC, {column} LIMIT ?",
        (MOST_MESHES,),
    )
    return tuple(Sum(str(of), entries, int(fees)) for of, entries, fees in rows.fetchall())
