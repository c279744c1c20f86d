"""Databases are opened for their owner, and read while they are written; what is damaged is told."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from bitrelay.errors import BadData, DiskFull, NotPrivate, PortBusy, PortError, TooNew
from bitrelay.sqlite_file import Schema, open_database, open_existing, open_to_read, reading, told, transaction

SCHEMA = Schema(0x54455354, 1, "CREATE TABLE things (name TEXT, data BLOB); CREATE TABLE others (number INTEGER);")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with one thing in it."""
    path = tmp_path / "folder" / "things.sqlite"
    connection = open_database(path, SCHEMA).connection
    connection.execute("INSERT INTO things VALUES ('a', x'01')")
    connection.close()
    return path


def things(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM things")]


@pytest.mark.parametrize(("durable", "synchronous"), [(False, 1), (True, 2)])
def test_durable_means_that_every_commit_is_synced(tmp_path: Path, durable: bool, synchronous: int) -> None:
    schema = Schema(5, 1, "CREATE TABLE things (name TEXT);", durable=durable)
    connection = open_database(tmp_path / "it.sqlite", schema).connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
    connection.close()


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE things RENAME COLUMN data TO date", "ALTER TABLE others RENAME TO pthers", "DROP TABLE others"],
)
def test_other_tables_than_ours_are_damage(path: Path, change: str) -> None:
    database = sqlite3.connect(path)
    database.execute(change)
    database.close()
    for reader in (open_existing, open_to_read):
        with pytest.raises(BadData, match="damaged"):
            reader(path, SCHEMA)
    opened = open_database(path, SCHEMA, lambda: 5)
    assert opened.set_aside == path.with_name("things.sqlite.damaged-5")
    assert things(opened.connection) == []
    opened.connection.close()


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    connection = open_database(path, SCHEMA).connection
    with pytest.raises(KeyError), transaction(connection):
        connection.execute("INSERT INTO things VALUES ('b', NULL)")
        raise KeyError
    with transaction(connection):
        connection.execute("INSERT INTO things VALUES ('c', NULL)")
    assert things(connection) == ["a", "c"]
    connection.close()


def test_it_is_read_while_it_is_written_and_after_its_writer_was_killed(path: Path) -> None:
    writer = open_database(path, SCHEMA).connection
    writer.execute("INSERT INTO things VALUES ('b', NULL)")
    reader = open_to_read(path, SCHEMA)
    with transaction(writer):
        writer.execute("INSERT INTO things VALUES ('c', NULL)")
        assert things(reader) == ["a", "b"]
    assert things(reader) == ["a", "b", "c"]
    with pytest.raises(PortError), told(path):
        reader.execute("DELETE FROM things")
    # What a kill leaves behind: a log that was not written back.
    left = path.parent / "left.sqlite"
    for ending in ("", "-wal"):
        Path(f"{left}{ending}").write_bytes(Path(f"{path}{ending}").read_bytes())
    reader.close()
    writer.close()
    reader = open_to_read(left, SCHEMA)
    assert things(reader) == ["a", "b", "c"]
    reader.close()


def test_nothing_that_is_read_is_believed_to_be_small(path: Path) -> None:
    writer = open_database(path, SCHEMA).connection
    writer.execute("INSERT INTO things VALUES ('b', zeroblob(10000000))")
    writer.close()
    reader = open_to_read(path, SCHEMA)
    with pytest.raises(BadData), reading(path):
        reader.execute("SELECT data FROM things").fetchall()
    reader.close()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda path: path.write_bytes(b"something else\n" * 500), BadData),
        (lambda path: path.write_bytes(b""), BadData),
        (lambda path: path.unlink(), PortError),
        (lambda path: os.truncate(path, 3000), BadData),
    ],
)
def test_what_is_to_be_there_and_is_not_is_told(path: Path, change: Callable[[Path], object], error: type) -> None:
    change(path)
    for reader in (open_to_read, open_existing):
        with pytest.raises(error):
            reader(path, SCHEMA)


def test_a_newer_release_s_and_another_program_s_are_told(path: Path) -> None:
    for reader in (open_existing, open_to_read):
        with pytest.raises(BadData, match="another program"):
            reader(path, Schema(1, 1, SCHEMA.tables))
        with pytest.raises(TooNew):
            reader(path, Schema(SCHEMA.application_id, 0, SCHEMA.tables))


def test_one_that_is_there_is_opened_and_none_is_begun(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = open_existing(path, SCHEMA)
    assert things(connection) == ["a"]
    connection.close()
    with pytest.raises(PortError):
        open_existing(path.with_name("nothing.sqlite"), SCHEMA)
    assert not path.with_name("nothing.sqlite").exists()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(NotPrivate):
        open_existing(path, SCHEMA)


def test_what_is_raised_names_the_file(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    mine = sqlite3.connect(path, timeout=0)
    with pytest.raises(PortBusy, match="things.sqlite"), told(path):
        mine.execute("INSERT INTO things VALUES ('b', NULL)")
    mine.close()
    other.close()
    with pytest.raises(DiskFull, match="things.sqlite"), told(path):
        raise OSError(28, "No space left on device")
    with pytest.raises(PortError, match="things.sqlite"), told(path):
        raise OSError(5, "Input/output error")
