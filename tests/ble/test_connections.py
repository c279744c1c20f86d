"""Links that are kept: the policy at work on the virtual radio."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable

import pytest
from virtual_node import DEADLINE_S, VirtualNode, until

from bitrelay.ble.adapter import Adapter
from bitrelay.ble.clock import SystemClock
from bitrelay.ble.connections import BleStatistics, Connections
from bitrelay.ble.discovery import Discovery
from bitrelay.ble.events import DisconnectReason, Event, PeerConnected, PeerDisconnected
from bitrelay.ble.peers import DiscoveredPeer
from bitrelay.ble.policy import Limits
from bitrelay.ble.session import LocalNode
from bitrelay.errors import NoDevice
from bitrelay.lab.radio import Radio
from shared_protocol.frame import TYPE_MESSAGE, encode

MakeNode = Callable[..., Awaitable[VirtualNode]]


class Steps(SystemClock):
    """A clock that the test moves on; a scan on it lasts until is_enough()."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.is_enough: Callable[[], bool] = lambda: True
        self.slept: list[float] = []

    def now(self) -> float:
        return super().now() + self.ahead_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        await until(self.is_enough)


class Walker:
    """The computer, its discovery and its connections."""

    def __init__(self, radio: Radio, adapter: Adapter, limits: Limits | None = None) -> None:
        self.radio = radio
        self.clock = Steps()
        self.events: list[Event] = []
        self.discovery = Discovery(adapter, clock=self.clock, on_event=self.events.append)
        self.connections = Connections(
            self.discovery,
            LocalNode(b"computer"),
            limits=limits,
            rng=random.Random(1),
            connect_timeout_s=1.0,
            hello_timeout_s=1.0,
        )

    def peer(self, node: VirtualNode) -> DiscoveredPeer | None:
        return next((peer for peer in self.discovery.peers if peer.on_air_id == node.on_air_id), None)

    def linked_to(self) -> set[bytes]:
        return {peer.on_air_id or b"" for peer in self.discovery.peers if peer.number in self.connections.sessions}

    async def look(self, *nodes: VirtualNode) -> None:
        """Scan until each node has been heard and its level is as it is here and now."""
        start = self.clock.now()

        def is_settled() -> bool:
            for node in nodes:
                peer, level = self.peer(node), self.radio.rssi("computer", node.name)
                if peer is None or level is None or peer.last_seen < start or abs(peer.level - round(level)) > 0.5:
                    return False
            return True

        self.clock.is_enough = is_settled
        await self.discovery.scan()

    async def step(self, *nodes: VirtualNode, x: float | None = None, seconds: float = 10.0) -> None:
        if x is not None:
            self.radio.move("computer", x, 0.0)
        self.clock.ahead_s += seconds
        await self.look(*nodes)
        await self.connections.tick()


@pytest.mark.requirement("DSC-05", "DSC-10", "BLE-14")
async def test_near_relays_are_linked_and_what_happened_is_counted(
    radio: Radio, adapter: Adapter, make_node: MakeNode
) -> None:
    near = [await make_node(f"near{n}") for n in range(3)]
    far = await make_node("far", position=(200.0, 0.0))
    walker = Walker(radio, adapter)
    await walker.step(*near, far)
    assert walker.linked_to() == {node.on_air_id for node in near}
    connected = [event for event in walker.events if isinstance(event, PeerConnected)]
    assert [event.peer.is_connected for event in connected] == [True] * 3
    frame = encode(TYPE_MESSAGE, 7, 0, b"computer", b"hello")
    sent = 0
    for session in walker.connections.sessions.values():
        assert await session.heard_claim(DEADLINE_S) is not None
        await session.link.send(frame)
        sent += session.link.bytes_out
    for node in near:
        peer = walker.peer(node)
        assert peer is not None
        assert peer.claimed_peer_id == hashlib.sha256(node.identity.signing_key).digest()
    counts = walker.connections.statistics()
    await walker.connections.close()
    after = walker.connections.statistics()
    assert counts == BleStatistics(3, 0, sent, counts.bytes_received, 4, 3, 3, 0)
    assert counts.bytes_received > 0 and sent > 3 * len(frame)
    assert (after.central_connections, after.bytes_sent) == (0, sent)
    ended = [event.reason for event in walker.events if isinstance(event, PeerDisconnected)]
    assert ended == [DisconnectReason.SHUTDOWN] * 3


@pytest.mark.requirement("DSC-04")
async def test_it_looks_every_ten_seconds(radio: Radio, adapter: Adapter, make_node: MakeNode) -> None:
    node = await make_node("node")
    walker = Walker(radio, adapter)
    await walker.look(node)
    walker.clock.slept.clear()
    walker.clock.is_enough = lambda: not walker.connections.sessions
    running = asyncio.ensure_future(walker.connections.run())
    await until(lambda: walker.connections.sessions)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert set(walker.clock.slept) == {10.0}
    assert walker.linked_to() == set()


async def test_a_peer_that_does_not_answer_is_left_alone_longer_each_time(
    radio: Radio, adapter: Adapter, make_node: MakeNode
) -> None:
    node = await make_node("node", with_service=False)
    walker = Walker(radio, adapter)
    attempts = []
    for _ in range(8):
        await walker.step(node)
        attempts.append(walker.connections.statistics().connection_attempts)
    peer = walker.peer(node)
    assert peer is not None and not peer.is_connected
    assert peer.connection_attempts == walker.connections.statistics().connection_failures == attempts[-1]
    # Waits of at most 10, 20, 40 s and at least half of it.
    assert attempts[0] == 1 and 3 <= attempts[-1] <= 5


@pytest.mark.requirement("BLE-09", "DSC-11")
async def test_a_link_that_ends_is_told_with_its_reason_and_made_again(
    radio: Radio, adapter: Adapter, make_node: MakeNode
) -> None:
    node = await make_node("node")
    walker = Walker(radio, adapter)
    await walker.step(node)
    peer = walker.peer(node)
    assert peer is not None
    await walker.connections.disconnect(peer.number)
    assert isinstance(walker.events[-1], PeerDisconnected)
    assert walker.events[-1].reason is DisconnectReason.USER_REQUESTED
    await walker.connections.disconnect(peer.number)
    await walker.step(node, seconds=1.0)
    assert walker.linked_to() == set()
    await walker.step(node, seconds=20.0)
    assert walker.linked_to() == {node.on_air_id}
    session = walker.connections.sessions[peer.number]
    assert await walker.connections.connect(peer.number) is session
    with pytest.raises(NoDevice):
        await walker.connections.connect(peer.number + 1)
    await walker.connections.close()


@pytest.mark.requirement("DSC-23")
async def test_a_walker_is_handed_over_make_before_break_and_without_flapping(
    radio: Radio, adapter: Adapter, make_node: MakeNode
) -> None:
    a, b = await make_node("a", position=(0.0, 0.0)), await make_node("b", position=(400.0, 0.0))
    walker = Walker(radio, adapter, Limits(1, 1))
    seen: list[set[bytes]] = []
    # There, some waiting in the middle, there and back again around the middle, to the end, and home.
    path = [1, 120, *[200] * 4, 230, 170, 230, 170, 260, 320, 399, 240, 170, 80, 1]
    for x in path:
        await walker.step(a, b, x=float(x))
        seen.append(walker.linked_to())
    assert all(len(linked) == 1 for linked in seen)
    order = [next(iter(linked)) for linked in seen]
    changes = [path[n] for n in range(1, len(order)) if order[n] != order[n - 1]]
    assert (order[0], order[-1]) == (a.on_air_id, a.on_air_id)
    assert changes == [320, 80]
    events = [e for e in walker.events if isinstance(e, PeerConnected | PeerDisconnected)]
    told = [(type(e), e.peer.on_air_id) for e in events]
    assert told == [
        (PeerConnected, a.on_air_id),
        (PeerConnected, b.on_air_id),
        (PeerDisconnected, a.on_air_id),
        (PeerConnected, a.on_air_id),
        (PeerDisconnected, b.on_air_id),
    ]
    assert {e.reason for e in events if isinstance(e, PeerDisconnected)} == {DisconnectReason.HANDOVER}
    await walker.connections.close()


@pytest.mark.requirement("DSC-23")
async def test_a_handover_that_fails_keeps_the_old_link(radio: Radio, adapter: Adapter, make_node: MakeNode) -> None:
    a = await make_node("a", position=(0.0, 0.0))
    b = await make_node("b", position=(400.0, 0.0), with_service=False)
    walker = Walker(radio, adapter, Limits(1, 1))
    for x in (1.0, 200.0, 300.0, 380.0):
        await walker.step(a, b, x=x)
        assert walker.linked_to() == {a.on_air_id}
    assert walker.connections.statistics().connection_failures > 0
    await walker.connections.close()
