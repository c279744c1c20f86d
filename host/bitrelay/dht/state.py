"""What a node knew when it was last here: its nodes and values, in SQLite, and nothing of it is believed.

Entries are those of `snapshot`. A database that is damaged, or that is something else altogether, is set aside whole;
one that cannot be had, because another program uses it or the system gives nothing, stays as it is and is told about.
An entry that cannot be read is dropped and counted.
"""

import errno
import hashlib
import json
import os
import sqlite3
import stat
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from ..errors import DiskFull, PortBusy, PortError, TooNew
from .state_directory import BESIDE, StateDirectory

SCHEMA_VERSION: Final = 1

BUSY_S: Final = 2.0
"""For so long another program may have it."""

_KINDS: Final = ("nodes", "values", "own")
_MOST_ENTRIES: Final = 16_384
_MOST_ENTRY: Final = 4_096  # characters
_SCHEMA: Final = """
CREATE TABLE entries (kind TEXT NOT NULL, place INTEGER NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (kind, place))
    WITHOUT ROWID;
CREATE TABLE state (only INTEGER PRIMARY KEY CHECK (only = 0), version INTEGER NOT NULL, sequence INTEGER NOT NULL);
"""

# What opening meets: SQLite's own errors; a text in one of them that is none; what the system says.
_FAILURES: Final = (sqlite3.Error, UnicodeDecodeError, TypeError, OSError)

Snapshot = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """snapshot: for `snapshot.restore`; sequence: the last that the user's own values had; unreadable: entries."""

    snapshot: Snapshot
    sequence: int
    unreadable: int


class StateFile:
    """The database of a state directory, open. saved: what was in it. `save` may be called from any thread."""

    def __init__(self, directory: StateDirectory) -> None:
        """Raises TooNew, PortBusy if another program has it, DiskFull, PortError."""
        self._path = directory.state
        self._busy = Lock()
        self._digest = b""
        try:
            self._database, self.saved = self._opened()
        except _FAILURES as error:
            if not _is_damage(error):
                raise self._told(error) from None
            directory.put_database_aside(self._path)
            try:
                self._database, self.saved = self._opened()
            except _FAILURES as again:
                raise self._told(again) from None

    def save(self, snapshot: Snapshot, sequence: int) -> None:
        """Keep this in place of what was there, all of it or nothing. Raises PortBusy, DiskFull, PortError."""
        entries = [
            (kind, place, json.dumps(entry, separators=(",", ":")))
            for kind in _KINDS
            for place, entry in enumerate(snapshot[kind])
        ]
        digest = hashlib.sha256(repr((entries, sequence)).encode()).digest()
        with self._busy:
            if digest == self._digest:
                return  # spares the disk
            try:
                with self._database:  # a transaction
                    self._database.execute("DELETE FROM entries")
                    self._database.executemany("INSERT INTO entries VALUES (?, ?, ?)", entries)
                    self._database.execute("UPDATE state SET sequence = ?", (sequence,))
            except sqlite3.Error as error:
                raise self._told(error) from None
            self._digest = digest

    def close(self) -> None:
        """Waits for a `save` that goes on. Harmless when repeated."""
        with self._busy:
            self._database.close()

    def _opened(self) -> tuple[sqlite3.Connection, Saved]:
        for ending in BESIDE:
            beside = f"{self._path}{ending}"
            if os.path.lexists(beside) and not stat.S_ISREG(os.lstat(beside).st_mode):
                raise sqlite3.DatabaseError("it is no file")
        # Files that SQLite puts beside it get the same mode.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        connection = sqlite3.connect(self._path, timeout=BUSY_S, check_same_thread=False)
        # A text that is none spoils its entry alone.
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        try:
            self._check(connection)
            return connection, _read(connection)
        except BaseException:
            connection.close()
            raise

    def _check(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(
                f"BEGIN; {_SCHEMA} INSERT INTO state VALUES (0, {SCHEMA_VERSION}, 0);"
                f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
            return
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it is damaged")
        # The version stands there twice, so that a bit that fell over is not taken for a newer release.
        (again,) = connection.execute("SELECT version FROM state").fetchone() or (None,)
        if version != again or version < 0:
            raise sqlite3.DatabaseError("it is damaged")
        if version > SCHEMA_VERSION:
            raise TooNew(f"{self._path} was made by a newer release of bitrelay", hint="Update bitrelay")
        # A flipped bit can make it one that is only read.
        with connection:
            connection.execute("UPDATE state SET sequence = sequence")

    def _told(self, error: Exception) -> PortError | DiskFull:
        if _kind_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return PortBusy(f"{self._path} is in use", hint="Stop the other program that has it open")
        if _is_full(error):
            return DiskFull(f"cannot write {self._path}: {error}", hint="Make room, then run it again")
        return PortError(f"cannot use {self._path}: {error}")


def _read(connection: sqlite3.Connection) -> Saved:
    snapshot: Snapshot = {kind: [] for kind in _KINDS}
    unreadable = 0
    rows = connection.execute(
        "SELECT kind, iif(length(entry) <= ?, entry, NULL) FROM entries ORDER BY kind, place LIMIT ?",
        (_MOST_ENTRY, _MOST_ENTRIES),
    )
    for kind, text in rows:
        try:
            snapshot[kind].append(json.loads(text))
        except (KeyError, TypeError, ValueError, RecursionError):
            unreadable += 1
    (sequence,) = connection.execute("SELECT sequence FROM state").fetchone()
    return Saved(snapshot, sequence if isinstance(sequence, int) else 0, unreadable)


def _is_damage(error: Exception) -> bool:
    # What the system or another program is the cause of says nothing about the file.
    if isinstance(error, sqlite3.OperationalError):
        # Tables that are not ours; a file that could be opened to be written, and says of itself that it is only read.
        return _kind_of(error) == sqlite3.SQLITE_ERROR or error.sqlite_errorcode == sqlite3.SQLITE_READONLY
    return not isinstance(error, OSError)


def _is_full(error: Exception) -> bool:
    no_room = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return no_room or _kind_of(error) == sqlite3.SQLITE_FULL


def _kind_of(error: Exception) -> int:
    # The low byte of an extended code; 0 for what has none.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
