"""A relay's port is let go of, whatever is cancelled and in whatever order relays come and go."""

import asyncio

import pytest

from bitrelay.errors import DeviceLost, HandshakeFailed
from bitrelay.transports.address import Address, Serial
from bitrelay.transports.relay_port import RelayPort
from bitrelay.transports.relay_transport import RelayTransport
from bitrelay.transports.transport import Connected, DataReceived, Disconnected, Ended

RELAY = b"R" * 32
HERE = Serial("/dev/ttyUSB0")
DEADLINE_S = 10


class Port(RelayPort):
    def __init__(self, peer_id: bytes = RELAY) -> None:
        self.peer_id = peer_id
        self.is_open = True
        self.may_close = asyncio.Event()
        self.may_close.set()
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()

    @property
    def dropped(self) -> int:
        return 0

    async def send(self, frame: bytes) -> None:
        pass

    async def receive(self) -> bytes:
        frame = await self.frames.get()
        if frame is None:
            raise DeviceLost("unplugged")
        return frame

    async def close(self) -> None:
        await self.may_close.wait()
        self.is_open = False


class Relays(RelayTransport):
    accepts = (Serial,)

    def __init__(self, events: int = 64) -> None:
        super().__init__(events)
        self.made: list[Port] = []

    async def _open(self, address: Address, timeout: float) -> RelayPort:
        self.made.append(Port())
        return self.made[-1]


async def test_who_leaves_at_once_leaves_no_port_open() -> None:
    relays = Relays()
    await relays.connect(HERE)
    await relays.disconnect(RELAY)
    assert not relays.is_connected(RELAY)
    await relays.connect(HERE)
    await relays.close()
    assert [port.is_open for port in relays.made] == [False, False]


async def test_a_reader_that_does_not_read_holds_up_no_connect_and_no_port_stays_open() -> None:
    relays = Relays(events=1)
    assert relays._events.offer(DataReceived(RELAY, b"unread"))
    async with asyncio.timeout(DEADLINE_S):
        await relays.connect(HERE)
        await relays.close()
    assert [port.is_open for port in relays.made] == [False]


async def test_another_relay_than_expected_is_let_go_of() -> None:
    relays = Relays()
    with pytest.raises(HandshakeFailed):
        await relays.connect(HERE, expected=bytes(32))
    assert [port.is_open for port in relays.made] == [False]
    await relays.close()


async def test_the_end_of_a_connection_is_told_before_the_next_one_begins() -> None:
    relays = Relays()
    await relays.connect(HERE)
    first = relays.made[0]
    async with asyncio.timeout(DEADLINE_S):
        assert await relays.next_event() == Connected(RELAY, HERE)
        first.may_close.clear()
        first.frames.put_nowait(None)
        again = [asyncio.create_task(relays.connect(HERE)) for _ in range(2)]
        done, _ = await asyncio.wait(again, timeout=0.05)
        assert not done  # the old port is not closed yet
        first.may_close.set()
        await asyncio.gather(*again)
        told = [await relays.next_event() for _ in range(4)]
    up = Connected(RELAY, HERE)
    assert told == [Disconnected(RELAY, Ended.LOST), up, Disconnected(RELAY, Ended.REPLACED), up]
    assert [port.is_open for port in relays.made] == [False, False, True]
    await relays.close()
    assert not relays.made[-1].is_open
