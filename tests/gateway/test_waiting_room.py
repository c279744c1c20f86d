"""The event loop's side of the store: nothing is lost between it and the disk, whatever ends when."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bitrelay.errors import BitrelayError, DiskFull
from bitrelay.gateway.bridge_frame import BridgeFrame, parse_frame
from bitrelay.gateway.config import StoreConfig
from bitrelay.gateway.store import FrameStore
from bitrelay.gateway.waiting_room import WaitingRoom
from shared_protocol.frame import TYPE_MESSAGE, encode

NOW = 1_786_000_000


def frame(number: int) -> BridgeFrame:
    made = parse_frame(encode(TYPE_MESSAGE, 5, NOW * 1000, b"author 1", b"%d" % number))
    assert made is not None
    return made


class Room:
    """A waiting room with what it lost; its store is slow if that is said."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "frames.sqlite"
        self.store = FrameStore(self.path, StoreConfig(), lambda: NOW)
        self.lost: list[BridgeFrame] = []
        self.errors: list[BitrelayError] = []
        self.room = WaitingRoom(
            self.store,
            expires_in=lambda frame, wall_ms: 100.0,
            wall_ms=lambda: NOW * 1000 + time.monotonic_ns() // 1_000_000 % 1000,
            failed=self.failed,
        )

    def failed(self, frames: Sequence[BridgeFrame], error: BitrelayError) -> None:
        self.lost += frames
        self.errors.append(error)

    def put(self, *numbers: int, target: str = "west") -> None:
        for number in numbers:
            assert self.room.put("east", target, frame(number), asyncio.get_running_loop().time())

    def slow(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        at_once = threading.Lock()

        def slowly(method: Any) -> Any:
            def run(*arguments: Any) -> Any:
                assert at_once.acquire(blocking=False), "two threads have the store"
                try:
                    time.sleep(0.03)
                    return method(*arguments)
                finally:
                    at_once.release()

            return run

        for name in names:
            monkeypatch.setattr(self.store, name, slowly(getattr(self.store, name)))

    async def left(self) -> dict[str, int]:
        await self.room.close()
        store = FrameStore(self.path, StoreConfig(), lambda: NOW)
        try:
            return store.targets()
        finally:
            store.close()


async def test_whoever_is_cancelled_while_it_is_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(tmp_path)
    room.slow(monkeypatch, "put_all", "expire", "first")
    room.put(1)
    room.put(2, target="south")
    for work in (room.room.first("west", 10), room.room.expire()):
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait((task,))
    room.put(3)
    assert await room.left() == {"west": 2, "south": 1}
    assert not room.errors


async def test_what_was_put_in_a_while_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(tmp_path)
    writes = 0

    def count(what: str) -> None:
        nonlocal writes
        writes += what.startswith("BEGIN")

    for number in range(10):
        room.put(number)
        await asyncio.sleep(0.002)
    room.store._database.set_trace_callback(count)
    await room.room.flush()
    room.store._database.set_trace_callback(None)
    assert writes == 1
    assert await room.left() == {"west": 10}


async def test_what_is_done_with_is_not_given_again_though_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise DiskFull("cannot write: no space left")

    room = Room(tmp_path)
    room.put(1, 2, 3)
    stored = await room.room.first("west", 2)
    with monkeypatch.context() as patch:
        for name in ("done", "expire", "put_all"):
            patch.setattr(room.store, name, full)
        await room.room.done([each.number for each in stored])
        assert room.room.waiting("west") == 1
        assert [each.frame.key for each in await room.room.first("west", 2)] == [frame(3).key]
        room.put(4)
        await room.room.flush()
        assert [each.key for each in room.lost] == [frame(4).key]
        await room.room.expire()
        assert room.room.waiting("west") == 1
    await room.room.expire()
    assert await room.left() == {"west": 1}
