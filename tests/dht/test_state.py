"""What a node keeps on disk: its owner's alone, one node's at a time, and damage is told and costs no start."""

import os
import random
import resource
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitrelay.dht import state
from bitrelay.dht.state import SCHEMA_VERSION, StateFile
from bitrelay.dht.state_directory import StateDirectory
from bitrelay.errors import DiskFull, NotPrivate, PortBusy, PortError, TooNew

SNAPSHOT: dict[str, Any] = {
    "nodes": [[f"{number:064x}", f"udp://192.0.2.{number}:8766"] for number in range(200)],
    "values": [[1, "mesh", "00" * 32, number, 1, 2, "ff" * 300, "00" * 64] for number in range(100)],
    "own": [],
}


def opened(path: Path) -> StateDirectory:
    return StateDirectory(path, lambda: 1_786_000_000)


def save(path: Path, sequence: int = 5) -> None:
    directory = opened(path)
    file = StateFile(directory)
    file.save(SNAPSHOT, sequence)
    file.close()
    directory.close()


def load(path: Path) -> tuple[dict[str, Any], int, int, list[str]]:
    directory = opened(path)
    file = StateFile(directory)
    saved = file.saved
    file.save(SNAPSHOT, 1)
    file.close()
    directory.close()
    return saved.snapshot, saved.sequence, saved.unreadable, [aside.name for aside in directory.set_aside]


EMPTY: dict[str, Any] = {"nodes": [], "values": [], "own": []}


def test_it_comes_back_as_it_was_saved_last(tmp_path: Path) -> None:
    path = tmp_path / "made" / "state"
    assert load(path) == (EMPTY, 0, 0, [])
    save(path, 7)
    assert load(path) == (SNAPSHOT, 7, 0, [])


def test_it_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o600}
    path.chmod(0o755)
    with pytest.raises(NotPrivate):
        opened(path)


def test_one_node_at_a_time(tmp_path: Path) -> None:
    first = opened(tmp_path / "state")
    with pytest.raises(PortBusy):
        opened(tmp_path / "state")
    first.close()
    first.close()
    opened(tmp_path / "state").close()


def truncated(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def flipped(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0xFF
    path.write_bytes(data)


def directory_instead(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)
    (path / "full").write_text("of something")


def link_instead(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def fifo_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


OFFSETS = (0, 16, 18, 19, 20, 28, 44, 56, 60, 63, 68, 100, 105)
DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": lambda path: truncated(path, 0),
    "cut in the head": lambda path: truncated(path, 50),
    "cut in a page": lambda path: truncated(path, 5000),
    "a page short": lambda path: truncated(path, len(path.read_bytes()) - 4096),
    "text": lambda path: path.write_text("no database\n" * 1000) and None,
    "zeros": lambda path: path.write_bytes(bytes(20_000)) and None,
    "directory": directory_instead,
    "link": link_instead,
    "pipe": fifo_instead,
    **{
        f"byte {at}": lambda path, at=at: flipped(path, at)
        for at in (0, 16, 18, 19, 20, 28, 44, 56, 60, 63, 68, 100, 105)
    },
}


@pytest.mark.parametrize(
    ("name", "damage"),
    [("state.sqlite", damage) for damage in DAMAGES]
    + [("node.lock", damage) for damage in DAMAGES if not damage.startswith("byte")],
)
def test_whatever_is_damaged_it_opens_and_says_what_it_set_aside(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / "state"
    save(path)
    before = set(os.listdir(path))
    DAMAGES[damage](path / name)
    snapshot, _, _, aside = load(path)
    lost_nothing = snapshot == SNAPSHOT
    assert lost_nothing or snapshot == EMPTY
    assert set(os.listdir(path)) == before | set(aside)
    if name == "state.sqlite" and not lost_nothing and damage != "empty":
        assert aside
    assert load(path)[0] == SNAPSHOT, "it is used again as if nothing had been"


def test_bytes_that_are_damaged_anywhere_cost_what_is_in_them_at_most(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save(path)
    whole = (path / "state.sqlite").read_bytes()
    source = random.Random(3)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(source.choice((1, 1, 8))):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        (path / "state.sqlite").write_bytes(damaged)
        load(path)
        for aside in path.glob("*.damaged-*"):
            aside.unlink()


@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("what", ["garbage", "directory"])
def test_what_lies_beside_the_database_does_no_harm(tmp_path: Path, ending: str, what: str) -> None:
    path = tmp_path / "state"
    save(path)
    beside = path / f"state.sqlite{ending}"
    if what == "garbage":
        beside.write_bytes(random.Random(1).randbytes(5000))
    else:
        beside.mkdir()
    load(path)
    assert load(path)[0] == SNAPSHOT


def test_an_entry_that_cannot_be_read_is_dropped_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save(path)
    database = sqlite3.connect(path / "state.sqlite")
    database.execute("UPDATE entries SET entry = '{' WHERE kind = 'nodes' AND place = 3")
    database.execute("UPDATE entries SET kind = 'other' WHERE kind = 'values' AND place = 3")
    database.execute("UPDATE entries SET entry = ? WHERE kind = 'values' AND place = 4", (b"\xff[",))
    database.execute("UPDATE entries SET entry = ? WHERE kind = 'values' AND place = 5", ("[" * 4096,))
    database.execute("UPDATE entries SET entry = ? WHERE kind = 'values' AND place = 6", ("[" * 10_000_000,))
    database.commit()
    database.close()
    snapshot, sequence, unreadable, aside = load(path)
    assert (len(snapshot["nodes"]), len(snapshot["values"]), sequence, unreadable, aside) == (199, 96, 5, 5, [])


def test_a_newer_release_s_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save(path)
    database = sqlite3.connect(path / "state.sqlite")
    database.execute("UPDATE state SET version = ?", (SCHEMA_VERSION + 1,))
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.commit()
    database.close()
    directory = opened(path)
    with pytest.raises(TooNew):
        StateFile(directory)
    assert directory.set_aside == []
    directory.close()


def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save(path)
    directory = opened(path)
    file = StateFile(directory)
    file._database.execute("PRAGMA max_page_count = 1")
    with pytest.raises(DiskFull):
        file.save(SNAPSHOT | {"own": SNAPSHOT["values"] * 20}, 9)
    file.close()
    directory.close()
    assert load(path)[:2] == (SNAPSHOT, 5)


@pytest.mark.parametrize("begin", ["BEGIN EXCLUSIVE", "BEGIN IMMEDIATE", "BEGIN"])
def test_one_that_another_program_has_open_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    path = tmp_path / "state"
    save(path)
    monkeypatch.setattr(state, "BUSY_S", 0.01)
    other = sqlite3.connect(path / "state.sqlite", isolation_level=None)
    other.execute(begin)
    other.execute("SELECT * FROM entries").fetchall()
    directory = opened(path)
    with pytest.raises(PortBusy, match="in use"):
        StateFile(directory)
    other.execute("ROLLBACK")
    file = StateFile(directory)
    assert (file.saved.snapshot, directory.set_aside) == (SNAPSHOT, [])
    other.execute(begin)
    other.execute("SELECT * FROM entries").fetchall()
    with pytest.raises(PortBusy, match="in use"):
        file.save(EMPTY, 6)
    other.close()
    file.save(EMPTY, 6)
    file.close()
    directory.close()
    assert load(path)[:2] == (EMPTY, 6)


def test_where_files_cannot_be_opened_it_is_told_and_nothing_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save(path)
    directory = opened(path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        with pytest.raises(PortError, match="cannot use"):
            StateFile(directory)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    directory.close()
    assert directory.set_aside == []
    assert load(path)[:2] == (SNAPSHOT, 5)


def test_a_version_that_never_was_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save(path)
    database = sqlite3.connect(path / "state.sqlite")
    database.execute("UPDATE state SET version = -1")
    database.execute("PRAGMA user_version = -1")
    database.commit()
    database.close()
    snapshot, _, _, aside = load(path)
    assert (snapshot, len(aside)) == (EMPTY, 1)
