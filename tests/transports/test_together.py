"""The parts together over real sockets: coordinators over four transports, wires that are cut, and floods."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from ends import DEADLINE_S, anywhere, make, peer_id
from flood import Flood
from proxies import wire

from bitrelay.errors import LimitReached, NotConnected
from bitrelay.transports.connection_manager import ConnectionManager
from bitrelay.transports.coordinator import TransportCoordinator, TransportDown, TransportUp
from bitrelay.transports.limits import Admission, ConnectionLimits
from bitrelay.transports.selector import TransportType
from bitrelay.transports.transport import DataReceived

ANNA, BELA = 1, 2
SCHEMES = ("tcp", "udp", "ws", "quic")
OPEN = ConnectionLimits(cooldown_s=0.0, max_per_minute=1000, max_per_address=100)


@asynccontextmanager
async def coordinator(
    number: int, *schemes: str, limits: ConnectionLimits = OPEN
) -> AsyncIterator[TransportCoordinator]:
    """known: Anna is a known peer of everybody."""
    made = TransportCoordinator(
        lambda happened: ConnectionManager(
            happened, admission=Admission(limits), is_known=lambda peer: peer == peer_id(ANNA)
        )
    )
    try:
        for scheme in schemes:
            made.register_transport(make(scheme, number, gate=made.manager), TransportType.INTERNET)
        yield made
    finally:
        await made.close()


@pytest.mark.requirement("CRD-10", "EXE-03")
async def test_whichever_wire_is_cut_under_load_all_that_is_acknowledged_arrives_once_and_in_order() -> None:
    messages = [number.to_bytes(4, "big") * 50 for number in range(600)]
    cuts = {150: "silence", 300: "cut", 450: "silence"}
    async with AsyncExitStack() as stack:
        anna = await stack.enter_async_context(coordinator(ANNA, *SCHEMES))
        bela = await stack.enter_async_context(coordinator(BELA, *SCHEMES))
        wires = {}
        for scheme in SCHEMES:
            address = await bela.listen(anywhere(scheme))
            wires[scheme] = await stack.enter_async_context(wire(address))
            await anna.connect(wires[scheme].address, peer=peer_id(BELA), timeout=DEADLINE_S)

        got: list[bytes] = []

        async def take() -> None:
            while len(got) < len(messages):
                event = await bela.next_event()
                if isinstance(event, DataReceived):
                    got.append(event.data)

        async def give() -> None:
            for number, message in enumerate(messages):
                if number in cuts:
                    # What it uses now: the one that most of its bytes went over.
                    statistics = anna.statistics().transports
                    busiest = max(wires, key=lambda scheme: statistics[scheme].packets_sent)
                    cut = wires.pop(busiest)
                    if cuts[number] == "cut":
                        cut.cut()
                    cut.frozen = True
                await anna.send(peer_id(BELA), message, until_acknowledged=number % 10 == 0, timeout=DEADLINE_S)
            await anna.flush(peer_id(BELA), timeout=DEADLINE_S)

        async with asyncio.timeout(2 * DEADLINE_S):
            await asyncio.gather(give(), take())
        assert got == messages
        assert set(wires) <= set(anna.transports_of(peer_id(BELA)))


@pytest.mark.requirement("LIM-23")
@pytest.mark.parametrize("sources", [1, 1000])
async def test_a_flood_of_strangers_leaves_a_node_usable_for_a_known_peer(sources: int) -> None:
    async with coordinator(BELA, "tcp", limits=ConnectionLimits()) as bela, coordinator(ANNA, "tcp") as anna:
        address = await bela.listen(anywhere("tcp"))

        async def echo() -> None:
            while True:
                event = await bela.next_event()
                if isinstance(event, DataReceived):
                    await bela.send(event.peer_id, event.data)

        echoing = asyncio.create_task(echo())
        # She was there before, from where she comes again.
        await anna.connect(address, peer=peer_id(BELA), timeout=DEADLINE_S)
        await anna.disconnect(peer_id(BELA))
        try:
            async with Flood(address, sources=sources, per_s=1000) as flood:
                await flood.attempts(500)
                # In the midst of it she comes, and talks.
                await anna.connect(address, peer=peer_id(BELA), timeout=DEADLINE_S)
                for number in range(100):
                    await anna.send(peer_id(BELA), number.to_bytes(4, "big"), timeout=DEADLINE_S)
                    while not isinstance(event := await anna.next_event(), DataReceived):
                        pass
                    assert event.data == number.to_bytes(4, "big")
                entries = bela.manager.admission.entries
                await flood.attempts(1500)
                assert bela.manager.admission.entries <= entries + 50 and entries < 500
            assert sum(bela.manager.admission.refused.values()) > 1000
        finally:
            echoing.cancel()
            await asyncio.gather(echoing, return_exceptions=True)


async def test_events_tell_by_which_transports_a_peer_is_there() -> None:
    async with coordinator(ANNA, "tcp", "udp") as anna, coordinator(BELA, "tcp", "udp") as bela:
        for scheme in ("tcp", "udp"):
            await anna.connect(await bela.listen(anywhere(scheme)), peer=peer_id(BELA), timeout=DEADLINE_S)
        async with asyncio.timeout(DEADLINE_S):
            up = [await bela.next_event(), await bela.next_event()]
            assert {event.transport for event in up if isinstance(event, TransportUp)} == {"tcp", "udp"}
            await anna.disconnect(peer_id(BELA))
            down = [await bela.next_event(), await bela.next_event()]
        assert [event.remaining for event in down if isinstance(event, TransportDown)][-1] == ()
        with pytest.raises(NotConnected):
            await bela.send(peer_id(ANNA), b"x", timeout=0.5)
        with pytest.raises((NotConnected, LimitReached)):
            await bela.send(bytes(32), b"x", timeout=0.5)
