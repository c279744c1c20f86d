"""Files of SQLite: their owner's alone, and never emptied without a word.

A database that is damaged is set aside under a name of its own and told about; one of a newer release, or of another
program, is left alone.
"""

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from .errors import BadData, DiskFull, NotPrivate, PortBusy, PortError, TooNew

_BUSY_S: Final = 2.0
_BESIDE: Final = ("", "-wal", "-shm")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MOST_READ: Final = 1 << 16
_TEXT: Final = partial(str, encoding="utf-8", errors="replace")
# A text inside an error of SQLite's that is none becomes this one.
_FAILURES: Final = (sqlite3.Error, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Schema:
    """What is in a database of one kind.

    application_id: so that another program's database is not taken for a damaged one of ours. tables: SQL that makes
    them. indexes: SQL that adds what an older database lacks. durable: whether what is committed survives a power cut;
    without it the last moments before one may be forgotten, and nothing else is lost.
    """

    application_id: int
    version: int
    tables: str
    indexes: str = ""
    durable: bool = False


@dataclass(frozen=True)
class Opened:
    """An open database. set_aside: where the one is that was there and was damaged, if it was."""

    connection: sqlite3.Connection
    set_aside: Path | None


def open_database(path: Path, schema: Schema, clock: Callable[[], float] = time.time) -> Opened:
    """Open the database at this path, or begin one (mode 0600); folders on the way are made (0700).

    Each statement commits by itself, but within `transaction`. It may be used from any thread, from one at a time.
    clock: Unix seconds, for the name of what is set aside. Raises NotPrivate if it is somebody else's, TooNew, BadData
    if it is another program's, PortBusy if another process has it, DiskFull, PortError.
    """
    set_aside = None
    with told(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            connection = _opened(path, schema)
        except _FAILURES as error:
            if not is_damage(error):
                raise
            set_aside = _set_aside(path, int(clock()))
            connection = _opened(path, schema)
    return Opened(connection, set_aside)


def open_existing(path: Path, schema: Schema) -> sqlite3.Connection:
    """As `open_database`, but one that is there: a damaged one stays where it is, and raises BadData."""
    with reading(path):
        return _opened(path, schema, begin=False)


def open_to_read(path: Path, schema: Schema) -> sqlite3.Connection:
    """Open a database that may be anybody's, while its owner writes it or not; nothing in it is believed to be small.

    Raises BadData if it is no database, another program's or damaged, TooNew, PortBusy, PortError.
    """
    with reading(path):
        connection = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro", timeout=_BUSY_S, uri=True)
        try:
            connection.isolation_level = None
            connection.text_factory = _TEXT
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_READ)
            connection.execute("PRAGMA trusted_schema = OFF")
            _demand_tables(connection, path, schema)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is done within is in the database when this ends, or nothing of it if it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """What is read within is of one moment, whatever others write meanwhile: as long as it lasts, their log grows."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns what SQLite and the file system raise into PortBusy, DiskFull or PortError with the file's name."""
    try:
        yield
    except _FAILURES as error:
        raise _told(error, path) from None
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(f"cannot write {path}: {error.strerror}", hint="Make room, then run it again") from None
        raise PortError(f"cannot use {path}: {error.strerror}") from None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """As `told`, but damage is BadData."""
    with told(path):
        try:
            yield
        except _FAILURES as error:
            if not is_damage(error):
                raise
            raise BadData(f"{path} is damaged: {error}") from None


def is_damage(error: Exception) -> bool:
    """Whether an error of SQLite's says something about the file; the others are the system's or another program's."""
    if isinstance(error, sqlite3.OperationalError):
        # Tables that are not ours; a file that could be opened to be written, and says of itself that it is only read.
        return _kind_of(error) in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY)
    return True


def _told(error: Exception, path: Path) -> PortError | DiskFull:
    kind = _kind_of(error)
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return PortBusy(f"{path} is in use", hint="Stop the other bitrelay that runs here")
    if kind == sqlite3.SQLITE_FULL:
        return DiskFull(f"cannot write {path}: {error}", hint="Make room, then run it again")
    return PortError(f"cannot use {path}: {error}")


def _kind_of(error: Exception) -> int:
    # What the module finds itself has no code; the low byte of an extended one is the kind.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _opened(path: Path, schema: Schema, begin: bool = True) -> sqlite3.Connection:
    _make_private(path, begin)
    # Without transactions of the module's own: each statement commits, and `with` is not needed.
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        # A text that is none spoils its row, not every question that comes upon it.
        connection.text_factory = _TEXT
        if not begin:
            _demand_tables(connection, path, schema)
        _check(connection, path, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_private(path: Path, begin: bool) -> None:
    # Files that SQLite puts beside it get the same mode.
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if begin else 0), 0o600)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise NotPrivate(f"{path} belongs to somebody else", hint="What is believed must be in a place of your own")
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _check(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    tables = _check_kind(connection, path, schema)
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        raise sqlite3.DatabaseError(str(found))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if schema.durable else 'NORMAL'}")
    if not tables:
        connection.executescript(
            f"BEGIN; {schema.tables} PRAGMA application_id = {schema.application_id};"
            f"PRAGMA user_version = {schema.version}; COMMIT;"
        )
    connection.executescript(schema.indexes)


def _demand_tables(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    if not _check_kind(connection, path, schema):
        raise BadData(f"{path} is empty")


def _check_kind(connection: sqlite3.Connection, path: Path, schema: Schema) -> int:
    # How many tables there are. The first of these reads the file.
    version = _number(connection, "PRAGMA user_version")
    owner = _number(connection, "PRAGMA application_id")
    tables = _number(connection, "SELECT count(*) FROM sqlite_master")
    if tables and owner != schema.application_id:
        raise BadData(f"{path} is another program's database", hint="Move it away")
    if version > schema.version:
        raise TooNew(f"{path} was made by a newer release of bitrelay", hint="Update bitrelay")
    if tables and _columns(connection) != _columns_of(schema):
        raise sqlite3.DatabaseError("its tables are not ours")
    return tables


def _columns_of(schema: Schema) -> set[tuple[str, str]]:
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(schema.tables)
        return _columns(connection)
    finally:
        connection.close()


def _columns(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        found |= {(table, row[0]) for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
    return found


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
