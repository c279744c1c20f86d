"""When a connection is lost: silence, and what is slow but comes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bitrelay.transports.address import Tcp
from bitrelay.transports.channel import Channel, Kind
from bitrelay.transports.event_queue import EventQueue
from bitrelay.transports.link import Link, Patience
from bitrelay.transports.pipe import Admission
from bitrelay.transports.transport import Connected, DataReceived, Disconnected, Ended, Statistics
from tests.transports.ends import LIMITS, anywhere, every_transport, make, peer_id, until
from tests.transports.proxies import Tamper, wire
from tests.transports.test_channel import MemoryPipe, both
from tests.transports.virtual_time import later, now, virtual_time

PATIENCE = Patience(alive_s=1000.0, idle_s=30.0, stalled_s=300.0)


class SlowPipe(MemoryPipe):
    """Says when something of a message has come."""

    heard = 0.0

    @property
    def heard_at(self) -> float:
        return self.heard


@pytest.mark.parametrize(
    ("comes_at", "whole_at", "lost_at"),
    [
        ((), 29, None),
        ((), 31, 30),
        (range(20, 290, 20), 300, None),
        ((20, 40), 71, 70),
        (range(20, 400, 20), 401, 330),
    ],
    ids=["in time", "silent", "slow", "slow and then silent", "never whole"],
)
@virtual_time
async def test_a_slow_message_is_no_silence(comes_at: Sequence[int], whole_at: int, lost_at: int | None) -> None:
    dialler, listener = MemoryPipe(), SlowPipe()
    dialler.other, listener.other = listener, dialler
    speaker, hearer = await both(dialler, listener)
    assert isinstance(speaker, Channel) and isinstance(hearer, Channel)
    events = EventQueue()
    link = Link(hearer, Tcp("192.0.2.1", 1), Admission(lambda: None), events, Statistics(), PATIENCE, lambda link: None)
    life = asyncio.create_task(link.run(None))
    assert isinstance(await events.get(), Connected)
    began = now()

    async def say() -> None:
        for second in comes_at:
            await later(began + second - now())
            listener.heard = now()
        await later(began + whole_at - now())
        await speaker.send(Kind.DATA, b"at last")

    saying = asyncio.create_task(say())
    event = await events.get()
    if lost_at is None:
        assert event == DataReceived(link.peer_id, b"at last")
    else:
        assert event == Disconnected(link.peer_id, Ended.LOST) and now() - began == pytest.approx(lost_at)
    saying.cancel()
    link.end(Ended.LOCAL)
    await asyncio.gather(life, saying, return_exceptions=True)


def first(count: int) -> Tamper:
    """Lets so much through to the listener, and nothing more."""
    left = [count]

    def passed(to_listener: bool, number: int, data: bytes) -> list[bytes]:
        left[0] -= to_listener
        return [data] if not to_listener or left[0] >= 0 else []

    return passed


@every_transport
async def test_a_part_of_a_message_is_heard(scheme: str) -> None:
    server = make(scheme, 1, limits=replace(LIMITS, patience=Patience(idle_s=1.0, goodbye_s=0.05)))
    client = make(scheme, 2, limits=LIMITS)
    try:
        async with wire(await server.listen(anywhere(scheme))) as between:
            peer = await client.connect(between.address)
            await until(server, Connected)
            await client.send(peer, b"whole")
            await until(server, DataReceived)
            pipe = server._links[peer_id(2)].channel.pipe
            said_at = now()
            assert pipe.heard_at <= said_at
            # One chunk, or several datagrams, are less than the message.
            between.tamper = first(8 if scheme in ("udp", "quic") else 1)
            await client.send(peer, bytes(client.max_message))
            await client.disconnect(peer)
            assert await until(server, Disconnected) == Disconnected(peer_id(2), Ended.LOST)
            assert pipe.heard_at > said_at
    finally:
        for transport in (client, server):
            await transport.close()
