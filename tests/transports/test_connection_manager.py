"""Connections over transports in memory: the sequence, the counts, and who gets a place."""

import asyncio

import pytest
from memory import MemoryNetwork, MemoryTransport
from virtual_time import later, now, virtual_time

from bitrelay.errors import DeviceTimeout, HandshakeFailed, LimitReached, NotConnected, Unreachable, WrongAddress
from bitrelay.transports.address import Address, HostAddress, Mesh, Quic, Tcp
from bitrelay.transports.blacklist import Blacklist, BlacklistLimits
from bitrelay.transports.connection_manager import PENDING_S, ConnectionManager
from bitrelay.transports.limits import Admission, ConnectionLimits, Limit
from bitrelay.transports.transport import Connected, DataReceived, Disconnected, Ended, Event, Failed

ME, FRIEND = b"M" * 32, b"F" * 32
NOWHERE = Tcp("203.0.113.1", 9)


def stranger_id(number: int) -> bytes:
    return number.to_bytes(32, "big")


class Node:
    """A manager with one transport, and what it told."""

    def __init__(self, network: MemoryNetwork, **limits: float) -> None:
        self.network = network
        self.events: list[Event] = []
        self.known = {FRIEND}
        self.manager = ConnectionManager(
            lambda name, event: self.events.append(event),
            is_known=lambda peer: peer in self.known,
            admission=Admission(ConnectionLimits(**limits)),  # type: ignore[arg-type]
            blacklist=Blacklist(BlacklistLimits(faults=3)),
        )
        self.transport = MemoryTransport(network, ME, gate=self.manager)
        self.manager.register(self.transport, "tcp")

    @property
    def connections(self) -> int:
        return self.manager.statistics().total_connections


async def listening(
    network: MemoryNetwork, peer: bytes, kind: type[HostAddress] = Tcp, host: str = "198.51.100.1"
) -> tuple[MemoryTransport, Address]:
    transport = MemoryTransport(network, peer, kind=kind, host=host)
    return transport, await transport.listen(kind(host, 0))


@pytest.mark.requirement("LIM-08")
@virtual_time
async def test_a_connect_is_counted_made_and_told() -> None:
    node = Node(MemoryNetwork())
    _, address = await listening(node.network, FRIEND)
    assert await node.manager.connect(address, peer=FRIEND) == FRIEND
    assert node.events == [Connected(FRIEND, address)]
    assert node.manager.statistics().connections_by_address == {"198.51.100.1": 1}
    assert node.manager.transports_of(FRIEND) == ("tcp",)
    await node.manager.close()
    assert node.events[1:] == [Disconnected(FRIEND, Ended.LOCAL)]


@pytest.mark.requirement("LIM-08")
@pytest.mark.parametrize("wrong", ["nobody", "another"])
@virtual_time
async def test_a_connect_that_fails_is_told_and_leaves_no_place_taken(wrong: str) -> None:
    node = Node(MemoryNetwork())
    _, address = await listening(node.network, stranger_id(1))
    with pytest.raises((Unreachable, HandshakeFailed)) as failed:
        await node.manager.connect(NOWHERE if wrong == "nobody" else address, peer=FRIEND)
    assert node.events == [Failed(FRIEND, failed.value)]
    assert node.connections == 0
    await node.manager.close()


@pytest.mark.requirement("LIM-24")
@virtual_time
async def test_a_connect_that_nobody_answers_ends_after_half_a_minute() -> None:
    node = Node(MemoryNetwork())
    node.network.silent.add(NOWHERE)
    with pytest.raises(DeviceTimeout):
        await node.manager.connect(NOWHERE, timeout=1000.0)
    assert now() == pytest.approx(PENDING_S)
    assert node.connections == 0
    await node.manager.close()


@pytest.mark.requirement("LIM-24")
@virtual_time
async def test_who_comes_in_and_never_ends_its_handshake_loses_its_place() -> None:
    node = Node(MemoryNetwork())
    for number in range(5):
        node.manager.admit(Tcp(f"10.0.0.{number}", 1))
    assert node.connections == 5
    await later(PENDING_S)
    assert node.connections == 0
    await node.manager.close()


@virtual_time
async def test_a_connect_that_is_cancelled_leaves_no_place_taken_and_no_mark() -> None:
    node = Node(MemoryNetwork())
    node.network.silent.add(NOWHERE)
    for _ in range(6):
        task = asyncio.create_task(node.manager.connect(NOWHERE))
        await later(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert node.connections == 0
        await later(60.0)
    # Six failures would have opened the circuit.
    with pytest.raises(DeviceTimeout):
        await node.manager.connect(NOWHERE)
    await node.manager.close()


@virtual_time
async def test_a_connection_that_is_there_is_used_and_counted_once() -> None:
    node = Node(MemoryNetwork(), cooldown_s=0.0)
    _, address = await listening(node.network, FRIEND)
    assert {await node.manager.connect(address) for _ in range(3)} == {FRIEND}
    assert node.connections == 1 and len(node.events) == 1
    await node.manager.close()


@virtual_time
async def test_an_address_that_fails_again_and_again_is_left_alone_for_a_while() -> None:
    node = Node(MemoryNetwork(), cooldown_s=0.0)
    for _ in range(5):
        with pytest.raises(Unreachable):
            await node.manager.connect(NOWHERE)
    with pytest.raises(LimitReached) as refused:
        await node.manager.connect(NOWHERE)
    assert refused.value.limit == Limit.CIRCUIT and refused.value.retry_s == pytest.approx(30.0, abs=0.1)
    await later(30.0)
    with pytest.raises(Unreachable):
        await node.manager.connect(NOWHERE)
    await node.manager.close()


@pytest.mark.requirement("LIM-13")
@virtual_time
async def test_an_address_goes_to_the_transport_that_takes_it_and_none_else() -> None:
    node = Node(MemoryNetwork())
    quic = MemoryTransport(node.network, ME, kind=Quic)
    node.manager.register(quic, "quic")
    _, address = await listening(node.network, FRIEND, Quic)
    await node.manager.connect(address)
    assert node.manager.transports_of(FRIEND) == ("quic",)
    with pytest.raises(WrongAddress):
        await node.manager.connect(Mesh(FRIEND))
    with pytest.raises(NotConnected):
        await node.manager.send(FRIEND, "tcp", b"there")
    await node.manager.close()


@virtual_time
async def test_what_comes_in_is_asked_before_its_handshake_and_counted_by_its_address() -> None:
    node = Node(MemoryNetwork())
    here = await node.transport.listen(Tcp("192.0.2.1", 0))
    for number in range(12):
        transport = MemoryTransport(node.network, stranger_id(number), host=f"10.0.0.{number}")
        if number < 10:
            await transport.connect(here)
        else:
            with pytest.raises(Unreachable):
                await transport.connect(here)
    await later(0.1)
    assert node.connections == 10 == len(node.events)
    assert node.manager.statistics().refused == {"per minute": 2}
    assert node.manager.statistics().connections_by_address == {f"10.0.0.{number}": 1 for number in range(10)}
    await node.manager.close()


@pytest.mark.requirement("LIM-23")
@virtual_time
async def test_when_all_places_are_taken_a_known_peer_gets_that_of_the_stranger_who_came_last() -> None:
    node = Node(MemoryNetwork(), max_total=4, kept_for_known=1, kept_for_outbound=0)
    here = await node.transport.listen(Tcp("192.0.2.1", 0))
    strangers = [MemoryTransport(node.network, stranger_id(number), host=f"10.0.0.{number}") for number in range(3)]
    for transport in strangers:
        await transport.connect(here)
    for number in range(2):
        friend = bytes([100 + number]) * 32
        node.known.add(friend)
        _, address = await listening(node.network, friend, host=f"198.51.100.{number}")
        await node.manager.connect(address, peer=friend)
        await later(0.1)
    assert node.connections == 4 == len(node.transport.connected_peers())
    assert [transport.is_connected(ME) for transport in strangers] == [True, True, False]
    with pytest.raises(LimitReached):
        await node.manager.connect(NOWHERE)
    await node.manager.close()


@pytest.mark.requirement("LIM-03")
@virtual_time
async def test_strangers_that_hang_up_at_once_do_not_stop_a_new_node_from_dialling() -> None:
    node = Node(MemoryNetwork())
    _, address = await listening(node.network, stranger_id(1))
    # From everywhere, and from where we dial.
    for source in (*(Tcp(f"203.0.113.{number}", 1) for number in range(9)), Tcp("198.51.100.1", 1)):
        node.manager.admit(source)
        node.manager.left(source)
    with pytest.raises(LimitReached):
        node.manager.admit(NOWHERE)
    assert await node.manager.connect(address) == stranger_id(1)
    await node.manager.close()


@pytest.mark.requirement("LIM-22")
@virtual_time
async def test_who_breaks_the_protocol_is_hung_up_on_and_not_let_in_again_for_ten_minutes() -> None:
    node = Node(MemoryNetwork())
    here = await node.transport.listen(Tcp("192.0.2.1", 0))
    rogue = MemoryTransport(node.network, stranger_id(1), host="10.0.0.1")
    await rogue.connect(here)
    await later(0.1)
    for _ in range(3):
        node.manager.misbehaved(rogue.peer_id, "tcp")
    await later(0.1)
    assert not rogue.is_connected(ME) and node.connections == 0
    await later(300.0)
    with pytest.raises(Unreachable):
        await rogue.connect(here)
    # From elsewhere it is known by its PeerId.
    rogue.host = "10.0.0.2"
    with pytest.raises(Unreachable):
        await rogue.connect(here)
    assert not rogue.is_connected(ME) and node.connections == 0
    await later(600.0)
    await rogue.connect(here)
    assert node.manager.statistics().refused == {"blacklist": 2}
    await node.manager.close()


@pytest.mark.parametrize("addresses", [1, 1000])
@virtual_time
async def test_a_flood_of_strangers_does_not_keep_a_known_peer_from_talking(addresses: int) -> None:
    node = Node(MemoryNetwork())
    here = await node.transport.listen(Tcp("192.0.2.1", 0))
    friend, address = await listening(node.network, FRIEND)
    await node.manager.connect(address, peer=FRIEND)
    refused = 0
    for attempt in range(10_000):
        # A thousand a second.
        await later(0.001)
        rogue = MemoryTransport(
            node.network, stranger_id(attempt), host=f"10.0.{attempt % addresses // 256}.{attempt % addresses % 256}"
        )
        try:
            node.manager.admit(Tcp(rogue.host, 1024 + attempt))
        except LimitReached:
            refused += 1
        if attempt % 1000 == 999:
            await node.manager.disconnect(FRIEND)
            await later(1.0)
            await node.manager.connect(address, peer=FRIEND)
            await friend.send(ME, b"hello")
            await node.manager.send(FRIEND, "tcp", b"hello")
    await later(1.0)
    assert refused >= 10_000 - 20
    assert sum(isinstance(event, DataReceived) for event in node.events) == 10
    assert node.manager.admission.entries < 100
    assert here in node.network.listening
    await node.manager.close()


@virtual_time
async def test_a_transport_that_does_not_ask_is_held_to_the_limits_when_a_connection_is_up() -> None:
    node = Node(MemoryNetwork())
    node.transport.gate = None
    here = await node.transport.listen(Tcp("192.0.2.1", 0))
    others = [MemoryTransport(node.network, stranger_id(number), host=f"10.0.0.{number}") for number in range(12)]
    for other in others:
        await other.connect(here)
    await later(0.1)
    assert [other.is_connected(ME) for other in others] == [True] * 10 + [False] * 2
    assert node.connections == 10
    await node.manager.close()


@virtual_time
async def test_a_known_peer_that_comes_in_is_counted_as_one_and_so_is_its_address() -> None:
    node = Node(MemoryNetwork(), max_total=3, kept_for_known=2, kept_for_outbound=0)
    here = await node.transport.listen(Tcp("192.0.2.1", 0))
    friend = MemoryTransport(node.network, FRIEND, host="198.51.100.7")
    await friend.connect(here)
    await later(0.1)
    assert node.manager.statistics().known_connections == 1
    await friend.disconnect(ME)
    await later(1.0)
    await MemoryTransport(node.network, stranger_id(1), host="10.0.0.1").connect(here)
    with pytest.raises(Unreachable):
        await MemoryTransport(node.network, stranger_id(2), host="10.0.0.2").connect(here)
    await friend.connect(here)
    await later(0.1)
    assert node.connections == 2
    await node.manager.close()


@virtual_time
async def test_what_a_peer_says_before_it_hangs_up_is_told_and_its_place_is_free() -> None:
    node = Node(MemoryNetwork(latency_s=0.0))
    here = await node.transport.listen(Tcp("192.0.2.1", 0))
    other = MemoryTransport(node.network, stranger_id(1), host="10.0.0.1")
    await other.connect(here)
    node.transport.tell(DataReceived(other.peer_id, b"bye"))
    await other.disconnect(ME)
    await later(0.1)
    assert [type(event) for event in node.events] == [Connected, DataReceived, Disconnected]
    assert node.connections == 0 and node.manager.statistics().recent_attempts == 1
    await node.manager.close()


@virtual_time
async def test_a_pooled_connection_is_hung_up_when_nobody_needs_it_but_not_somebody_elses() -> None:
    node = Node(MemoryNetwork(), cooldown_s=0.0)
    addresses = [(await listening(node.network, bytes([number]) * 32))[1] for number in range(1, 3)]
    held = await node.manager.connect(addresses[0])
    for address in addresses:
        async with node.manager.using(address) as peer:
            assert node.manager.transports_of(peer)
    await later(300.0)
    assert node.transport.connected_peers() == [held]
    await node.manager.close()


@virtual_time
async def test_a_transport_that_ends_takes_its_connections_along_and_no_others() -> None:
    node = Node(MemoryNetwork())
    quic = MemoryTransport(node.network, ME, kind=Quic)
    node.manager.register(quic, "quic")
    for kind in (Tcp, Quic):
        await node.manager.connect((await listening(node.network, FRIEND, kind))[1])
    await quic.close()
    await later(0.1)
    assert node.manager.transports_of(FRIEND) == ("tcp",) and node.connections == 1
    assert list(node.manager.transports) == ["tcp"]
    await node.manager.close()
