"""Peers in one mesh, over relays that lose, repeat and reorder; the relays here are a bus in memory."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache

import pytest

from bitrelay.errors import DeviceTimeout, HandshakeFailed, WrongAddress
from bitrelay.identity.handshake_limit import HandshakeRate
from bitrelay.identity.local import LocalIdentity
from bitrelay.identity.proof import PowIdentity
from bitrelay.transports import mesh_directory
from bitrelay.transports.address import Mesh, Tcp
from bitrelay.transports.arq import ArqSettings
from bitrelay.transports.mesh import MAX_SEGMENT, MeshTransport
from bitrelay.transports.mesh_directory import VERIFIED_PER_MIN, MeshDirectory
from bitrelay.transports.secure_transport import Limits
from bitrelay.transports.transport import Connected, DataReceived, Disconnected, Ended, Event, Transport
from shared_protocol.frame import TYPE, TYPE_DATAGRAM
from tests.identity.mined import BITS, local_identity, record_of
from tests.transports.bus import Bus

DEADLINE_S = 30.0
LIMITS = Limits(base=BITS, handshake_s=20.0, handshakes=HandshakeRate(1000, 1000, 64))
QUICK = ArqSettings(payload=MAX_SEGMENT, initial_timeout_s=0.1, min_timeout_s=0.05, max_timeout_s=0.5)


@cache
def identity(number: int) -> LocalIdentity:
    return local_identity(number, int(time.time()))


def peer_id(number: int) -> bytes:
    return identity(number).keys.peer_id


@asynccontextmanager
async def meshes(bus: Bus, *numbers: int) -> AsyncIterator[list[MeshTransport]]:
    made = [MeshTransport(bus.port(), lambda n=n: identity(n), limits=LIMITS, settings=QUICK) for n in numbers]  # type: ignore[misc]
    try:
        for number, transport in zip(numbers, made, strict=True):
            await transport.listen(Mesh(peer_id(number)))
        yield made
    finally:
        for transport in made:
            await transport.close()


async def next_of(transport: Transport, kind: type[Event]) -> Event:
    async with asyncio.timeout(DEADLINE_S):
        while not isinstance(event := await transport.next_event(), kind):
            pass
        return event


@pytest.mark.requirement("TRN-03", "TRN-09")
async def test_peers_reach_one_another_through_a_mesh_that_loses_repeats_and_reorders() -> None:
    dice = random.Random(5)
    late: list[bytes] = []

    def spoil(frame: bytes) -> list[bytes]:
        if frame[TYPE] != TYPE_DATAGRAM:
            return [frame]
        if dice.random() < 0.2:
            return []
        if dice.random() < 0.1:
            late.append(frame)
            return []
        copies = [frame, *late]
        late.clear()
        return copies * (2 if dice.random() < 0.1 else 1)

    async with meshes(Bus(spoil), 1, 2) as (anna, bela):
        async with asyncio.timeout(DEADLINE_S):
            assert await anna.connect(Mesh(peer_id(2)), expected=peer_id(2)) == peer_id(2)
        assert await next_of(bela, Connected) == Connected(peer_id(1), Mesh(peer_id(1)), inbound=True)
        messages = [bytes((number,)) * (1 + number * 37) for number in range(60)]
        for message in messages:
            await anna.send(peer_id(2), message, timeout=DEADLINE_S)
        for message in messages:
            assert await next_of(bela, DataReceived) == DataReceived(peer_id(1), message)
        await bela.send(peer_id(1), b"back")
        assert await next_of(anna, DataReceived) == DataReceived(peer_id(2), b"back")
        await anna.disconnect(peer_id(2))
        assert await next_of(bela, Disconnected) == Disconnected(peer_id(1), Ended.REMOTE)


async def test_nothing_of_a_message_is_seen_by_the_relays() -> None:
    bus = Bus()
    async with meshes(bus, 1, 2) as (anna, bela):
        async with asyncio.timeout(DEADLINE_S):
            await anna.connect(Mesh(peer_id(2)))
        await anna.send(peer_id(2), b"a secret that is long enough to be found")
        await next_of(bela, DataReceived)
    assert len(bus.frames) > 6
    assert not any(b"secret" in frame for frame in bus.frames)


async def test_who_is_not_in_the_mesh_is_not_reached_and_other_addresses_are_refused() -> None:
    async with meshes(Bus(), 1, 2) as (anna, _):
        with pytest.raises(DeviceTimeout):
            await anna.connect(Mesh(peer_id(3)), timeout=0.2)
        with pytest.raises(WrongAddress):
            await anna.connect(Tcp("127.0.0.1", 1))
        with pytest.raises(WrongAddress):
            await anna.listen(Mesh(peer_id(2)))


async def test_a_record_that_is_played_back_leads_nowhere() -> None:
    # The mesh says that peer 3 is where peer 2 is: what answers there is not peer 3.
    async with meshes(Bus(), 1, 2) as (anna, _):
        directory = anna._medium.directory  # type: ignore[attr-defined]
        directory._on_air_ids[peer_id(3)] = identity(2).keys.on_air_id
        with pytest.raises(HandshakeFailed):
            async with asyncio.timeout(DEADLINE_S):
                await anna.connect(Mesh(peer_id(3)), expected=peer_id(3))


async def test_without_the_relay_connections_end_and_that_is_told() -> None:
    bus = Bus()
    async with meshes(bus, 1, 2) as (anna, _):
        async with asyncio.timeout(DEADLINE_S):
            await anna.connect(Mesh(peer_id(2)))
        await bus.ports[0].close()
        assert await next_of(anna, Disconnected) == Disconnected(peer_id(2), Ended.LOST)


async def test_garbage_from_the_mesh_harms_nothing() -> None:
    bus = Bus()
    async with meshes(bus, 1, 2) as (anna, bela):
        async with asyncio.timeout(DEADLINE_S):
            await anna.connect(Mesh(peer_id(2)))
        dice = random.Random(9)
        seen = list(bus.frames)
        for _ in range(2000):
            frame = bytearray(dice.choice(seen))
            for _ in range(dice.randint(1, 5)):
                frame[dice.randrange(len(frame))] = dice.randrange(256)
            for port in bus.ports:
                port._heard.put_nowait(bytes(frame[: dice.randint(0, len(frame))]))
                port._heard.put_nowait(bytes(frame))
        await bela.send(peer_id(1), b"still here")
        assert await next_of(anna, DataReceived) == DataReceived(peer_id(2), b"still here")


NOW = 0.0


def hear(directory: MeshDirectory, number: int, now: float = NOW) -> bool:
    local = identity(number)
    return directory.hear(local.keys.on_air_id, record_of(local), now, int(time.time()))


def test_the_directory_knows_whom_it_heard_and_believes_nobody_s_record_under_another_id() -> None:
    directory = MeshDirectory(peer_id(1), BITS)
    assert not directory.hear(bytes(8), record_of(identity(2)), NOW, int(time.time()))
    assert directory.on_air_id(peer_id(2)) is None
    assert hear(directory, 2) and not hear(directory, 2)
    assert directory.on_air_id(peer_id(2)) == identity(2).keys.on_air_id
    assert not hear(directory, 1)  # itself
    assert directory.is_question(peer_id(1)) and not directory.is_question(peer_id(2))


def test_a_flood_of_records_costs_few_verifications() -> None:
    directory = MeshDirectory(peer_id(1), BITS)
    record = record_of(identity(2))
    for number in range(10 * VERIFIED_PER_MIN):
        directory.hear(number.to_bytes(8, "big"), record, NOW, int(time.time()))
    assert not hear(directory, 3)
    assert hear(directory, 3, NOW + 60)
    assert len(directory) == 1


def test_a_record_is_broadcast_once_however_many_ask() -> None:
    directory = MeshDirectory(peer_id(1), BITS)
    assert [directory.may_introduce(now) for now in (0.0, 0.1, 4.9, 5.0, 5.1)] == [True, False, False, True, False]


def test_somebody_who_claims_another_one_s_noise_key_takes_nothing_from_him() -> None:
    directory = MeshDirectory(peer_id(1), BITS)
    thief = replace(identity(3).keys, noise_secret=identity(2).keys.noise_secret)
    now = int(time.time())
    record = record_of(
        LocalIdentity(thief, PowIdentity.made(thief, identity(3).proof.pow_solution, identity(3).proof.refresh_count))
    )
    for number, payload in ((2, record_of(identity(2))), (2, record), (2, record_of(identity(2))), (2, record)):
        directory.hear(identity(number).keys.on_air_id, payload, NOW, now)
    assert directory.on_air_id(peer_id(2)) == directory.on_air_id(thief.peer_id) == identity(2).keys.on_air_id
    assert hear(directory, 4)


def test_the_directory_is_bounded_and_forgets_whom_it_heard_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_directory, "CAPACITY", 3)
    directory = MeshDirectory(peer_id(1), BITS)
    for number in (2, 3, 4, 2, 5):
        hear(directory, number)
    assert len(directory) == 3
    assert directory.on_air_id(peer_id(3)) is None
    assert directory.peer_id(identity(3).keys.on_air_id) is None
    assert directory.on_air_id(peer_id(2)) == identity(2).keys.on_air_id
