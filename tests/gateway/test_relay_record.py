"""What was relayed gets into the ledger, whatever else the ledger does meanwhile."""

import asyncio
from pathlib import Path

import pytest

from bitrelay.errors import BitrelayError, DiskFull
from bitrelay.gateway import relay_record
from bitrelay.gateway.bridge import Down
from bitrelay.gateway.bridge_frame import parse_frame
from bitrelay.gateway.mesh_feed import AT_ONCE
from bitrelay.gateway.relay_record import RelayRecord
from bitrelay.gateway.told import Trouble
from bitrelay.mesh.relay_fee import HopFee
from bitrelay.mesh.relay_ledger import RelayLedger
from tests.gateway.sites import START_MS, World, in_virtual_time, said
from tests.identity.mined import keys_of


def down(number: int) -> Down:
    frame = parse_frame(said(number))
    assert frame is not None
    return Down(frame, frame.lowered(), "west", b"\1" * 32)


def record_of(folder: Path) -> tuple[RelayRecord, RelayLedger]:
    ledger = RelayLedger(folder / "ledger.sqlite", keys_of(1), lambda: START_MS / 1000)
    failed: list[tuple[int, BitrelayError]] = []
    return RelayRecord(ledger, HopFee(1), wall_ms=lambda: START_MS, failed=lambda *what: failed.append(what)), ledger


@in_virtual_time
async def test_what_comes_while_old_entries_go_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, ledger = record_of(tmp_path)
    written: list[int] = []
    monkeypatch.setattr(ledger, "prune", lambda keep_s: record.relayed(down(1), "east", 0.0, lambda: written.append(1)))
    await record.prune(3600)
    await asyncio.sleep(1)
    assert written == [1]
    assert ledger.last == 1
    monkeypatch.setattr(ledger, "prune", lambda keep_s: record.relayed(down(2), "east", 0.0, lambda: written.append(2)))
    await record.prune(3600)
    await record.close()
    assert written == [1, 2]
    assert record.recorded == 2


@in_virtual_time
async def test_a_disk_that_hangs_holds_up_what_goes_into_a_mesh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_record, "MOST_GATHERED", 16)
    async with World(tmp_path) as world:
        await world.add("w", "west")
        east = await world.add("e", "east")
        record = east.gateway.record
        going = asyncio.Event()
        write = record._write

        async def hang() -> None:
            await going.wait()
            await write()

        monkeypatch.setattr(record, "_write", hang)
        for number in range(40):
            world.meshes["west"].say(said(number, number))
            await asyncio.sleep(0.05)
        assert 16 <= world.meshes["east"].brought <= 16 + AT_ONCE
        going.set()
        await asyncio.sleep(5)
        assert world.meshes["east"].brought == 40


@in_virtual_time
async def test_a_ledger_that_fails_is_told_of_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(tmp_path) as world:
        await world.add("w", "west")
        east = await world.add("e", "east")

        def full(*_: object) -> int:
            raise DiskFull("cannot write: no space left")

        assert east.gateway.record._ledger is not None
        monkeypatch.setattr(east.gateway.record._ledger, "append", full)
        for number in range(200):
            world.meshes["west"].say(said(number, number))
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert world.meshes["east"].brought == 200
        assert east.gateway.numbers.events["not in the ledger"] == 200
        assert 1 <= len(east.told_of(Trouble)) <= 3
