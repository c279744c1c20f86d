"""The ledger of a relayer: what it returned for is in it, in order, and goes on from there."""

import random
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from bitrelay.errors import BadData, BitrelayError, DiskFull, PortBusy
from bitrelay.mesh import relay_ledger
from bitrelay.mesh.ledger_export import export
from bitrelay.mesh.ledger_verify import verify, verify_file
from bitrelay.mesh.relay_ledger import RelayLedger, prune
from tests.mesh.ledgers import KEYS, NOW, OTHER_KEYS, Clock, event, events, ledger_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway" / "ledger.sqlite"


def altered(path: Path, statement: str, *values: object) -> None:
    database = sqlite3.connect(path)
    with database:
        database.execute(statement, values)
    database.close()


@pytest.mark.requirement("MSH-42")
def test_the_facts_of_every_frame_are_kept_in_order(path: Path) -> None:
    ledger = ledger_of(path, (3, 0, 2))
    assert ledger.last == 5
    entries = ledger.entries()
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.event for entry in entries] == events(1, 5)
    assert [entry.previous for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]
    assert ledger.entries(after=1, most=2) == entries[1:3]
    assert ledger.entries(after=5) == []
    ledger.close()
    verdict = verify_file(path)
    assert (verdict.relayer, verdict.entries, verdict.broken) == (KEYS.peer_id, 5, None)


def test_it_goes_on_where_it_was(path: Path) -> None:
    before = ledger_of(path, (2,))
    entries = before.entries()
    before.close()
    before.close()
    ledger = ledger_of(path, (2,))
    assert ledger.set_aside is None
    assert ledger.entries()[:2] == entries
    assert ledger.entries()[2].previous == entries[1].hash
    ledger.close()


def test_it_is_its_owners_alone_and_safe_from_a_power_cut(path: Path) -> None:
    ledger = ledger_of(path, (1,))
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert ledger._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: every commit is synced
    assert ledger._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    ledger.close()


def test_all_of_a_block_or_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = ledger_of(path, (2,))
    with pytest.raises(ValueError, match="hops"):
        ledger.append([event(3), replace(event(4), hops=300)])
    assert ledger.last == 2
    assert ledger.append(events(3, 4)) == 4
    page_count = ledger._database.execute("PRAGMA page_count").fetchone()[0]
    ledger._database.execute(f"PRAGMA max_page_count = {page_count}")
    with pytest.raises(DiskFull):
        ledger.append(events(5, 500))
    ledger._database.execute("PRAGMA max_page_count = 100000")
    monkeypatch.setattr(relay_ledger, "MOST_BLOCK", 3)
    assert ledger.append(events(5, 12)) == 12
    assert [entry.event for entry in ledger.entries()] == events(1, 12)
    ledger.close()
    assert verify_file(path).entries == 12


def test_claims_are_marked_without_breaking_the_chain(path: Path) -> None:
    ledger = ledger_of(path, (3, 3))
    ledger.mark_claimed(2)
    ledger.mark_claimed(1)
    assert [entry.claimed for entry in ledger.entries()] == [True, True] + [False] * 4
    with pytest.raises(BadData, match="no entry 7"):
        ledger.mark_claimed(7)
    ledger.mark_claimed(4)
    ledger.close()
    assert RelayLedger(path, KEYS, Clock()).claimed == 4
    verdict = verify_file(path)
    assert (verdict.claimed, verdict.broken) == (4, None)


def test_whole_blocks_are_pruned_and_the_chain_goes_on(path: Path) -> None:
    clock = Clock()
    ledger = ledger_of(path, (3, 2, 4), clock)  # at 0, 60 and 120 s; now it is 180
    ledger.mark_claimed(4)
    kept = ledger.entries(after=5)
    assert ledger.prune(200) == 0
    assert ledger.prune(100) == 5
    assert ledger.prune(100) == 0
    assert ledger.entries() == kept
    assert ledger.claimed == 4
    assert ledger.append(events(10, 11)) == 11
    ledger.close()
    ledger = RelayLedger(path, KEYS, clock)
    verdict = verify_file(path)
    assert (verdict.pruned, verdict.last, verdict.claimed, verdict.broken) == (5, 11, 4, None)
    assert ledger.prune(-1) == 6, "all of it"
    assert (ledger.last, ledger.entries()) == (11, [])
    ledger.close()
    ledger = ledger_of(path, (1,), clock)
    assert [entry.number for entry in ledger.entries()] == [12]
    ledger.close()
    assert verify_file(path).broken is None


def test_a_clock_that_was_set_back_lets_nothing_go_too_early(path: Path) -> None:
    clock = Clock()
    ledger = ledger_of(path, (1,), clock)
    clock.now = NOW - 10_000
    ledger.append(events(2, 2))
    clock.now = NOW + 10
    assert ledger.prune(100) == 0, "the old block is behind one that is to be kept"
    ledger.close()


def test_many_blocks_are_pruned_in_portions(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_ledger, "_PRUNED_BLOCKS", 2)
    clock = Clock()
    ledger = ledger_of(path, (1, 2, 3, 1, 2), clock)
    assert ledger.prune(30) == 9
    ledger.close()
    verdict = verify_file(path)
    assert (verdict.pruned, verdict.entries, verdict.broken) == (9, 0, None)


def test_another_process_reads_and_prunes_while_it_is_written(path: Path) -> None:
    clock = Clock()
    ledger = ledger_of(path, (3, 2), clock)
    reader = export(path)
    header = next(reader)
    ledger.append(events(6, 7))
    assert verify([header, *reader]).entries == 7
    assert verify_file(path).entries == 7
    clock.now += 60
    assert prune(path, 150, clock) == 3
    assert ledger.append(events(8, 8)) == 8
    assert [entry.number for entry in ledger.entries()] == [4, 5, 6, 7, 8]
    assert verify_file(path).broken is None
    assert prune(path, 0, clock) == 4, "the one of this moment stays"
    assert ledger.append(events(9, 9)) == 9
    assert verify_file(path).broken is None
    ledger.close()


def test_an_export_that_is_overtaken_by_pruning_says_so(path: Path) -> None:
    clock = Clock()
    ledger = ledger_of(path, (1,) * 70, clock)
    reader = export(path)
    for _ in range(10):
        next(reader)
    ledger.prune(-1)
    with pytest.raises(PortBusy, match="pruned"):
        list(reader)
    ledger.close()


def test_it_is_one_relayers(path: Path) -> None:
    ledger_of(path, (1,)).close()
    with pytest.raises(BadData, match="another identity"):
        RelayLedger(path, OTHER_KEYS, Clock())


def test_one_begun_anew_is_another_ledger(tmp_path: Path) -> None:
    first = ledger_of(tmp_path / "a.sqlite", (1,))
    second = ledger_of(tmp_path / "b.sqlite", (1,), Clock(NOW + 1))
    assert first.entries()[0].event == second.entries()[0].event
    assert first.entries()[0].hash != second.entries()[0].hash
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE entries SET fee = 100 WHERE number = 4", "entry 4 is not what"),
        ("DELETE FROM entries WHERE number = 4", "entry 4 is missing"),
        ("DELETE FROM entries WHERE number = 5", "the seal after entry 4"),
        ("UPDATE entries SET number = 6 WHERE number = 5", "the seal after entry 4"),
        ("UPDATE entries SET origin = 5.5 WHERE number = 5", "not what its hash says"),
        ("UPDATE entries SET fee = 'x' WHERE number = 5", "something else"),
        ("UPDATE entries SET hash = 7 WHERE number = 5", "not what its hash says"),
        ("INSERT INTO entries SELECT 6, packet_hash, source, destination, hops, origin, target, time_ms, fee, hash "
         "FROM entries WHERE number = 5", "entry 6 is under no seal"),
        ("UPDATE blocks SET signature = zeroblob(64) WHERE last = 5", "not signed"),
        ("UPDATE blocks SET first = 'x' WHERE last = 5", "something else"),
        ("UPDATE blocks SET time_ms = time_ms + 1 WHERE last = 5", "not signed"),
        ("DELETE FROM blocks WHERE last = 5", "entry 4 is under no seal"),
        ("DELETE FROM blocks WHERE last = 3", "entry 3 is missing"),
        ("UPDATE marks SET last = 4 WHERE what = 'claim'", "claim was not signed"),
        ("UPDATE marks SET head = 4 WHERE what = 'anchor'", "anchor was not signed"),
        ("UPDATE marks SET last = 'x' WHERE what = 'anchor'", "anchor was not signed"),
        ("DELETE FROM marks WHERE what = 'anchor'", "entry 1 is missing"),
        ("UPDATE ledger SET begun_ms = -1", "begun"),
        ("UPDATE ledger SET begun_ms = begun_ms + 1", "anchor was not signed"),
    ],
)  # fmt: skip
def test_one_that_was_altered_is_not_gone_on_with(path: Path, statement: str, why: str) -> None:
    clock = Clock()
    ledger = ledger_of(path, (2, 1, 2), clock)
    ledger.mark_claimed(3)
    assert ledger.prune(150) == 2
    ledger.close()
    altered(path, statement)
    with pytest.raises(BadData, match=why) as caught:
        RelayLedger(path, KEYS, clock)
    assert caught.value.hint
    verdict = verify_file(path)
    assert verdict.broken is not None


def test_opening_checks_the_newest_blocks_and_verifying_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger_of(path, (1,) * 70).close()
    altered(path, "UPDATE entries SET fee = 9 WHERE number = 2")
    ledger_of(path, (1,)).close()
    found = verify_file(path)
    assert (found.last, found.broken and found.broken.number) == (1, 2)
    monkeypatch.setattr(relay_ledger, "_CHECKED_ENTRIES", 5)
    altered(path, "UPDATE entries SET fee = 9 WHERE number = 60")
    ledger_of(path, (1,)).close()
    altered(path, "UPDATE entries SET fee = 9 WHERE number = 70")
    with pytest.raises(BadData, match="entry 70"):
        ledger_of(path, (1,))


def test_one_that_is_damaged_is_set_aside_and_another_begun(path: Path) -> None:
    ledger_of(path, (40,)).close()
    data = path.read_bytes()
    path.write_bytes(data[:5000])
    ledger = ledger_of(path, (1,))
    assert ledger.set_aside is not None
    assert ledger.set_aside.read_bytes() == data[:5000]
    assert ledger.last == 1
    ledger.close()


def test_a_byte_that_is_damaged_anywhere_is_no_crash(path: Path) -> None:
    clock = Clock()
    ledger = ledger_of(path, (20, 10, 5), clock)
    ledger.mark_claimed(25)
    ledger.prune(140)
    ledger.close()
    whole = path.read_bytes()
    source = random.Random(3)
    told = 0
    for at in [*range(16, 110, 3), *source.sample(range(len(whole)), 25)]:
        damaged = bytearray(whole)
        damaged[at] ^= source.randrange(1, 256)
        path.write_bytes(damaged)
        try:
            ledger = RelayLedger(path, KEYS, clock)
            told += ledger.set_aside is not None
            try:
                ledger.append(events(1, 3))
                ledger.entries()
                ledger.prune(0)
            finally:
                ledger.close()
        except BitrelayError as error:
            told += 1
            assert error.what
        for file in path.parent.iterdir():
            file.unlink()
    assert told > 10
