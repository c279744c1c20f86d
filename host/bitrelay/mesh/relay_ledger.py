"""The proof-of-relay ledger: who relayed what, when, from where to where. It counts; it moves no value.

Append-only accounting (row MSH-42, resolution E27, section D; docs/ledger.md). Entries form a chain of hashes, and the
relayer signs its head with every block, so that nobody can alter, remove or insert an entry behind the relayer's back,
nor the relayer behind that of whoever has an export.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

from ..errors import BadData, BrokenLedger
from ..identity.keys import IdentityKeys
from ..sqlite_file import Schema, open_database, open_existing, snapshot, told, transaction
from .relay_chain import (
    MOST_BLOCK,
    Chain,
    Entry,
    RelayEvent,
    Seal,
    block_image,
    claim_image,
    is_sealed,
    ledger_id,
    linked,
)

__all__ = ["LEDGER", "Entry", "RelayEvent", "RelayLedger", "prune"]

LEDGER: Final = Schema(
    application_id=0x4252524C,  # "BRRL"
    version=1,
    durable=True,
    tables="""
CREATE TABLE ledger (only INTEGER PRIMARY KEY CHECK (only = 0), signing_key BLOB NOT NULL, begun_ms INTEGER NOT NULL);
CREATE TABLE entries (
    number INTEGER PRIMARY KEY,
    packet_hash BLOB NOT NULL,
    source BLOB NOT NULL,
    destination BLOB NOT NULL,
    hops INTEGER NOT NULL,
    origin TEXT NOT NULL,
    target TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    hash BLOB NOT NULL
);
CREATE TABLE blocks (
    last INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    head BLOB NOT NULL,
    time_ms INTEGER NOT NULL,
    signature BLOB NOT NULL
);
CREATE TABLE marks (
    what TEXT PRIMARY KEY,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    head BLOB NOT NULL,
    time_ms INTEGER NOT NULL,
    signature BLOB NOT NULL
) WITHOUT ROWID;
""",
)
"""marks: "anchor" is the last block that was let go, "claim" up to where entries are claimed."""

_ENTRY: Final = "number, packet_hash, source, destination, hops, origin, target, time_ms, fee, hash"
_SEAL: Final = "first, last, head, time_ms, signature"
_CHECKED_BLOCKS: Final = 64
_CHECKED_ENTRIES: Final = 10_000
_PRUNED_BLOCKS: Final = 256


class RelayLedger:
    """The ledger of one relayer, in SQLite. Not for use from several threads at once; calls may block for the disk.

    What append() has returned for is on the disk. Pruned entries leave the hash of the last of them behind, so that the
    chain goes on. set_aside: where a damaged file is that was there.
    """

    def __init__(self, path: Path, keys: IdentityKeys, clock: Callable[[], float]) -> None:
        """clock: Unix seconds. Of what is there the newest blocks are checked; `ledger_verify` checks all.

        Raises what `sqlite_file.open_database` raises, and BadData if the chain in it is broken, or another relayer's.
        """
        self.path = path
        self._keys = keys
        self._clock = clock
        opened = open_database(path, LEDGER, clock)
        self.set_aside = opened.set_aside
        self._database = opened.connection
        try:
            with told(path):
                self._id = self._own_id()
                with snapshot(self._database):
                    self._check()
        except BaseException:
            self._database.close()
            raise

    @property
    def last(self) -> int:
        """The number of the last entry, pruned or not; 0 if there was none."""
        with told(self.path):
            return self._head()[0]

    @property
    def claimed(self) -> int:
        """Up to which number entries are claimed."""
        with told(self.path):
            claim = self._mark("claim")
        return claim.last if claim else 0

    def append(self, events: Sequence[RelayEvent]) -> int:
        """Append events as one signed block; the number of the last entry.

        Of more than MOST_BLOCK events it makes several blocks. Raises DiskFull, PortError, PortBusy, and ValueError for
        an event that is none: then none is in it.
        """
        with told(self.path), transaction(self._database):
            # Read anew each time: another process may have pruned.
            number, head = self._head()
            for at in range(0, len(events), MOST_BLOCK):
                number, head = self._append_block(number, head, events[at : at + MOST_BLOCK])
        return number

    def entries(self, after: int = 0, most: int = 1000) -> list[Entry]:
        """At most so many entries with higher numbers than `after`, in order. Raises PortError, PortBusy."""
        with told(self.path), snapshot(self._database):
            rows = self._all(f"SELECT {_ENTRY} FROM entries WHERE number > ? ORDER BY number LIMIT ?", after, most)
            if not rows:
                return []
            previous = self._hash_of(rows[0][0] - 1)
            claim = self._mark("claim")
        claimed = claim.last if claim else 0
        found = []
        for number, *facts, hash in rows:
            found.append(Entry(number, RelayEvent(*facts), previous, hash, number <= claimed))
            previous = hash
        return found

    def mark_claimed(self, upto: int) -> None:
        """Say that the entries up to this number are claimed: never fewer than before.

        Raises BadData if there is no such entry, DiskFull, PortError, PortBusy.
        """
        with told(self.path), transaction(self._database):
            claim = self._mark("claim")
            if claim is not None and upto <= claim.last:
                return
            rows = self._all("SELECT hash FROM entries WHERE number = ?", upto)
            if not rows:
                raise BadData(f"{self.path} has no entry {upto}")
            now, (head,) = self._now_ms(), rows[0]
            signature = self._keys.sign(claim_image(self._id, 1, upto, head, now))
            _put_mark(self._database, "claim", Seal(1, upto, head, now, signature))

    def prune(self, keep_s: float) -> int:
        """Let go of whole blocks older than that; how many entries. Raises DiskFull, PortError, PortBusy."""
        with told(self.path):
            return _prune(self._database, int((self._clock() - keep_s) * 1000))

    def close(self) -> None:
        """Harmless when repeated."""
        with told(self.path):
            self._database.close()

    def _append_block(self, number: int, head: bytes, events: Sequence[RelayEvent]) -> tuple[int, bytes]:
        first = number + 1
        rows = []
        for event in events:
            number += 1
            head = linked(head, number, event)
            rows.append(
                (
                    number,
                    event.packet_hash,
                    event.source,
                    event.destination,
                    event.hops,
                    event.origin,
                    event.target,
                    event.time_ms,
                    event.fee,
                    head,
                )
            )
        self._database.executemany(f"INSERT INTO entries ({_ENTRY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        now = self._now_ms()
        signature = self._keys.sign(block_image(self._id, first, number, head, now))
        seal = (first, number, head, now, signature)
        self._database.execute(f"INSERT INTO blocks ({_SEAL}) VALUES (?, ?, ?, ?, ?)", seal)
        return number, head

    def _own_id(self) -> bytes:
        own = self._keys.signing_key
        rows = self._all("SELECT signing_key, begun_ms FROM ledger")
        if not rows:
            self._database.execute("INSERT OR IGNORE INTO ledger VALUES (0, ?, ?)", (own, self._now_ms()))
            rows = self._all("SELECT signing_key, begun_ms FROM ledger")
        signing_key, begun_ms = rows[0]
        if signing_key != own:
            raise BadData(f"{self.path} is the ledger of another identity", hint="Move it away to begin one")
        if type(begun_ms) is not int or begun_ms < 0:
            raise self._broken("it does not say when it was begun")
        return ledger_id(own, begun_ms)

    def _check(self) -> None:
        try:
            self._check_marks()
            self._check_newest()
        except BrokenLedger as error:
            raise self._broken(error.what) from None
        except BadData:
            raise
        except (TypeError, ValueError, AttributeError):
            # SQLite holds no column to its type.
            raise self._broken("there is something else in it than was written") from None

    def _check_marks(self) -> None:
        for what, image in (("anchor", block_image), ("claim", claim_image)):
            mark = self._mark(what)
            if mark is not None and not is_sealed(self._keys.signing_key, self._id, mark, image):
                raise self._broken(f"its {what} was not signed by the relayer")

    def _check_newest(self) -> None:
        # From the hash before them on.
        rows = self._all(f"SELECT {_SEAL} FROM blocks ORDER BY last DESC LIMIT ?", _CHECKED_BLOCKS)
        blocks: list[Seal] = []
        for row in rows:
            blocks.append(Seal(*row))
            if blocks[0].last - blocks[-1].first >= _CHECKED_ENTRIES:
                break
        blocks.reverse()
        if len(blocks) == len(rows) < _CHECKED_BLOCKS:  # all there are
            anchor = self._mark("anchor")
            number, head = (anchor.last, anchor.head) if anchor else (0, self._id)
        else:
            number = blocks[0].first - 1
            head = self._hash_of(number)
        chain = Chain(self._keys.signing_key, self._id, number, head)
        for block in blocks:
            self._check_block(chain, block)
        if self._all("SELECT 1 FROM entries WHERE number > ? LIMIT 1", chain.number):
            raise self._broken(f"entry {chain.number + 1} is under no seal")

    def _check_block(self, chain: Chain, block: Seal) -> None:
        rows = self._database.execute(
            f"SELECT {_ENTRY} FROM entries WHERE number BETWEEN ? AND ? ORDER BY number", (block.first, block.last)
        )
        for number, *facts, hash in rows:
            chain.entry(number, RelayEvent(*facts), hash)
        chain.seal(block)

    def _broken(self, why: str) -> BadData:
        return BadData(
            f"the ledger {self.path} is broken: {why}",
            hint="See `bitrelay gateway ledger verify`; move it away to begin another",
        )

    def _head(self) -> tuple[int, bytes]:
        # Number and hash of the last entry.
        rows = self._all("SELECT last, head FROM blocks ORDER BY last DESC LIMIT 1")
        if rows:
            return rows[0][0], rows[0][1]
        anchor = self._mark("anchor")
        return (anchor.last, anchor.head) if anchor else (0, self._id)

    def _hash_of(self, number: int) -> bytes:
        rows = self._all("SELECT hash FROM entries WHERE number = ?", number)
        if rows:
            return cast("bytes", rows[0][0])
        anchor = self._mark("anchor")
        if anchor is not None and anchor.last == number:
            return anchor.head
        if number == 0:
            return self._id
        raise self._broken(f"entry {number} is missing")

    def _mark(self, what: str) -> Seal | None:
        rows = self._all(f"SELECT {_SEAL} FROM marks WHERE what = ?", what)
        return Seal(*rows[0]) if rows else None

    def _all(self, question: str, *values: Any) -> list[Any]:
        return self._database.execute(question, values).fetchall()

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def prune(path: Path, keep_s: float, clock: Callable[[], float]) -> int:
    """Let go of what is older in a ledger that is there, while a gateway writes it or not; how many entries.

    Raises what `sqlite_file.open_existing` raises, and DiskFull, PortError, PortBusy.
    """
    connection = open_existing(path, LEDGER)
    try:
        with told(path):
            return _prune(connection, int((clock() - keep_s) * 1000))
    finally:
        connection.close()


def _prune(connection: sqlite3.Connection, before_ms: int) -> int:
    # In portions: nobody else could write, and nothing of the log could be written back, for as long as one takes.
    pruned, portion = 0, -1
    while portion:
        with transaction(connection):
            portion = _prune_portion(connection, before_ms)
        pruned += portion
    return pruned


def _prune_portion(connection: sqlite3.Connection, before_ms: int) -> int:
    # Up to the first that is to be kept: the clock may have been set back meanwhile.
    (kept,) = connection.execute("SELECT min(last) FROM blocks WHERE time_ms >= ?", (before_ms,)).fetchone()
    blocks = connection.execute(
        f"SELECT {_SEAL} FROM blocks WHERE ? IS NULL OR last < ? ORDER BY last LIMIT ?", (kept, kept, _PRUNED_BLOCKS)
    ).fetchall()
    if not blocks:
        return 0
    anchor = Seal(*blocks[-1])
    gone = connection.execute("DELETE FROM entries WHERE number <= ?", (anchor.last,)).rowcount
    connection.execute("DELETE FROM blocks WHERE last <= ?", (anchor.last,))
    _put_mark(connection, "anchor", anchor)
    return gone


def _put_mark(connection: sqlite3.Connection, what: str, seal: Seal) -> None:
    connection.execute(
        f"INSERT OR REPLACE INTO marks (what, {_SEAL}) VALUES (?, ?, ?, ?, ?, ?)",
        (what, seal.first, seal.last, seal.head, seal.time_ms, seal.signature),
    )
