"""Gateways linked over loopback, by real sockets and real handshakes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bitrelay.errors import PortBusy
from bitrelay.gateway.config import FederationConfig, PeerConfig
from bitrelay.gateway.exchange import ExchangeEvent, GatewayDown, GatewayUp, MessageCame
from bitrelay.gateway.link_exchange import LinkExchange
from bitrelay.gateway.link_gate import NOT_TRUSTED
from bitrelay.gateway.message import FrameMessage, Hello, MeshOffer, Outcome, Receipt
from bitrelay.transports.address import Tcp, parse
from bitrelay.transports.fair_queue import Traffic
from bitrelay.transports.secure_transport import SecureTransport
from tests.identity.mined import BITS
from tests.transports.ends import identity, peer_id

DEADLINE_S = 30.0


def hello(number: int, mesh: str) -> Hello:
    return Hello(f"gateway {number}", (MeshOffer(mesh, downlink=True),))


@asynccontextmanager
async def gateway(number: int, mesh: str = "beta", **config: Any) -> AsyncIterator[LinkExchange]:
    listen = config.pop("listen", (Tcp("127.0.0.1", 0),))
    trust = frozenset(map(peer_id, config.pop("trust", ())))
    made = LinkExchange(
        lambda: identity(number), FederationConfig(listen=listen, trust=trust, **config), difficulty=BITS
    )
    await made.start(hello(number, mesh))
    try:
        yield made
    finally:
        await made.stop()


def at(exchange: LinkExchange, number: int | None = None) -> PeerConfig:
    """A peer as a configuration names it. number: if it names its PeerId, too."""
    return PeerConfig(exchange.bound[0], None if number is None else peer_id(number))


async def told(exchange: LinkExchange, matches: Callable[[ExchangeEvent], bool]) -> ExchangeEvent:
    """The next event that matches; others are let pass."""
    async with asyncio.timeout(DEADLINE_S):
        while not matches(event := await exchange.next_event()):
            pass
    return event


async def up(exchange: LinkExchange, *numbers: int) -> None:
    """Wait until all of these can be reached."""
    missing = set(map(peer_id, numbers)) - {view.peer_id for view in exchange.gateways()}
    while missing:
        event = await told(exchange, lambda event: isinstance(event, GatewayUp))
        assert isinstance(event, GatewayUp)
        missing.discard(event.gateway.peer_id)


def free_address() -> Tcp:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Tcp("127.0.0.1", probe.getsockname()[1])


def tear(exchange: LinkExchange) -> None:
    """End all its connections as the end of a process does, without a word."""
    assert exchange._started is not None
    for transport in exchange._started._net.manager.transports.values():
        assert isinstance(transport, SecureTransport)
        for link in transport._links.values():
            link.channel.pipe.abort()


@pytest.mark.requirement("GWY-03")
@pytest.mark.requirement("GWY-04")
@pytest.mark.requirement("GWY-05")
@pytest.mark.parametrize("scheme", ["tcp", "udp", "ws", "quic"])
async def test_gateways_link_over_every_transport_of_the_internet(scheme: str) -> None:
    place = parse(f"{scheme}://127.0.0.1:0")
    async with (
        gateway(2, listen=(place,), trust=(1,)) as two,
        gateway(1, "alpha", listen=(), peers=(at(two, 2),)) as one,
    ):
        await up(one, 2)
        await up(two, 1)
        frame = FrameMessage("alpha", "beta", bytes(range(256)), 3)
        assert await one.send_to_mesh(frame, b"author", Traffic.INTERACTIVE) == peer_id(2)
        assert await told(two, lambda event: isinstance(event, MessageCame)) == MessageCame(peer_id(1), frame)
        receipt = Receipt("beta", bytes(16), Outcome.SENT)
        await two.send(peer_id(1), receipt, Traffic.INTERACTIVE)
        assert await told(one, lambda event: isinstance(event, MessageCame)) == MessageCame(peer_id(2), receipt)


async def test_when_one_of_three_ends_without_a_word_the_others_frames_go_to_the_third() -> None:
    async with (
        gateway(2, trust=(1,)) as two,
        gateway(3, trust=(1,)) as three,
        gateway(1, "alpha", peers=(at(two, 2), at(three, 3))) as one,
    ):
        await up(one, 2, 3)
        frame = FrameMessage("alpha", "beta", b"a frame")
        authors = [number.to_bytes(8, "big") for number in range(32)]
        taken = {await one.send_to_mesh(frame, author, Traffic.INTERACTIVE) for author in authors}
        assert taken == {peer_id(2), peer_id(3)}
        tear(two)
        gone = await told(one, lambda event: isinstance(event, GatewayDown))
        assert isinstance(gone, GatewayDown) and gone.peer_id == peer_id(2)
        taken = {await one.send_to_mesh(frame, author, Traffic.INTERACTIVE) for author in authors}
        assert taken == {peer_id(3)}
        # It is still there after all, and is linked with again.
        await up(one, 2)


async def test_two_who_name_each_other_by_address_alone_find_together() -> None:
    first, second = free_address(), free_address()
    async with (
        gateway(1, listen=(first,), peers=(PeerConfig(second),)) as one,
        gateway(2, listen=(second,), peers=(PeerConfig(first),)) as two,
    ):
        await up(one, 2)
        await up(two, 1)
        assert one.gateways()[0].trusted and two.gateways()[0].trusted


@pytest.mark.requirement("GWY-23")
async def test_somebody_else_at_a_gateways_address_is_not_taken_for_it_and_a_stranger_not_let_in() -> None:
    async with (
        gateway(3, trust=(1,)) as impostor,
        gateway(1, peers=(at(impostor, 2),)) as one,
        gateway(4, listen=(), peers=(at(one, 1),)) as stranger,
    ):
        async with asyncio.timeout(DEADLINE_S):
            while not (one.troubles() and stranger.troubles()):  # noqa: ASYNC110 (it has no event)
                await asyncio.sleep(0.01)
        assert "not the one" in one.troubles()[str(impostor.bound[0])]
        assert "hung up" in stranger.troubles()[str(one.bound[0])]
        assert one.refused()[NOT_TRUSTED] >= 1
        assert [*one.gateways(), *impostor.gateways(), *stranger.gateways()] == []


async def test_a_gateway_recognises_itself() -> None:
    place = free_address()
    async with gateway(1, listen=(place,), peers=(PeerConfig(place),)) as one:
        async with asyncio.timeout(DEADLINE_S):
            while not one.troubles():  # noqa: ASYNC110 (it has no event)
                await asyncio.sleep(0.01)
        assert "this computer itself" in one.troubles()[str(place)]
        assert one.gateways() == ()


async def test_a_gateway_that_starts_anew_with_the_same_identity_takes_the_place_of_its_former_self() -> None:
    async with gateway(1, "alpha", trust=(2,)) as one, gateway(2, listen=(), peers=(at(one, 1),)) as before:
        await up(before, 1)
        await up(one, 2)
        # The former one has not ended yet, and nobody was told that it will.
        async with gateway(2, "gamma", listen=(), peers=(at(one, 1),)) as two:
            await up(two, 1)
            event = await told(
                one, lambda event: isinstance(event, GatewayUp) and event.gateway.hello.mesh("gamma") is not None
            )
            assert isinstance(event, GatewayUp) and event.gateway.peer_id == peer_id(2)
            frame = FrameMessage("alpha", "gamma", b"a frame")
            await one.send(peer_id(2), frame, Traffic.INTERACTIVE)
            assert await told(two, lambda event: isinstance(event, MessageCame)) == MessageCame(peer_id(1), frame)


async def test_a_port_that_is_taken_is_told_at_the_start_and_nothing_is_left() -> None:
    tasks = asyncio.all_tasks()
    async with gateway(1) as one:
        with pytest.raises(PortBusy):
            async with gateway(2, listen=one.bound):
                pass
    assert not [task for task in asyncio.all_tasks() - tasks if not task.done()]
