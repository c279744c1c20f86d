"""Whatever is changed in a ledger or in an export of it is found, and the first entry that is concerned is named."""

import io
import json
import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrelay.errors import BitrelayError, PortError
from bitrelay.mesh.ledger_export import export
from bitrelay.mesh.ledger_verify import MOST_LINE, Verdict, read_lines, verify, verify_file
from bitrelay.mesh.relay_chain import block_image, ledger_id, linked
from tests.mesh.ledgers import KEYS, NOW, OTHER_KEYS, Clock, event, events, ledger_of

Records = list[dict[str, Any]]


def made(folder: Path, blocks: tuple[int, ...] = (2, 1, 3), name: str = "ledger.sqlite") -> Path:
    """A ledger of which the first two entries were pruned and four are claimed."""
    path = folder / name
    clock = Clock()
    ledger = ledger_of(path, blocks, clock)
    ledger.mark_claimed(4)
    ledger.prune(60 * len(blocks) - 30)
    ledger.close()
    return path


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return list(export(made(tmp_path_factory.mktemp("ledger"))))


def copy(records: Records) -> Records:
    return json.loads(json.dumps(records))  # type: ignore[no-any-return]


def lines(records: Records) -> bytes:
    return b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)


def read(data: bytes, earlier: Verdict | None = None) -> Verdict:
    return verify(read_lines(io.BytesIO(data)), earlier)


@pytest.mark.requirement("GWY-18")
def test_an_export_has_the_facts_and_the_relayers_seals(records: Records) -> None:
    header, third, seal, *_, end = records
    assert (header["relayer"], header["anchor"]["last"], header["claim"]["last"]) == (KEYS.peer_id.hex(), 2, 4)
    assert third == {
        "number": 3,
        "packet_hash": event(3).packet_hash.hex(),
        "source": "0000000000000003",
        "destination": "aaaaaaaaaaaaaaaa",
        "hops": 4,
        "origin": "east",
        "target": "tal",
        "time_ms": NOW * 1000 + 3,
        "fee": 3,
        "hash": third["hash"],
    }
    assert (seal["first"], seal["last"], seal["head"], seal["time_ms"]) == (3, 3, third["hash"], (NOW + 60) * 1000)
    assert end == {"end": 6, "head": records[-2]["head"]}
    verdict = read(lines(records))
    assert verdict == verify(records)
    assert (verdict.relayer, verdict.begun_ms, verdict.broken) == (KEYS.peer_id, NOW * 1000, None)
    assert (verdict.pruned, verdict.last, verdict.entries, verdict.claimed) == (2, 6, 4, 4)
    assert verdict.fees == sum(each.fee for each in events(3, 6))


def test_an_empty_ledger_is_in_order(tmp_path: Path) -> None:
    ledger_of(tmp_path / "ledger.sqlite", ()).close()
    verdict = verify_file(tmp_path / "ledger.sqlite")
    assert (verdict.entries, verdict.last, verdict.broken) == (0, 0, None)


def forged(records: Records) -> None:
    # Somebody without the relayer's key makes entry 4 another one, and all hashes after it right.
    entry = event(4)
    head = bytes.fromhex(records[2]["head"])
    for number, record in zip((4, 5, 6), records[3:6], strict=True):
        record["fee"] = 1000 if number == 4 else record["fee"]
        head = linked(head, number, replace(entry if number == 4 else event(number), fee=record["fee"]))
        record["hash"] = head.hex()
    seal = records[6]
    seal["head"] = records[7]["head"] = head.hex()
    own = ledger_id(KEYS.signing_key, NOW * 1000)
    seal["signature"] = OTHER_KEYS.sign(block_image(own, 4, 6, head, seal["time_ms"])).hex()


Change = Callable[[Records], object]
# records: header, 3, seal, 4, 5, 6, seal, end
CHANGES: dict[str, tuple[Change, int | None]] = {
    "a fee": (lambda r: r[4].update(fee=7), 5),
    "a time": (lambda r: r[1].update(time_ms=0), 3),
    "hops that are none": (lambda r: r[3].update(hops=300), 4),
    "a number for a text": (lambda r: r[3].update(origin=4), 4),
    "a text for a number": (lambda r: r[3].update(fee="4"), 4),
    "true for one": (lambda r: r[3].update(fee=True), 4),
    "half a number": (lambda r: r[3].update(fee=4.0), 4),
    "a number without end": (lambda r: r[3].update(fee=1 << 70), 4),
    "half a letter": (lambda r: r[3].update(origin="\ud800"), 4),
    "a long name": (lambda r: r[3].update(origin="m" * 300), 4),
    "a short id": (lambda r: r[3].update(source="00"), 4),
    "capitals": (lambda r: r[3].update(packet_hash=r[3]["packet_hash"].upper()), 4),
    "an entry gone": (lambda r: r.pop(4), 5),
    "an entry twice": (lambda r: r.insert(4, r[3]), 5),
    "two the other way round": (lambda r: r.insert(3, r.pop(4)), 4),
    "the last of a block gone": (lambda r: r.pop(5), 4),
    "an entry between": (lambda r: r.insert(5, r[4] | {"number": 6}), 6),
    "a seal gone": (lambda r: r.pop(2), 3),
    "the last seal gone": (lambda r: r.pop(6), 4),
    "a seal twice": (lambda r: r.insert(3, r[2]), 4),
    "a seal's time": (lambda r: r[6].update(time_ms=5), 4),
    "another seal": (lambda r: r[6].update(signature=r[2]["signature"]), 4),
    "a forged block": (forged, 4),
    "another key": (lambda r: r[0].update(signing_key=OTHER_KEYS.signing_key.hex()), None),
    "another relayer": (
        lambda r: r[0].update(signing_key=OTHER_KEYS.signing_key.hex(), relayer=OTHER_KEYS.peer_id.hex()),
        None,
    ),
    "another beginning": (lambda r: r[0].update(begun_ms=5), None),
    "no beginning": (lambda r: r[0].update(begun_ms=None), None),
    "no anchor": (lambda r: r[0].update(anchor=None), 1),
    "another anchor": (lambda r: r[0]["anchor"].update(last=1), None),
    "an anchor that is none": (lambda r: r[0].update(anchor=[]), None),
    "more claimed": (lambda r: r[0]["claim"].update(last=5), None),
    "the next block for an anchor": (lambda r: r[0].update(anchor=r[2]), 4),
    "another format": (lambda r: r[0].update(ledger=2), None),
    "no header": (lambda r: r.pop(0), None),
    "two headers": (lambda r: r.insert(1, r[0]), 3),
    "something else": (lambda r: r.insert(1, {"bonus": 5}), 3),
    "something more": (lambda r: r[1].update(bonus=5), 3),
    "the end gone": (lambda r: r.pop(), 7),
    "another end": (lambda r: r[7].update(end=5), 7),
    "another head": (lambda r: r[7].update(head=r[2]["head"]), 7),
    "no head": (lambda r: r[7].update(head=None), 7),
    "more after the end": (lambda r: r.append(r[7]), 7),
    "the claimed entry cut off": (lambda r: [r.pop(3) for _ in range(4)] and r[3].update(end=3, head=r[2]["head"]), 4),
    "nothing at all": (lambda r: r.clear(), None),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_in_an_export_is_found_and_named(records: Records, name: str) -> None:
    change, number = CHANGES[name]
    changed = copy(records)
    change(changed)
    verdict = read(lines(changed))
    assert verdict.broken is not None
    assert verdict.broken.number == number
    assert verdict.last < 7 and (number is None or verdict.last < number)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null\n",
        b"[]\n",
        b"{}\n",
        b"\xff\xfe\n",
        b"{" * 4000 + b"\n",
        b"[" * 4000 + b"\n",
        b'{"ledger":1,"ledger":1}\n',
        b'{"ledger":' + b"9" * 4000 + b"}\n",
        b" " * (MOST_LINE + 1),
        b"SQLite",
    ],
)
def test_lines_that_are_none_are_told(records: Records, line: bytes) -> None:
    assert read(line).broken is not None
    whole = lines(records)
    at = whole.index(b"\n") + 1
    if line:
        broken = read(whole[:at] + line + whole[at:]).broken
        assert broken is not None and broken.number == 3


def test_a_key_that_is_there_twice_is_no_way_to_tell_two_people_two_things(records: Records) -> None:
    whole = lines(records)
    twice = whole.replace(b'"fee":3,', b'"fee":9,"fee":3,', 1)
    assert twice != whole
    assert read(twice).broken is not None


def test_a_byte_that_is_damaged_anywhere_in_an_export_is_found(records: Records) -> None:
    whole = lines(records)
    source = random.Random(1)
    places = source.sample(range(len(whole)), 600)
    for at in places:
        damaged = bytearray(whole)
        damaged[at] ^= source.randrange(1, 256)
        if read(bytes(damaged)).broken is None:
            # Where it means the same, nothing was changed: a line's end, of which there are several.
            assert [json.loads(line) for line in damaged.splitlines()] == records, at
    for at in source.sample(range(len(whole) - 1), 100):
        assert read(whole[:at]).broken is not None, "cut short"


def test_a_byte_that_is_damaged_anywhere_in_a_ledger_is_found_or_of_no_account(tmp_path: Path) -> None:
    path = made(tmp_path, (20, 10, 30))
    whole = path.read_bytes()
    before = list(export(path))
    source = random.Random(2)
    found = 0
    heads = [*range(110), *range(4096, 4110), *range(8192, 8210)]
    for at in heads + source.sample(range(len(whole)), 120):
        damaged = bytearray(whole)
        damaged[at] ^= source.randrange(1, 256)
        path.write_bytes(damaged)
        try:
            verdict = verify_file(path)
        except BitrelayError as error:
            assert error.what
            found += 1
            continue
        if verdict.broken is None:
            assert list(export(path)) == before, at
        else:
            found += 1
        for beside in tmp_path.glob("*.sqlite-*"):
            beside.unlink()
    assert found > 40


def test_blocks_taken_from_the_end_are_found_against_an_earlier_export(tmp_path: Path, records: Records) -> None:
    whole = read(lines(records))
    assert verify(records, whole).compared
    cut = copy(records)
    cut[0]["claim"] = None
    del cut[3:7]
    cut[3] = {"end": 3, "head": cut[2]["head"]}
    shorter = read(lines(cut))
    assert shorter.broken is None, "alone, nobody can tell"
    verdict = read(lines(cut), whole)
    assert verdict.broken is not None and verdict.broken.number == 4
    longer = verify(records, shorter)
    assert longer.compared and longer.broken is None


def test_a_second_version_is_found_against_an_earlier_export(tmp_path: Path, records: Records) -> None:
    # The relayer itself, with its key, tells another story under the same numbers.
    other = ledger_of(tmp_path / "ledger.sqlite", (2,))
    other.append([event(number + 100) for number in range(4)])
    other.close()
    assert verify_file(tmp_path / "ledger.sqlite").broken is None
    verdict = verify_file(tmp_path / "ledger.sqlite", verify(records))
    assert verdict.broken is not None and verdict.broken.number == 6
    another = ledger_of(tmp_path / "later.sqlite", (6,), Clock(NOW + 5))
    another.close()
    verdict = verify_file(tmp_path / "later.sqlite", verify(records))
    assert verdict.broken is not None and "another ledger" in verdict.broken.what


def test_an_earlier_export_whose_end_is_pruned_cannot_be_compared(tmp_path: Path) -> None:
    path, clock = tmp_path / "ledger.sqlite", Clock()
    ledger = ledger_of(path, (2,), clock)
    first = verify_file(path)
    nothing = Verdict(first.relayer, first.begun_ms)
    ledger.append(events(3, 4))
    clock.now += 60
    ledger.prune(90)
    found = verify_file(path, first)
    assert (found.pruned, found.compared) == (2, True), "the anchor is its end"
    ledger.append(events(5, 5))
    ledger.prune(30)
    found = verify_file(path, first)
    assert (found.pruned, found.compared, found.broken) == (4, False, None)
    assert verify_file(path, nothing).compared
    ledger.close()


@settings(max_examples=15)
@given(st.lists(st.one_of(st.integers(0, 5), st.sampled_from(["prune", "claim", "open"])), max_size=12), st.data())
def test_whatever_is_done_with_it_it_stays_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int | str], data: st.DataObject
) -> None:
    path, clock = tmp_path_factory.mktemp("ledger") / "ledger.sqlite", Clock()
    ledger = ledger_of(path, (), clock)
    last = pruned = claimed = 0
    for step in steps:
        if isinstance(step, int):
            ledger.append(events(last + 1, last + step))
            last += step
        elif step == "prune":
            pruned += ledger.prune(data.draw(st.integers(-1, 200)))
        elif step == "claim" and last > pruned:
            upto = data.draw(st.integers(pruned + 1, last))
            ledger.mark_claimed(upto)
            claimed = max(claimed, upto)
        else:
            ledger.close()
            ledger = ledger_of(path, (), clock)
        clock.now += 20
    assert [entry.event for entry in ledger.entries()] == events(pruned + 1, last)
    ledger.close()
    verdict = verify_file(path)
    assert (verdict.pruned, verdict.last, verdict.claimed, verdict.broken) == (pruned, last, claimed, None)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(PortError):
        verify_file(tmp_path / "nothing")
    with pytest.raises(PortError):
        verify_file(tmp_path)


@pytest.mark.parametrize("table", ["entries", "blocks"])
def test_what_lies_below_what_was_pruned_is_found(tmp_path: Path, table: str) -> None:
    path = made(tmp_path)
    column = "number" if table == "entries" else "last"
    database = sqlite3.connect(path)
    with database:
        (names,) = database.execute(f"SELECT group_concat(name) FROM pragma_table_info('{table}')").fetchone()
        values = names.replace(column, "1", 1)
        database.execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} LIMIT 1")
    database.close()
    verdict = verify_file(path)
    assert verdict.broken is not None and verdict.broken.number == 3
