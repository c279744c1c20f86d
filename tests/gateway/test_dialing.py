"""Who is dialled, when, and when no more."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bitrelay.errors import BitrelayError, HandshakeFailed, HandshakeFault, LimitReached, Unreachable
from bitrelay.gateway.dialing import MOST_S, Backoff, Dialer
from bitrelay.gateway.stranger_dials import AT_ONCE, PER_MINUTE
from bitrelay.transports.address import Address, Tcp
from tests.transports.virtual_time import later, now, virtual_time

OWN, BOB, EVE = b"O" * 32, b"B" * 32, b"E" * 32
HERE, THERE = Tcp("192.0.2.1", 8765), Tcp("192.0.2.2", 8765)


class World:
    """Who is at which address, who is linked, and every attempt with its time."""

    def __init__(self) -> None:
        self.at: dict[Address, bytes | BitrelayError] = {}
        self.linked: set[bytes] = set()
        self.tried: list[tuple[float, Address]] = []
        self.trusted = {BOB, EVE}
        self.dialer = Dialer(self.connect, self.linked.__contains__, self.trusted.__contains__, OWN, random.Random(1))

    async def connect(self, address: Address, peer_id: bytes | None) -> bytes:
        self.tried.append((now(), address))
        await asyncio.sleep(0.01)
        found = self.at.get(address, Unreachable("nobody is there"))
        if isinstance(found, BitrelayError):
            raise found
        if peer_id not in (None, found):
            raise HandshakeFailed(HandshakeFault.WRONG_PEER)
        self.linked.add(found)
        return found

    def lose(self, peer_id: bytes) -> None:
        self.linked.discard(peer_id)
        self.dialer.lost(peer_id)

    @property
    def pauses(self) -> list[float]:
        times = [moment for moment, _ in self.tried]
        return [later - earlier for earlier, later in zip(times, times[1:], strict=False)]


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    made = World()
    try:
        yield made
    finally:
        await made.dialer.close()


def test_pauses_double_up_to_half_a_minute_and_are_spread_by_chance() -> None:
    backoff = Backoff(random.Random(3))
    pauses = [backoff.next_s() for _ in range(9)]
    for pause, least in zip(pauses, (1, 2, 4, 8, 16, 30, 30, 30, 30), strict=True):
        assert least <= pause <= min(1.5 * least, MOST_S)
    assert len(set(pauses[:5])) == 5 and pauses[0] not in (1.0, 1.5)
    backoff.reset()
    assert backoff.next_s() <= 1.5


@virtual_time
async def test_who_is_not_there_is_tried_less_and_less_often_and_for_ever() -> None:
    async with world() as all_:
        all_.dialer.keep((HERE,), BOB)
        await later(3600)
        assert 120 <= len(all_.tried) <= 130
        assert max(all_.pauses) <= MOST_S + 0.1
        assert all_.dialer.troubles() == {HERE: "nobody is there"}


@virtual_time
async def test_while_there_is_a_link_nobody_is_dialled_and_when_it_is_lost_soon_again() -> None:
    async with world() as all_:
        all_.at[HERE] = BOB
        all_.dialer.keep((HERE,))
        await later(3600)
        assert len(all_.tried) == 1 and all_.dialer.troubles() == {}
        all_.lose(BOB)
        await later(1.6)
        assert len(all_.tried) == 2
        # A link that ends at once, time and again, is not made in a hurry.
        for _ in range(3600):
            all_.lose(BOB)
            await later(1)
        assert len(all_.tried) < 130


@virtual_time
async def test_all_addresses_of_a_gateway_are_tried_and_another_gateway_there_does_not_do() -> None:
    async with world() as all_:
        all_.at = {HERE: EVE, THERE: BOB}
        all_.dialer.keep((HERE, THERE), BOB)
        await later(0.1)
        assert [address for _, address in all_.tried] == [HERE, THERE] and all_.linked == {BOB}


@pytest.mark.parametrize("peer_id", [OWN, None])
@virtual_time
async def test_ourselves_we_do_not_dial_again(peer_id: bytes | None) -> None:
    async with world() as all_:
        all_.at[HERE] = HandshakeFailed(HandshakeFault.OURSELVES)
        all_.dialer.keep((HERE,), peer_id)
        await later(3600)
        assert len(all_.tried) == (peer_id is None)


@virtual_time
async def test_a_limit_of_our_own_is_waited_for() -> None:
    async with world() as all_:
        all_.at[HERE] = LimitReached("no", limit="cooldown", retry_s=45.0)
        all_.dialer.keep((HERE,))
        await later(100)
        assert all_.pauses and min(all_.pauses) >= 45.0


@virtual_time
async def test_what_is_offered_is_dialled_while_it_is_offered() -> None:
    async with world() as all_:
        all_.dialer.keep((HERE,), BOB)
        all_.dialer.offer({BOB: [THERE], EVE: [THERE], OWN: [THERE]})
        await later(10)
        assert {address for _, address in all_.tried} == {HERE, THERE}
        eve = sum(address == THERE for _, address in all_.tried)
        assert eve == sum(address == HERE for _, address in all_.tried)
        all_.dialer.offer({})
        await later(1000)
        assert sum(address == THERE for _, address in all_.tried) == eve
        all_.at[THERE] = EVE
        all_.dialer.offer({EVE: [THERE]})
        await later(1)
        assert all_.linked == {EVE}


def strangers(*numbers: int) -> list[bytes]:
    return [bytes((1, number)) * 16 for number in numbers]


def lies(who: list[bytes], *hosts: str) -> dict[bytes, list[Address]]:
    """Each says that it is at another port of each of these."""
    return {peer: [Tcp(host, 1000 + number) for host in hosts] for number, peer in enumerate(who)}


@virtual_time
async def test_somebody_whom_strangers_say_to_be_gateways_is_hardly_dialled() -> None:
    async with world() as all_:
        for number in range(120):
            # Every half a minute two others say so.
            all_.dialer.offer(lies(strangers(*(number * 2 % 200 + each for each in range(8))), "198.51.100.7"))
            await later(30)
        first_minute = [moment for moment, _ in all_.tried if moment < 60]
        assert 2 <= len(first_minute) <= 4 and len(all_.tried) <= 15


@virtual_time
async def test_strangers_in_many_places_are_dialled_twenty_times_a_minute_and_trusted_ones_as_ever() -> None:
    async with world() as all_:
        for minute in range(10):
            hosts = (f"198.51.100.{number}" for number in range(minute * 24, minute * 24 + 24))
            offered = {peer: [Tcp(next(hosts), 1) for _ in range(3)] for peer in strangers(*range(10, 18))}
            all_.dialer.offer(offered | {BOB: [HERE]})
            await later(60)
        lied = [moment for moment, address in all_.tried if address != HERE]
        assert all(sum(at <= moment < at + 60 for moment in lied) <= AT_ONCE + PER_MINUTE for at in range(0, 600, 10))
        assert sum(address == HERE for _, address in all_.tried) >= 12


@virtual_time
async def test_a_stranger_who_was_there_is_dialled_again_as_others_are_and_one_who_was_not_is_silent() -> None:
    async with world() as all_:
        real, lie = strangers(1, 2)
        all_.at[THERE] = real
        all_.dialer.offer({real: [THERE], lie: [HERE]})
        await later(30)
        assert all_.linked == {real}
        assert [all_.dialer.is_silent(each) for each in (real, lie)] == [False, True]
        # Somebody else says that it is there, too: that keeps nobody from dialling the one who was.
        all_.dialer.offer({real: [THERE], lie: [THERE]})
        await later(300)
        before = len(all_.tried)
        all_.lose(real)
        await later(1.6)
        assert all_.linked == {real} and len(all_.tried) == before + 1
        await later(4000)
        all_.dialer.offer({})
        await later(3600)
        assert not all_.dialer.is_silent(lie)


@virtual_time
async def test_that_a_gateway_hung_up_is_told_with_what_may_be_the_reason() -> None:
    async with world() as all_:
        all_.at[HERE] = HandshakeFailed(HandshakeFault.HUNG_UP)
        all_.dialer.keep((HERE,))
        await later(1)
        assert "trust" in all_.dialer.troubles()[HERE]
