"""A proof-of-relay ledger as JSON objects, one a line, for whoever wants to check or count it (docs/ledger.md).

A header; every entry, and after each block the relayer's seal on it; an end, without which the rest was lost.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from ..errors import PortBusy
from ..identity.keys import peer_id_of
from ..sqlite_file import open_to_read, reading, snapshot
from .relay_chain import MOST_BLOCK
from .relay_ledger import LEDGER

FORMAT: Final = 1
ENTRY_KEYS: Final = (
    "number",
    "packet_hash",
    "source",
    "destination",
    "hops",
    "origin",
    "target",
    "time_ms",
    "fee",
    "hash",
)
SEAL_KEYS: Final = ("first", "last", "head", "time_ms", "signature")

_PAGE_BLOCKS: Final = 64
_PAGE_ENTRIES: Final = 20_000
_BELOW_ALL, _ABOVE_ALL = -(1 << 63), (1 << 63) - 1

Record = dict[str, object]


def export(path: Path) -> Iterator[Record]:
    """What a ledger holds, also while a gateway writes it: what `ledger_verify.verify` takes.

    Nothing is checked here. Raises BadData if it is no ledger or damaged, TooNew, PortError, and PortBusy if what was
    to come next was pruned meanwhile.
    """
    connection = open_to_read(path, LEDGER)
    try:
        with reading(path), snapshot(connection):
            header, anchored = _header(connection), _anchored(connection)
        yield header
        # Without a bound below: whatever is in it is told.
        at, end = _BELOW_ALL, cast("Record | None", header["anchor"])
        while True:
            with reading(path), snapshot(connection):  # never for as long as whoever takes the export likes
                if _anchored(connection) > max(at, anchored):
                    raise PortBusy(f"{path} was pruned while it was read", hint="Run it again")
                page = _page(connection, at)
            if not page:
                break
            yield from page
            end = page[-1]
            at = cast("int", end.get("last", _ABOVE_ALL))
        yield {"end": end.get("last"), "head": end.get("head")} if end else {"end": 0, "head": None}
    finally:
        connection.close()


def _header(connection: sqlite3.Connection) -> Record:
    row = connection.execute("SELECT signing_key, begun_ms FROM ledger").fetchone() or (None, None)
    relayer = peer_id_of(row[0]).hex() if isinstance(row[0], bytes) else None
    marks = {what: _mark(connection, what) for what in ("anchor", "claim")}
    return {"ledger": FORMAT, "relayer": relayer, "signing_key": _plain(row[0]), "begun_ms": row[1]} | marks


def _mark(connection: sqlite3.Connection, what: str) -> Record | None:
    row = connection.execute(f"SELECT {', '.join(SEAL_KEYS)} FROM marks WHERE what = ?", (what,)).fetchone()
    return _record(SEAL_KEYS, row) if row else None


def _anchored(connection: sqlite3.Connection) -> int:
    anchor = _mark(connection, "anchor")
    last = anchor["last"] if anchor else 0
    return last if isinstance(last, int) else 0


def _page(connection: sqlite3.Connection, at: int) -> list[Record]:
    # The blocks that come next, some of them, each after its entries; at the end, entries that are in none.
    blocks = connection.execute(
        f"SELECT {', '.join(SEAL_KEYS)} FROM blocks WHERE last > ? ORDER BY last LIMIT ?", (at, _PAGE_BLOCKS)
    ).fetchall()
    lasts = [block[1] for block in blocks]
    most = max(at, lasts[0] - 1) + _PAGE_ENTRIES if blocks else 0
    blocks = [block for block in blocks if block[1] <= max(most, lasts[0])]
    rows = connection.execute(
        f"SELECT {', '.join(ENTRY_KEYS)} FROM entries WHERE number > ? AND number <= ? ORDER BY number LIMIT ?",
        (at, blocks[-1][1] if blocks else _ABOVE_ALL, MOST_BLOCK + _PAGE_ENTRIES if blocks else 1),
    ).fetchall()
    page: list[Record] = []
    place = 0
    for block in blocks:
        while place < len(rows) and rows[place][0] <= block[1]:
            page.append(_record(ENTRY_KEYS, rows[place]))
            place += 1
        page.append(_record(SEAL_KEYS, block))
    return page + [_record(ENTRY_KEYS, row) for row in rows[place:]]


def _record(keys: tuple[str, ...], row: tuple[object, ...]) -> Record:
    return dict(zip(keys, map(_plain, row), strict=True))


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value
