"""Messages between two hosts that are connected over several transports."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from memory import MemoryNetwork, MemoryTransport, Wire
from virtual_time import later, now, virtual_time

from bitrelay.errors import BadData, DeviceLost, DeviceTimeout, LimitReached, NotConnected, TransportClosed
from bitrelay.transports.adaptive_timeout import TimeoutRange
from bitrelay.transports.address import HostAddress, Quic, Tcp, Udp
from bitrelay.transports.connection_manager import ConnectionManager
from bitrelay.transports.control_frame import MAX_EPOCH, Ack, decode, encode
from bitrelay.transports.coordinator import (
    CoordinatorEvent,
    HealthCheck,
    TransportCoordinator,
    TransportDown,
    TransportUp,
)
from bitrelay.transports.fair_queue import Traffic
from bitrelay.transports.limits import Admission, ConnectionLimits
from bitrelay.transports.peer_channel import ChannelConfig
from bitrelay.transports.selector import Policy, TransportType
from bitrelay.transports.transport import Connected, DataReceived, Disconnected, Ended, Failed

ALICE, BOB, CAROL = b"A" * 32, b"B" * 32, b"C" * 32
KINDS: tuple[type[HostAddress], ...] = (Tcp, Quic, Udp)
GENEROUS = ConnectionLimits(max_per_address=100, max_per_minute=1000, cooldown_s=0.0)
TIMEOUTS = TimeoutRange(base_s=0.5, min_s=0.2, max_s=10.0)


class Host:
    """A coordinator, and everything it told."""

    def __init__(self, network: MemoryNetwork, peer_id: bytes, seed: int = 1, **options: object) -> None:
        self.peer_id = peer_id
        self.network = network
        self.coordinator = TransportCoordinator(
            lambda on_event: ConnectionManager(on_event, admission=Admission(GENEROUS)),
            rng=random.Random(seed),
            **{"config": ChannelConfig(timeouts=TIMEOUTS), "epoch": 1000, **options},
        )
        self.events: list[CoordinatorEvent] = []
        self.transports = {}
        self.addresses = []
        self._reader: asyncio.Task[None] | None = None

    async def start(self, kinds: tuple[type[HostAddress], ...], *, reading: bool = True) -> None:
        for kind in kinds:
            transport = MemoryTransport(self.network, self.peer_id, kind=kind)
            self.transports[kind.scheme] = transport
            self.coordinator.register_transport(transport, TransportType.INTERNET)
            self.addresses.append(await self.coordinator.listen(kind("192.0.2.9", 0)))
        if reading:
            self.read()

    def read(self) -> None:
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                self.events.append(await self.coordinator.next_event())
        except TransportClosed:
            pass

    def messages(self) -> list[bytes]:
        return [event.data for event in self.events if isinstance(event, DataReceived)]

    async def close(self) -> None:
        await self.coordinator.close()
        if self._reader is not None:
            await self._reader


@dataclass
class Pair:
    alice: Host
    bob: Host
    network: MemoryNetwork

    def wire(self, scheme: str) -> Wire:
        found = self.alice.transports[scheme].wire(BOB)
        assert found is not None
        return found

    async def send_all(self, count: int, size: int = 8) -> list[bytes]:
        messages = [number.to_bytes(size, "big") for number in range(count)]
        for message in messages:
            await self.alice.coordinator.send(BOB, message, until_acknowledged=False)
        await self.alice.coordinator.flush(BOB)
        return messages


@asynccontextmanager
async def pair(
    kinds: tuple[type[HostAddress], ...] = KINDS[:2], *, reading: bool = True, **options: object
) -> AsyncIterator[Pair]:
    network = MemoryNetwork()
    alice, bob = Host(network, ALICE, **options), Host(network, BOB, seed=2, **options)
    await alice.start(kinds)
    await bob.start(kinds, reading=reading)
    for address in bob.addresses:
        assert await alice.coordinator.connect(address, peer=BOB) == BOB
    await later(0.1)
    try:
        yield Pair(alice, bob, network)
    finally:
        await alice.close()
        await bob.close()


@pytest.mark.requirement("CRD-02", "CRD-15")
@virtual_time
async def test_a_peer_is_connected_over_each_transport_that_it_was_connected_over() -> None:
    async with pair() as both:
        assert both.alice.coordinator.transports_of(BOB) == ("tcp", "quic")
        assert both.alice.coordinator.peers == (BOB,)
        assert both.alice.coordinator.metrics(BOB).keys() == {"tcp", "quic"}
        assert [event.transport for event in both.alice.events if isinstance(event, TransportUp)] == ["tcp", "quic"]


@virtual_time
async def test_what_is_sent_arrives_once_and_in_order_in_both_directions() -> None:
    async with pair() as both:
        sent = await both.send_all(500)
        assert both.bob.messages() == sent
        await both.bob.coordinator.send(ALICE, b"back")
        await later(0)
        assert both.alice.messages() == [b"back"]


@pytest.mark.requirement("CRD-10", "EXE-03")
@pytest.mark.parametrize("in_silence", [False, True], ids=["with a word", "in silence"])
@pytest.mark.parametrize("seed", range(20))
@virtual_time
async def test_nothing_is_lost_nor_doubled_when_the_transport_in_use_is_cut_under_load(
    seed: int, in_silence: bool
) -> None:
    async with pair(KINDS) as both:
        await both.send_all(5)
        used = max(("tcp", "quic", "udp"), key=lambda scheme: both.wire(scheme).carried)
        wire, others = both.wire(used), [both.wire(scheme) for scheme in ("tcp", "quic", "udp") if scheme != used]
        wire.cut_in_silence = in_silence
        wire.cut_at = wire.carried + random.Random(seed).randrange(300)
        both.bob.events.clear()
        allowed = both.alice.coordinator.timeouts(BOB)[used] if in_silence else 0.0
        sent = await both.send_all(500)
        await later(0)
        assert both.bob.messages() == sent
        # It goes on over another within the timeout, counted from the last acknowledgement, which may be under way.
        assert wire.cut_since is not None
        went_on = min(at for other in others for at, by in other.carried_at if by == ALICE and at >= wire.cut_since)
        assert went_on - wire.cut_since <= allowed + 2 * both.network.latency_s + 0.001
        assert both.alice.coordinator.statistics().events["failovers"] >= 1


@pytest.mark.parametrize("seed", range(5))
@virtual_time
async def test_nothing_is_lost_nor_doubled_while_transports_are_cut_and_come_back_again_and_again(seed: int) -> None:
    async with pair(KINDS) as both:
        chance = random.Random(seed)

        async def cut_and_connect() -> None:
            while True:
                await later(chance.uniform(0.05, 0.5))
                for scheme, address in zip(("tcp", "quic", "udp"), both.bob.addresses, strict=True):
                    wire = both.alice.transports[scheme].wire(BOB)
                    if wire is None:
                        await both.alice.coordinator.connect(address)
                    elif chance.random() < 0.4:
                        wire.cut_in_silence = chance.random() < 0.5
                        wire.cut_at = wire.carried
                    elif wire.dead:
                        await both.alice.coordinator.manager.disconnect(BOB, scheme)

        cutter = asyncio.create_task(cut_and_connect())
        messages = [number.to_bytes(4, "big") for number in range(2000)]
        for message in messages:
            while not both.alice.coordinator.peers:
                await later(0.01)
            await both.alice.coordinator.send(BOB, message, until_acknowledged=False)
            await later(0.002)
        await both.alice.coordinator.flush(BOB)
        cutter.cancel()
        await later(0)
        assert both.bob.messages() == messages
        counts = both.alice.coordinator.statistics().events
        assert counts["failovers"] >= 2 and counts["sent again"] > 10 and counts["given up"] == 0


@pytest.mark.requirement("CRD-14", "LIM-12")
@virtual_time
async def test_a_peer_without_a_transport_is_an_error_at_once() -> None:
    async with pair() as both:
        with pytest.raises(NotConnected):
            await both.alice.coordinator.send(CAROL, b"there?")
        await both.alice.coordinator.disconnect(BOB)
        await later(0.1)
        assert both.alice.coordinator.transports_of(BOB) == () == both.alice.coordinator.peers
        downs = [event for event in both.alice.events if isinstance(event, TransportDown)]
        assert [(event.transport, event.remaining) for event in downs] == [("tcp", ("quic",)), ("quic", ())]
        started = now()
        with pytest.raises(NotConnected):
            await both.alice.coordinator.send(BOB, b"there?")
        assert now() == started


@virtual_time
async def test_what_is_under_way_when_the_last_transport_goes_arrives_when_one_comes_back() -> None:
    async with pair(KINDS[:1]) as both:
        both.wire("tcp").cut_in_silence = True
        both.wire("tcp").cut_at = both.wire("tcp").carried + 20
        sending = asyncio.create_task(both.send_all(100))
        await later(1.0)
        await both.alice.coordinator.disconnect(BOB)
        await later(20.0)
        await both.alice.coordinator.connect(both.bob.addresses[0])
        sent = await sending
        await later(0)
        assert both.bob.messages() == sent


@virtual_time
async def test_what_no_transport_takes_for_long_is_given_up_told_and_not_sent_later() -> None:
    async with pair(KINDS[:1]) as both:
        both.wire("tcp").dead = True
        await both.alice.coordinator.send(BOB, b"not waited for", until_acknowledged=False)
        waiting = asyncio.create_task(both.alice.coordinator.send(BOB, b"waited for", timeout=1000.0))
        flushing = asyncio.create_task(both.alice.coordinator.flush(BOB, timeout=1000.0))
        await later(1.0)
        await both.alice.coordinator.disconnect(BOB)
        with pytest.raises(NotConnected):
            await waiting
        assert now() < 40.0
        with pytest.raises(NotConnected):
            await flushing
        await later(0)
        assert [event.peer_id for event in both.alice.events if isinstance(event, Failed)] == [BOB]
        await both.alice.coordinator.connect(both.bob.addresses[0])
        await later(0.1)
        await both.alice.coordinator.send(BOB, b"later")
        await later(0)
        assert both.bob.messages() == [b"later"]


@virtual_time
async def test_a_message_that_is_not_acknowledged_in_time_is_an_error() -> None:
    async with pair(KINDS[:1]) as both:
        both.wire("tcp").dead = True
        with pytest.raises(DeviceTimeout):
            await both.alice.coordinator.send(BOB, b"there?", timeout=3.0)
        assert now() == pytest.approx(3.1, abs=0.1)


@virtual_time
async def test_a_sender_waits_for_a_reader_and_nothing_is_taken_for_a_cut_meanwhile() -> None:
    async with pair(reading=False) as both:
        done = 0

        async def send() -> None:
            nonlocal done
            for number in range(1000):
                await both.alice.coordinator.send(BOB, number.to_bytes(2, "big"), until_acknowledged=False, timeout=1e4)
                done += 1

        sending = asyncio.create_task(send())
        await later(300.0)
        # 64 that Bob has; the one that waits for room is not under way.
        assert done == 64
        assert both.alice.coordinator.statistics().events["not acknowledged in time"] == 0
        both.bob.read()
        await sending
        await both.alice.coordinator.flush(BOB)
        await later(0)
        assert both.bob.messages() == [number.to_bytes(2, "big") for number in range(1000)]


@pytest.mark.requirement("EXE-02")
@virtual_time
async def test_who_does_not_answer_pings_is_dropped_and_who_does_is_not() -> None:
    async with pair(health=HealthCheck(interval_s=10.0, timeout_s=5.0, misses=3)) as both:
        both.wire("quic").dead = True
        await later(24.0)
        assert both.alice.coordinator.transports_of(BOB) == ("tcp", "quic")
        assert both.alice.coordinator.metrics(BOB)["quic"].packet_loss > 0.0
        await later(12.0)
        assert both.alice.coordinator.transports_of(BOB) == ("tcp",)
        assert both.alice.coordinator.statistics().events["unresponsive"] == 1
        assert both.alice.coordinator.metrics(BOB)["tcp"].latency_ms < 100.0
        await later(1000.0)
        assert both.alice.coordinator.transports_of(BOB) == ("tcp",)


@virtual_time
async def test_who_is_asked_insistently_is_dropped_as_soon_as_it_has_missed_enough() -> None:
    async with pair(KINDS[:1], health=HealthCheck(10.0, 1.0, 2, round_trips=1.5, insists=True)) as both:
        await both.send_all(100)
        both.wire("tcp").dead = True
        vanished = now()
        await both.alice.coordinator.send(BOB, b"there?", until_acknowledged=False)
        while both.alice.coordinator.peers:
            await later(0.01)
        assert 2.0 <= now() - vanished <= 2.6


@virtual_time
async def test_who_is_far_away_has_as_many_round_trips_as_it_is_given() -> None:
    async with pair(KINDS[:1], health=HealthCheck(10.0, 1.0, 1, round_trips=1.5)) as both:
        for tenths in range(1, 16):
            both.wire("tcp").latency_s = tenths / 10
            await later(100.0)
        assert both.alice.coordinator.metrics(BOB)["tcp"].latency_ms == pytest.approx(3000, rel=0.1)
        assert both.alice.coordinator.transports_of(BOB) == ("tcp",)


@pytest.mark.requirement("CRD-13")
@virtual_time
async def test_latency_and_bandwidth_are_those_of_the_wire() -> None:
    async with pair() as both:
        for scheme, latency_s, rate in (("tcp", 0.2, 100_000), ("quic", 0.02, 50_000)):
            both.wire(scheme).latency_s, both.wire(scheme).bytes_per_s = latency_s, rate
        await later(600.0)
        idle = both.alice.coordinator.metrics(BOB)
        assert idle["tcp"].latency_ms == pytest.approx(400, rel=0.05)
        assert idle["quic"].latency_ms == pytest.approx(40, rel=0.05)
        for _ in range(30):
            await asyncio.gather(
                *(both.alice.coordinator.send(BOB, bytes(2000), timeout=1000.0) for _ in range(60)),
            )
        # Acknowledgements take their share, too.
        assert both.alice.coordinator.metrics(BOB)["quic"].bandwidth_kbps == pytest.approx(400, rel=0.2)


@pytest.mark.requirement("CRD-13")
@virtual_time
async def test_a_transport_that_fails_loses_reliability_and_wins_it_back() -> None:
    async with pair() as both:
        wire = both.wire("tcp")
        wire.latency_s = 0.001
        await later(60.0)
        wire.dead = True
        await both.send_all(3)
        await later(12.0)
        bad = both.alice.coordinator.metrics(BOB)["tcp"]
        assert bad.reliability_score < 1.0 and bad.packet_loss > 0.0
        wire.dead = False
        await later(300.0)
        good = both.alice.coordinator.metrics(BOB)["tcp"]
        assert good.reliability_score > bad.reliability_score and good.packet_loss < bad.packet_loss
        assert 0 < both.alice.coordinator.statistics().failure_rate["tcp"] < 1


@pytest.mark.requirement("CRD-16")
@virtual_time
async def test_the_faster_transport_is_used_once_it_is_known() -> None:
    async with pair() as both:
        both.wire("tcp").latency_s = 0.3
        await later(60.0)
        before = both.wire("quic").carried
        await both.send_all(50)
        assert both.wire("quic").carried - before >= 50


@pytest.mark.requirement("CRD-07")
@virtual_time
async def test_load_is_shared_and_order_kept_over_transports_of_different_latency() -> None:
    async with pair(config=ChannelConfig(policy=Policy.LOAD_BALANCED, timeouts=TIMEOUTS)) as both:
        both.wire("tcp").latency_s, both.wire("quic").latency_s = 0.05, 0.002
        await later(300.0)
        sent = await both.send_all(500, size=1000)
        await later(0)
        assert both.bob.messages() == sent
        assert min(both.wire("tcp").carried, both.wire("quic").carried) > 150
        # What waited at the other end for an earlier one does not count as slow.
        assert both.alice.coordinator.metrics(BOB)["quic"].latency_ms < 20
        assert both.alice.coordinator.statistics().events["sent again"] == 0


@pytest.mark.requirement("LIM-20")
@virtual_time
async def test_a_typed_message_does_not_wait_behind_a_file() -> None:
    async with pair(KINDS[:1]) as both:
        both.wire("tcp").bytes_per_s = 100_000
        send = both.alice.coordinator.send
        file = [asyncio.create_task(send(BOB, b"f" * 1000, traffic=Traffic.BULK, timeout=100.0)) for _ in range(120)]
        await later(0.01)
        await send(BOB, b"typed")
        await later(0)
        # 64 were under way.
        assert 60 < both.bob.messages().index(b"typed") < 68
        await asyncio.gather(*file)


@pytest.mark.requirement("LIM-21")
@virtual_time
async def test_too_much_that_can_wait_is_refused_and_what_cannot_waits() -> None:
    async with pair(KINDS[:1], reading=False) as both:
        send = both.alice.coordinator.send
        results = {
            traffic: asyncio.gather(
                *(send(BOB, bytes(1000), traffic=traffic, timeout=5.0) for _ in range(600)), return_exceptions=True
            )
            for traffic in Traffic
        }
        failed = {traffic: [type(each) for each in await result] for traffic, result in results.items()}
        assert LimitReached not in failed[Traffic.INTERACTIVE]
        for traffic in (Traffic.STREAMING, Traffic.BULK, Traffic.BACKGROUND):
            assert failed[traffic].count(LimitReached) > 250, traffic
        dropped = {name for name in both.alice.coordinator.statistics().events if "dropped" in name}
        assert {"streaming dropped, oldest", "bulk dropped, early", "background dropped, early"} == dropped


@pytest.mark.requirement("LIM-14", "LIM-19")
@virtual_time
async def test_a_broadcast_reaches_all_that_can_be_reached_and_fails_for_nobody_else() -> None:
    network = MemoryNetwork()
    alice = Host(network, ALICE)
    await alice.start(KINDS[:1])
    others = [Host(network, bytes([number]) * 32, seed=number) for number in range(1, 6)]
    for other in others:
        await other.start(KINDS[:1])
        await alice.coordinator.connect(other.addresses[0])
    await later(0.1)
    dead = alice.transports["tcp"].wire(others[2].peer_id)
    assert dead is not None
    dead.dead = True
    results = await alice.coordinator.broadcast(b"to all", without=[others[4].peer_id], timeout=5.0)
    await later(0)
    assert {peer[0]: type(error) for peer, error in results.items()} == {
        1: type(None),
        2: type(None),
        3: DeviceTimeout,
        4: type(None),
    }
    assert [other.messages() for other in others] == [[b"to all"], [b"to all"], [], [b"to all"], []]
    batch = [(others[0].peer_id, b"1"), (CAROL, b"?"), (others[1].peer_id, b"2"), (others[0].peer_id, b"3")]
    assert [type(each) for each in await alice.coordinator.send_batch(batch)] == [
        type(None),
        NotConnected,
        type(None),
        type(None),
    ]
    await later(0)
    assert others[0].messages()[1:] == [b"1", b"3"] and others[1].messages()[1:] == [b"2"]
    for host in (alice, *others):
        await host.close()


@virtual_time
async def test_a_message_that_no_transport_takes_is_an_error_and_one_that_fits_another_goes_there() -> None:
    async with pair() as both:
        both.alice.transports["tcp"].max_message = 100
        with pytest.raises(BadData):
            await both.alice.coordinator.send(BOB, bytes(100_000))
        await both.alice.coordinator.send(BOB, bytes(1000))
        await later(0)
        assert both.bob.messages() == [bytes(1000)]


@virtual_time
async def test_a_send_that_is_cancelled_before_it_is_under_way_is_not_sent() -> None:
    async with pair(KINDS[:1], reading=False) as both:
        tasks = [asyncio.create_task(both.alice.coordinator.send(BOB, bytes([number]))) for number in range(70)]
        await later(1.0)
        for task in tasks[64:69]:
            task.cancel()
        await later(1.0)
        both.bob.read()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert both.bob.messages() == [bytes([number]) for number in (*range(64), 69)]


@virtual_time
async def test_a_host_that_started_anew_is_talked_to_as_before() -> None:
    network = MemoryNetwork()
    alice, bob = Host(network, ALICE), Host(network, BOB)
    await alice.start(KINDS[:1])
    await bob.start(KINDS[:1])
    for epoch in (2000, 500, 600):
        await alice.coordinator.connect(bob.addresses[0])
        await later(0.1)
        for number in range(3):
            await alice.coordinator.send(BOB, bytes([number]))
            await bob.coordinator.send(ALICE, bytes([number]))
        await later(0)
        assert bob.messages() == [b"\0", b"\1", b"\2"] == alice.messages()
        alice.events.clear()
        await bob.close()
        await later(5.0)
        bob = Host(network, BOB, epoch=epoch)
        await bob.start(KINDS[:1])
    await alice.close()
    await bob.close()


@virtual_time
async def test_who_waits_is_told_when_the_coordinator_is_closed_and_events_end() -> None:
    async with pair(KINDS[:1]) as both:
        both.wire("tcp").dead = True
        sending = asyncio.create_task(both.alice.coordinator.send(BOB, b"there?"))
        await later(0.1)
        await both.alice.coordinator.close()
        with pytest.raises(TransportClosed):
            await sending
        await later(0)
        with pytest.raises(TransportClosed):
            await both.alice.coordinator.next_event()
        await both.alice.coordinator.close()


@pytest.mark.requirement("LIM-22")
@virtual_time
async def test_who_sends_what_is_no_frame_is_hung_up_on() -> None:
    async with pair() as both:
        with pytest.raises(DeviceLost):
            while wire := both.bob.transports["tcp"].wire(ALICE):
                await wire.carry(both.bob.transports["tcp"], b"\xffnoise")
        await later(1.0)
        assert both.alice.coordinator.transports_of(BOB) == ()
        assert 16 <= both.alice.coordinator.statistics().events["malformed"] <= 100


@virtual_time
async def test_no_frames_make_a_coordinator_fail_or_grow() -> None:
    async with pair(KINDS[:1], reading=False) as both:
        chance = random.Random(3)
        sender, valid = both.bob.transports["tcp"], 0
        while valid < 5_000:
            kind = chance.randrange(1, 6)
            number = chance.choice([0, 1, 1000, 1001, 2**62, 2**63]).to_bytes(8, "big")
            rest = chance.choice([bytes(5), bytes([0, 0, 0, chance.randrange(70), 0]), chance.randbytes(5)])
            frame = bytes([kind]) + number + rest + bytes(chance.randrange(2000))
            frame = frame[: {1: len(frame), 2: 14}.get(kind, 9)]
            # What is none ends the connection.
            if decode(frame) is not None:
                await sender.send(ALICE, frame)
                valid += 1
        await later(1.0)
        counts = both.alice.coordinator.statistics().events
        assert counts["of an old epoch"] > 100 and counts["of a forgotten epoch"] > 100 and counts["malformed"] == 0
        assert len(both.alice.coordinator._events) < 100
        await both.alice.coordinator.send(BOB, b"still there")


@virtual_time
async def test_of_peers_that_are_gone_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitrelay.transports.coordinator.MOST_ABSENT", 4)
    network = MemoryNetwork()
    alice = Host(network, ALICE)
    await alice.start(KINDS[:1])
    for number in range(20):
        other = MemoryTransport(network, bytes([number]) * 32)
        await other.connect(alice.addresses[0])
        await later(0.1)
        await other.close()
    await later(0.1)
    assert len(alice.coordinator._channels) == 4
    assert alice.coordinator.statistics().connections.total_connections == 0
    await alice.close()


@virtual_time
async def test_when_too_much_of_all_waits_for_the_reader_messages_come_later_and_pings_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bitrelay.transports.coordinator.MOST_UNREAD_BYTES", 1000)
    async with pair(KINDS[:1], reading=False) as both:
        sending = asyncio.create_task(both.send_all(10, size=500))
        await later(15.0)
        assert both.bob.coordinator.statistics().events["no room at all"] > 0
        assert both.alice.coordinator.transports_of(BOB) == ("tcp",)
        both.bob.read()
        sent = await sending
        await later(0)
        assert both.bob.messages() == sent


@virtual_time
async def test_of_events_that_nobody_reads_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitrelay.transports.coordinator.MOST_EVENTS", 10)
    async with pair(KINDS[:1], reading=False) as both:
        for _ in range(20):
            await both.alice.coordinator.disconnect(BOB)
            await later(0.1)
            await both.alice.coordinator.connect(both.bob.addresses[0])
            await later(0.1)
        # One for each connection and each end, 41 in all.
        assert both.bob.coordinator.statistics().events["events dropped"] == 31


async def test_a_peer_that_names_the_last_epoch_spoils_no_other_peer_s_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitrelay.transports.coordinator.MOST_ABSENT", 4)
    coordinator = TransportCoordinator()
    coordinator._types["tcp"] = TransportType.INTERNET
    address = Tcp("192.0.2.1", 1)
    try:
        for number in range(6):
            peer = bytes((number,)) * 32
            coordinator._happened("tcp", Connected(peer, address, True))
            if not number:
                coordinator._received(peer, "tcp", encode(Ack(MAX_EPOCH - 1, 0, 64)))
            coordinator._happened("tcp", Disconnected(peer, Ended.REMOTE))
        honest = b"H" * 32
        coordinator._happened("tcp", Connected(honest, address, True))
        assert coordinator._channels[honest].epoch < 1 << 48
    finally:
        await coordinator.close()
