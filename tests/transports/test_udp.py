"""What is UDP's own: a bad link, and a listener that keeps nothing for addresses that have not answered."""

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest

from bitrelay.errors import BadData, LimitReached, NotConnected
from bitrelay.transports.address import Address, Udp
from bitrelay.transports.arq import ArqSettings
from bitrelay.transports.link import Patience
from bitrelay.transports.pipe import Admission, Pipe
from bitrelay.transports.transport import Connected, DataReceived
from bitrelay.transports.udp import UdpMedium, UdpTransport
from bitrelay.transports.udp_connections import UdpConnections
from bitrelay.transports.udp_wire import (
    ACCEPT,
    CONNECT,
    COOKIE,
    COOKIE_SIZE,
    DATAGRAM,
    HEADER_SIZE,
    MAX_DATAGRAM,
    OPEN,
    RESET,
    SEGMENT,
    Cookies,
    Place,
    header,
    opening,
)
from tests.transports.ends import CURT, LIMITS, anywhere, connected, ends, peer_id, until
from tests.transports.proxies import wire

HERE: Place = ("192.0.2.1", 1000)
ID = bytes(range(8))


class Bad:
    """Loses 20 of 100 datagrams, repeats 5, and holds 10 back until the next."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)
        self.held: dict[bool, list[bytes]] = {True: [], False: []}

    def __call__(self, to_listener: bool, number: int, data: bytes) -> list[bytes]:
        chance = self.source.random()
        if chance < 0.2:
            return []
        if chance < 0.25:
            return [data, data]
        held = self.held[to_listener]
        if chance < 0.35 and not held:
            held.append(data)
            return []
        self.held[to_listener] = []
        return [data, *held]


@pytest.mark.requirement("TRN-13")
@pytest.mark.parametrize("seed", [1, 2])
async def test_everything_comes_over_a_bad_link_in_order(seed: int) -> None:
    said = [random.Random(number).randbytes(number * 13 % 4000) for number in range(150)]
    limits = replace(LIMITS, patience=Patience(goodbye_s=0.05))
    async with ends("udp", 1, 2, limits=limits) as (server, client):
        for transport in (server, client):
            assert isinstance(transport._medium, UdpMedium)
            # Loopback answers within a millisecond.
            transport._medium.settings = ArqSettings(initial_timeout_s=0.05, min_timeout_s=0.01, max_timeout_s=0.1)
        async with wire(await server.listen(anywhere("udp")), Bad(seed)) as between:
            peer = await client.connect(between.address)
            back: list[bytes] = []

            async def echo() -> None:
                for _ in said:
                    data = (await until(server, DataReceived)).data
                    await server.send(caller, data)

            async def listen() -> None:
                for _ in said:
                    back.append((await until(client, DataReceived)).data)

            caller = (await until(server, Connected)).peer_id
            tasks = [asyncio.create_task(echo()), asyncio.create_task(listen())]
            for data in said:
                await client.send(peer, data)
            await asyncio.gather(*tasks)
            assert back == said


class Taker:
    """Takes everything, or nothing."""

    def __init__(self, full: bool = False) -> None:
        self.full = full
        self.pipes: list[Pipe] = []

    def admit(self, address: Address) -> Admission:
        if self.full:
            raise LimitReached("no", limit="test")
        return Admission(lambda: None)

    def arrived(self, pipe: Pipe, admission: Admission) -> None:
        self.pipes.append(pipe)


class Listener:
    """The listening end without a socket: what it answers is in `sent`."""

    def __init__(self, taker: Taker | None = None, most: int = 4096) -> None:
        self.taker = taker or Taker()
        self.dropped: Counter[str] = Counter()
        self.sent: list[tuple[bytes, Place]] = []
        self.connections = UdpConnections(ArqSettings(), self.dropped, self.taker, most)
        self.connections.send = lambda datagram, place: self.sent.append((datagram, place))

    def answers(self, datagram: bytes, place: Place = HERE) -> list[bytes]:
        self.sent.clear()
        self.connections.on_datagram(datagram, place)
        assert all(to == place for _, to in self.sent)
        return [said for said, _ in self.sent]

    def cookie(self, place: Place = HERE) -> bytes:
        (answer,) = self.answers(opening(ID), place)
        assert answer[:HEADER_SIZE] == header(COOKIE, ID)
        return answer[HEADER_SIZE:]

    def close(self) -> None:
        for pipe in self.taker.pipes:
            pipe.abort()


async def test_a_listener_keeps_nothing_for_addresses_that_have_not_answered() -> None:
    listener = Listener()
    for number in range(5000):
        place = (f"198.51.{number >> 8}.{number & 255}", 5)
        (answer,) = listener.answers(opening(ID), place)
        assert len(answer) <= len(opening(ID))
        forged = header(CONNECT, ID) + bytes(COOKIE_SIZE)
        assert listener.answers(forged, place) == []
    assert not listener.connections.pipes and not listener.taker.pipes
    assert listener.dropped == {"wrong cookie": 5000}


async def test_who_answers_is_taken_once() -> None:
    listener = Listener()
    connect = header(CONNECT, ID) + listener.cookie()
    assert listener.answers(connect) == [header(ACCEPT, ID)]
    assert listener.answers(connect) == [header(ACCEPT, ID)]
    assert [pipe.remote for pipe in listener.taker.pipes] == [Udp("192.0.2.1", 1000)]
    for other in (("192.0.2.2", 1000), ("192.0.2.1", 1001)):
        assert listener.answers(connect, other) == []
    listener.close()


async def test_nobody_is_flooded_by_way_of_a_listener() -> None:
    listener = Listener()
    source = random.Random(5)
    for _ in range(3000):
        kind = source.choice((OPEN, COOKIE, CONNECT, ACCEPT, SEGMENT, DATAGRAM, RESET, 0, 0xFF))
        asked = bytes((kind,)) + source.randbytes(source.choice((0, 7, 8, 24, 100, MAX_DATAGRAM)))
        assert sum(map(len, listener.answers(asked))) <= len(asked)


async def test_who_is_not_let_in_or_one_too_many_gets_no_answer() -> None:
    shut = Listener(Taker(full=True))
    assert shut.answers(header(CONNECT, ID) + shut.cookie()) == [] and shut.dropped == {"refused": 1}
    small = Listener(most=0)
    assert small.answers(header(CONNECT, ID) + small.cookie()) == [] and small.dropped == {"full": 1}


def test_a_cookie_is_one_addresses_and_one_connections_and_gets_old() -> None:
    cookies = Cookies(bytes(32))
    for place in (HERE, ("2001:db8::1", 1000, 0, 0), ("fe80::1%eth0", 7, 0, 2)):
        cookie = cookies.make(place, ID, 100.0)
        assert cookies.holds(cookie, place, ID, 100.0) and cookies.holds(cookie, place, ID, 119.9 + 30)
        assert not cookies.holds(cookie, place, ID, 151.0)
        assert not cookies.holds(cookie, place, ID[::-1], 100.0)
        assert not cookies.holds(cookie, (place[0], 999), ID, 100.0)
        assert not cookies.holds(cookie[:-1] + b"\0", place, ID, 100.0) or cookie.endswith(b"\0")
    assert not Cookies().holds(cookies.make(HERE, ID, 100.0), HERE, ID, 100.0)


async def test_a_segment_of_no_connection_is_told_so() -> None:
    listener = Listener()
    assert listener.answers(header(SEGMENT, ID) + b"anything") == [header(RESET, ID)]
    assert listener.answers(header(RESET, ID)) == []


@pytest.mark.requirement("TRN-03")
async def test_datagrams_beside_the_ordered_messages() -> None:
    async with ends("udp", 1, 2) as (server, client):
        assert isinstance(client, UdpTransport)
        peer, client_id = await connected(server, client, "udp")
        client.send_unreliable(peer, bytes(client.max_unreliable))
        assert await until(server, DataReceived) == DataReceived(client_id, bytes(client.max_unreliable))
        with pytest.raises(BadData):
            client.send_unreliable(peer, bytes(client.max_unreliable + 1))
        with pytest.raises(NotConnected):
            client.send_unreliable(peer_id(3), b"")


@pytest.mark.requirement("TRN-03")
async def test_a_datagram_that_is_repeated_or_altered_comes_at_most_once() -> None:
    def twice_and_altered(to_listener: bool, number: int, data: bytes) -> list[bytes]:
        return [data, data, data[:-1] + bytes((data[-1] ^ 1,))] if data[0] == 0x16 else [data]

    async with ends("udp", 1, 2, limits=CURT) as (server, client):
        assert isinstance(client, UdpTransport)
        async with wire(await server.listen(anywhere("udp")), twice_and_altered) as between:
            peer = await client.connect(between.address)
            await until(server, Connected)
            for number in range(20):
                client.send_unreliable(peer, b"%d" % number)
                assert (await until(server, DataReceived)).data == b"%d" % number
            assert server.statistics.error_count >= 38
