"""The file in which a node remembers others: SQLite, its owner's alone, and never emptied without a word.

A database that is damaged is set aside under a name of its own and told about; one of a newer release, or of another
program, is left alone.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bitrelay.errors import BadData, DiskFull, NotPrivate, PortBusy, PortError, TooNew

SCHEMA_VERSION = 1
# "BRPC" in PRAGMA application_id: so another program's database is not taken for a damaged one of ours.
_APPLICATION_ID = 0x42525043
_BUSY_S = 2.0
_BESIDE = ("", "-wal", "-shm")

_SCHEMA = """
CREATE TABLE peers (
    peer_id BLOB PRIMARY KEY,
    record BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    reputation REAL NOT NULL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    origin TEXT NOT NULL,
    addresses TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX peers_by_worth ON peers (reputation, last_seen - first_seen, last_seen);
CREATE INDEX peers_by_expiry ON peers (expires_at);
CREATE TABLE arrivals (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    peer_id BLOB NOT NULL,
    challenge_data BLOB NOT NULL,
    difficulty INTEGER NOT NULL,
    computed_at REAL NOT NULL,
    created_at REAL NOT NULL,
    first_seen REAL NOT NULL,
    origin TEXT NOT NULL,
    addresses TEXT NOT NULL,
    renewal INTEGER NOT NULL
);
CREATE INDEX arrivals_by_time ON arrivals (first_seen);
CREATE TABLE watched (only INTEGER PRIMARY KEY CHECK (only = 0), since REAL NOT NULL, until REAL NOT NULL);
"""

# An older database gets them as well.
_INDEXES = """
CREATE INDEX IF NOT EXISTS arrivals_by_proof ON arrivals (peer_id, challenge_data);
CREATE INDEX IF NOT EXISTS arrivals_of_renewals ON arrivals (number) WHERE renewal;
"""


@dataclass(frozen=True)
class Opened:
    """An open database. set_aside: where the one is that was there and was damaged, if it was."""

    connection: sqlite3.Connection
    set_aside: Path | None


def open_database(path: Path, clock: Callable[[], float] = time.time) -> Opened:
    """Open the database at this path, or begin one (mode 0600); folders on the way are made (0700).

    clock: Unix seconds, for the name of what is set aside. Raises NotPrivate if it is somebody else's, TooNew, BadData
    if it is another program's, PortBusy if another process has it, DiskFull, PortError.
    """
    set_aside = None
    with told(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(path)
        connection = _connect(path)
        try:
            _check(connection, path)
        except sqlite3.DatabaseError as error:
            connection.close()
            if isinstance(error, sqlite3.OperationalError):
                raise
            set_aside = _set_aside(path, int(clock()))
            _make_private(path)
            connection = _connect(path)
            _check(connection, path)
        except BaseException:
            connection.close()
            raise
    return Opened(connection, set_aside)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns what SQLite and the file system raise into PortBusy, DiskFull or PortError with the file's name."""
    try:
        yield
    except sqlite3.Error as error:
        # What the module finds itself has no code; the low byte of an extended one is the kind.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise PortBusy(f"{path} is in use", hint="Stop the other bitrelay that runs here") from None
        if code == sqlite3.SQLITE_FULL:
            raise DiskFull(f"cannot write {path}: {error}", hint="Make room, then run it again") from None
        raise PortError(f"cannot use {path}: {error}") from None
    except OSError as error:
        raise PortError(f"cannot use {path}: {error.strerror}") from None


def _make_private(path: Path) -> None:
    # Files that SQLite puts beside it get the same mode.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise NotPrivate(f"{path} belongs to somebody else", hint="What is believed must be in a place of your own")
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _connect(path: Path) -> sqlite3.Connection:
    # Without transactions of the module's own: each statement commits, and `with` is not needed.
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    # A text that is none spoils its row, not every question that comes upon it.
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    # The first of these reads the file.
    version = _number(connection, "PRAGMA user_version")
    owner = _number(connection, "PRAGMA application_id")
    tables = _number(connection, "SELECT count(*) FROM sqlite_master")
    if tables and owner != _APPLICATION_ID:
        raise BadData(f"{path} is another program's database", hint="Move it away")
    if version > SCHEMA_VERSION:
        raise TooNew(f"{path} was made by a newer release of bitrelay", hint="Update bitrelay")
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        raise sqlite3.DatabaseError(str(found))
    connection.execute("PRAGMA journal_mode = WAL")
    # The last moments before a power cut may be forgotten; nothing else is lost.
    connection.execute("PRAGMA synchronous = NORMAL")
    if not tables:
        connection.executescript(
            f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID};"
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    connection.executescript(_INDEXES)


def _number(connection: sqlite3.Connection, question: str) -> int:
    return int(connection.execute(question).fetchone()[0])


def _set_aside(path: Path, now: int) -> Path:
    number = 0
    while True:
        aside = path.with_name(f"{path.name}.damaged-{now}" + (f"-{number}" if number else ""))
        if not os.path.lexists(aside):
            break
        number += 1
    for ending in _BESIDE:
        try:
            os.rename(f"{path}{ending}", f"{aside}{ending}")
        except FileNotFoundError:
            pass  # a database that was closed has nothing beside it
    return aside
