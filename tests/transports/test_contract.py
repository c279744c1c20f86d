"""What every transport holds to: the same tests for TCP, UDP, WebSocket, QUIC and, as far as they fit it, the mesh."""

import asyncio
import random
import socket
from dataclasses import replace

import pytest

from bitrelay.errors import (
    BadData,
    DeviceLost,
    DeviceTimeout,
    HandshakeFailed,
    HandshakeFault,
    LimitReached,
    NotConnected,
    TransportClosed,
    Unreachable,
    WrongAddress,
)
from bitrelay.identity.proof import PowIdentity
from bitrelay.transports.address import Address, Mesh, parse
from bitrelay.transports.link import Patience
from bitrelay.transports.secure_transport import SecureTransport
from bitrelay.transports.transport import Connected, DataReceived, Disconnected, Ended, Failed
from tests.transports.ends import (
    DEADLINE_S,
    LIMITS,
    QUICK,
    SCHEMES,
    and_the_mesh,
    anywhere,
    connected,
    ends,
    every_transport,
    make,
    peer_id,
    serves,
    until,
)
from tests.transports.proxies import wire


async def messages(transport: SecureTransport, count: int) -> list[bytes]:
    """The data of so many DataReceived."""
    return [(await until(transport, DataReceived)).data for _ in range(count)]


async def echoing(transport: SecureTransport) -> None:
    """Sends back what comes, until it is cancelled."""
    while True:
        event = await transport.next_event()
        if isinstance(event, DataReceived):
            await transport.send(event.peer_id, event.data)


@pytest.mark.requirement("TRN-01", "TRN-05", "TRN-06", "TRN-07", "TRN-18")
@and_the_mesh
async def test_ends_connect_talk_and_part(scheme: str) -> None:
    async with ends(scheme, 1, 2) as (server, client):
        seen, client_id = await connected(server, client, scheme)
        assert (seen, client_id) == (peer_id(1), peer_id(2))
        assert client.is_connected(seen) and list(server.connected_peers()) == [client_id]
        await client.send(seen, b"question")
        assert await until(server, DataReceived) == DataReceived(client_id, b"question")
        await server.send(client_id, b"answer!")
        assert await until(client, DataReceived) == DataReceived(seen, b"answer!")
        mine = client.statistics
        assert (mine.packets_sent, mine.bytes_sent, mine.packets_received, mine.bytes_received) == (1, 8, 1, 7)
        assert mine.connection_count == server.statistics.connection_count == 1
        await client.disconnect(seen)
        assert await until(client, Disconnected) == Disconnected(seen, Ended.LOCAL)
        assert await until(server, Disconnected) == Disconnected(client_id, Ended.REMOTE)
        assert not client.is_connected(seen) and not server.connected_peers()
        assert mine.connection_count == server.statistics.connection_count == mine.error_count == 0
        with pytest.raises(NotConnected):
            await client.send(seen, b"too late")
        await client.disconnect(seen)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@every_transport
@pytest.mark.skipif(not has_ipv6(), reason="this computer has no IPv6")
async def test_over_ipv6(scheme: str) -> None:
    async with ends(scheme, 1, 2) as (server, client):
        await serves(server, client, await server.listen(parse(f"{scheme}://[::1]:0")))


@and_the_mesh
async def test_ten_megabytes_come_back(scheme: str) -> None:
    block = random.Random(1).randbytes(62_500)
    async with ends(scheme, 1, 2) as (server, client):
        peer, _ = await connected(server, client, scheme)
        echo = asyncio.create_task(echoing(server))
        back = asyncio.create_task(messages(client, 160))
        for number in range(160):
            await client.send(peer, number.to_bytes(2, "big") + block)
        assert await back == [number.to_bytes(2, "big") + block for number in range(160)]
        echo.cancel()


@and_the_mesh
async def test_ten_thousand_small_messages_come_in_order(scheme: str) -> None:
    async with ends(scheme, 1, 2) as (server, client):
        peer, _ = await connected(server, client, scheme)
        there = asyncio.create_task(messages(server, 10_000))
        for number in range(10_000):
            await client.send(peer, b"%d" % number)
        assert await there == [b"%d" % number for number in range(10_000)]


@pytest.mark.requirement("TRN-20")
@and_the_mesh
async def test_many_tasks_use_one_transport(scheme: str) -> None:
    async with ends(scheme, 1, 2) as (server, client):
        peer, _ = await connected(server, client, scheme)

        async def say(task: int) -> None:
            for number in range(50):
                await client.send(peer, b"%d %d" % (task, number))

        async def listen(heard: list[bytes]) -> None:
            while len(heard) < 20 * 50:
                event = await server.next_event()
                assert isinstance(event, DataReceived)
                heard.append(event.data)
                if len(heard) == 20 * 50:
                    for other in listeners:
                        other.cancel()

        heard: list[bytes] = []
        listeners = [asyncio.create_task(listen(heard)) for _ in range(4)]
        await asyncio.gather(*(say(task) for task in range(20)))
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*listeners, return_exceptions=True)
        for task in range(20):
            said = [data for data in heard if data.startswith(b"%d " % task)]
            assert said == [b"%d %d" % (task, number) for number in range(50)]


@and_the_mesh
async def test_a_hundred_peers_at_once(scheme: str) -> None:
    async with ends(scheme, *range(1, 102)) as (server, *clients):
        address = await server.listen(anywhere(scheme))
        echo = asyncio.create_task(echoing(server))

        async def talk(client: SecureTransport) -> bytes:
            peer = await client.connect(address, timeout=DEADLINE_S)
            await client.send(peer, peer)
            return (await until(client, DataReceived)).data

        assert await asyncio.gather(*(talk(client) for client in clients)) == [peer_id(1)] * 100
        assert server.statistics.connection_count == 100
        assert set(server.connected_peers()) == {peer_id(number) for number in range(2, 102)}
        echo.cancel()


@and_the_mesh
async def test_a_slow_reader_slows_the_sender_and_loses_nothing(scheme: str) -> None:
    # 32 MB. TCP's buffers are the system's, and may take a part of it.
    size, count, most = 64_000, 500, 250 if scheme in ("tcp", "ws") else 20
    async with ends(scheme, 1, 2, limits=replace(LIMITS, events=4)) as (server, client):
        peer, _ = await connected(server, client, scheme)
        sent = 0
        with pytest.raises(DeviceTimeout):
            while sent < count:
                await client.send(peer, sent.to_bytes(2, "big") * (size // 2), timeout=0.3)
                sent += 1
        assert 4 < sent < most
        reading = asyncio.create_task(messages(server, sent + 10))
        for number in range(sent, sent + 10):
            await client.send(peer, number.to_bytes(2, "big") * (size // 2))
        assert await reading == [number.to_bytes(2, "big") * (size // 2) for number in range(sent + 10)]


@and_the_mesh
async def test_a_message_given_up_for_want_of_room_does_not_harm_the_next(scheme: str) -> None:
    async with ends(scheme, 1, 2, limits=replace(LIMITS, events=1)) as (server, client):
        peer, _ = await connected(server, client, scheme)
        sending = [asyncio.create_task(client.send(peer, bytes(60_000))) for _ in range(400)]
        done, stuck = await asyncio.wait(sending, timeout=0.3)
        for task in stuck:
            task.cancel()
        assert stuck
        reading = asyncio.create_task(messages(server, len(done) + 1))
        await client.send(peer, b"last")
        assert (await reading)[-1] == b"last"


@every_transport
async def test_a_peer_that_is_cut_off_is_lost(scheme: str) -> None:
    async with (
        ends(scheme, 1, 2, limits=QUICK) as (server, client),
        wire(await server.listen(anywhere(scheme))) as between,
    ):
        peer = await client.connect(between.address)
        await until(server, Connected)
        between.cut()
        assert (await until(client, Disconnected)).reason is Ended.LOST
        assert (await until(server, Disconnected)).reason is Ended.LOST
        assert not client.is_connected(peer)
        assert client.statistics.error_count == server.statistics.error_count == 1


@every_transport
async def test_a_connection_on_which_nothing_answers_is_lost(scheme: str) -> None:
    async with (
        ends(scheme, 1, 2, limits=QUICK) as (server, client),
        wire(await server.listen(anywhere(scheme))) as between,
    ):
        await client.connect(between.address)
        await until(server, Connected)
        between.frozen = True
        assert (await until(client, Disconnected)).reason is Ended.LOST
        assert (await until(server, Disconnected)).reason is Ended.LOST


@and_the_mesh
async def test_silence_is_no_loss_while_both_are_there(scheme: str) -> None:
    patience = Patience(alive_s=0.05, idle_s=1.0, goodbye_s=0.05)
    async with ends(scheme, 1, 2, limits=replace(LIMITS, patience=patience)) as (server, client):
        address = await server.listen(anywhere(scheme))
        other = make(scheme, 3, limits=replace(LIMITS, patience=replace(patience, alive_s=60.0)))
        try:
            peer = await client.connect(address)
            await other.connect(address)
            # By the time the one that says nothing is lost, the other one has been as silent.
            lost = await until(server, Disconnected)
            assert lost == Disconnected(peer_id(3), Ended.LOST)
            assert client.is_connected(peer) and server.is_connected(peer_id(2))
        finally:
            await other.close()


@every_transport
async def test_who_comes_back_after_a_silent_end_is_served_at_once(scheme: str) -> None:
    async with ends(scheme, 1, 2, 2, limits=replace(QUICK, patience=Patience(goodbye_s=0.05))) as (
        server,
        before,
        after,
    ):
        address = await server.listen(anywhere(scheme))
        async with wire(address) as between:
            await before.connect(between.address)
            await until(server, Connected)
            between.frozen = True
            # The same identity, which knows nothing of its earlier connection.
            await serves_again(server, after, address)


async def serves_again(server: SecureTransport, client: SecureTransport, address: Address) -> None:
    peer = await client.connect(address, timeout=DEADLINE_S)
    await client.send(peer, b"back")
    assert await until(server, Disconnected) == Disconnected(peer_id(2), Ended.REPLACED)
    assert (await until(server, Connected)).peer_id == peer_id(2)
    assert (await until(server, DataReceived)).data == b"back"
    assert server.statistics.connection_count == 1


@and_the_mesh
@pytest.mark.parametrize("numbers", [(1, 2), (2, 1)], ids=["to the one", "to the other"])
async def test_a_second_dial_keeps_the_connection(scheme: str, numbers: tuple[int, int]) -> None:
    async with ends(scheme, *numbers) as (server, client):
        address = await server.listen(anywhere(scheme, numbers[0]))
        first = await client.connect(address)
        assert await client.connect(address) == first
        assert await until(client, Connected)
        await client.send(first, b"still here")
        caller = peer_id(numbers[1])
        assert await server.next_event() == Connected(caller, server.address_of(caller), inbound=True)
        assert await server.next_event() == DataReceived(caller, b"still here")


@and_the_mesh
async def test_when_both_dial_at_once_both_keep_the_same_connection(scheme: str) -> None:
    for number in range(2, 7):
        async with ends(scheme, 1, number) as (one, other):
            there = await one.listen(anywhere(scheme)), await other.listen(anywhere(scheme, number))
            ids = await asyncio.gather(one.connect(there[1]), other.connect(there[0]))
            assert ids == [peer_id(number), peer_id(1)]
            assert one._links[peer_id(number)].channel.id == other._links[peer_id(1)].channel.id
            await one.send(peer_id(number), b"one")
            await other.send(peer_id(1), b"other")
            assert (await until(one, DataReceived)).data == b"other"
            assert (await until(other, DataReceived)).data == b"one"
            assert one.statistics.connection_count == other.statistics.connection_count == 1


@pytest.mark.requirement("TRN-17")
@and_the_mesh
async def test_somebody_else_than_expected_is_refused(scheme: str) -> None:
    async with ends(scheme, 1, 2) as (server, client):
        address = await server.listen(anywhere(scheme))
        with pytest.raises(HandshakeFailed) as failed:
            await client.connect(address, expected=peer_id(3))
        assert failed.value.fault is HandshakeFault.WRONG_PEER
        assert not client.connected_peers()
        # It was not told who asked, either.
        assert isinstance((await until(server, Failed)).error, HandshakeFailed)
        assert await client.connect(address, expected=peer_id(1)) == peer_id(1)


@every_transport
async def test_nobody_connects_to_itself(scheme: str) -> None:
    async with ends(scheme, 1) as (alone,):
        with pytest.raises(HandshakeFailed):
            await alone.connect(await alone.listen(anywhere(scheme)))
        assert not alone.connected_peers()


@and_the_mesh
@pytest.mark.parametrize("strict", [0, 1], ids=["listener", "dialler"])
async def test_too_little_work_is_refused(scheme: str, strict: int) -> None:
    async with ends(scheme, 1, 2, limits=LIMITS) as pair:
        pair[strict]._limits = replace(LIMITS, base=16)
        server, client = pair
        with pytest.raises(HandshakeFailed):
            await client.connect(await server.listen(anywhere(scheme)))
        assert not server.connected_peers() and not client.connected_peers()


@pytest.mark.requirement("TRN-08")
@every_transport
async def test_an_address_of_another_kind_is_refused(scheme: str) -> None:
    others: list[Address] = [anywhere(other) for other in SCHEMES if other != scheme]
    async with ends(scheme, 1) as (transport,):
        for address in (*others, Mesh(bytes(32)), parse("ble://AA:BB:CC:DD:EE:FF")):
            with pytest.raises(WrongAddress):
                await transport.connect(address)
            with pytest.raises(WrongAddress):
                await transport.listen(address)


@every_transport
async def test_nobody_there_is_told_within_the_deadline(scheme: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken, socket.socket(type=socket.SOCK_DGRAM) as silent:
        taken.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        held = silent if scheme in ("udp", "quic") else taken
        async with ends(scheme, 1) as (client,):
            with pytest.raises((Unreachable, DeviceTimeout)):
                await client.connect(parse(f"{scheme}://127.0.0.1:{held.getsockname()[1]}"), timeout=0.3)
            assert client.statistics.error_count == 1


@and_the_mesh
async def test_a_message_that_is_too_long_is_not_sent(scheme: str) -> None:
    async with ends(scheme, 1, 2) as (server, client):
        peer, _ = await connected(server, client, scheme)
        with pytest.raises(BadData):
            await client.send(peer, bytes(client.max_message + 1))
        for data in (bytes(client.max_message), b""):
            await client.send(peer, data)
            assert (await until(server, DataReceived)).data == data


@and_the_mesh
async def test_a_closed_transport_tells_what_is_left_and_no_more(scheme: str) -> None:
    async with ends(scheme, 1, 2, 3) as (server, client, late):
        peer, client_id = await connected(server, client, scheme)
        waiting = asyncio.create_task(late.next_event())
        await server.close()
        await server.close()
        assert await server.next_event() == Disconnected(client_id, Ended.CLOSED)
        with pytest.raises(TransportClosed):
            await server.next_event()
        with pytest.raises(TransportClosed):
            await server.send(client_id, b"")
        with pytest.raises(TransportClosed):
            await server.listen(anywhere(scheme))
        assert (await until(client, Disconnected)).reason is Ended.REMOTE
        await late.close()
        with pytest.raises(TransportClosed):
            await waiting


@every_transport
async def test_closing_ends_a_dial_that_is_under_way(scheme: str) -> None:
    async with ends(scheme, 1, 2) as (server, client), wire(await server.listen(anywhere(scheme))) as between:
        between.frozen = True
        dialling = asyncio.create_task(client.connect(between.address, timeout=DEADLINE_S))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(TransportClosed):
            await dialling


class CountingGate:
    """Lets `places` in, and counts."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.admitted = self.gone = 0
        self.strangers: set[bytes] = set()
        self.changed = asyncio.Event()

    def admit(self, address: Address) -> None:
        if self.admitted - self.gone >= self.places:
            raise LimitReached("no place", limit="places")
        self.admitted += 1

    def known(self, peer: PowIdentity, address: Address, inbound: bool) -> None:
        if peer.peer_id in self.strangers:
            raise LimitReached("not you", limit="strangers")

    def left(self, address: Address) -> None:
        self.gone += 1
        self.changed.set()


@and_the_mesh
async def test_the_gate_is_asked_first_and_told_when_they_leave(scheme: str) -> None:
    gate = CountingGate(1)
    async with ends(scheme, 1, 2, 3, gate=gate) as (server, client, other):
        address = await server.listen(anywhere(scheme))
        peer = await client.connect(address)
        with pytest.raises((HandshakeFailed, Unreachable, DeviceTimeout)):
            await other.connect(address, timeout=0.3)
        assert gate.admitted == 1 and gate.gone == 0 and server.refused["places"] >= 1
        await client.disconnect(peer)
        await until(server, Disconnected)
        async with asyncio.timeout(DEADLINE_S):
            await gate.changed.wait()
        gate.strangers.add(peer_id(3))
        gate.places = 10
        with pytest.raises(HandshakeFailed):
            await other.connect(address)
        await client.connect(address)
        assert (await until(server, Connected)).peer_id == peer_id(2)
        assert server.connected_peers() == (peer_id(2),)
    assert gate.admitted == gate.gone == 3


@every_transport
async def test_a_peer_that_takes_nothing_is_given_up_in_the_end(scheme: str) -> None:
    patience = Patience(alive_s=0.05, idle_s=DEADLINE_S, stalled_s=0.3, goodbye_s=0.05)
    async with ends(scheme, 1, 2, limits=replace(LIMITS, events=1, patience=patience)) as (server, client):
        peer, _ = await connected(server, client, scheme)

        async def say() -> None:
            while True:
                await client.send(peer, bytes(60_000))

        saying = asyncio.create_task(say())
        assert (await until(client, Disconnected)).reason is Ended.TOO_SLOW
        with pytest.raises((DeviceLost, NotConnected)):
            await saying
