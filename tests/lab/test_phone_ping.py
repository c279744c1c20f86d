"""Pings come back with the hops they went, and are answered only as often as the app does it."""

import asyncio
import random

import pytest

from bitrelay.lab.phone_ping import PingAnswer, Pinger, PingLimit
from shared_protocol.frame import TYPE_PING, TYPE_PONG

PEER, LINK = b"the peer", "link"


class Air:
    def __init__(self, answers: bool = True) -> None:
        self.sent: list[tuple[int, bytes, bytes]] = []
        self.pinger = Pinger(random.Random(1), answers, self.send)

    async def send(self, kind: int, recipient: bytes, payload: bytes) -> int:
        self.sent.append((kind, recipient, payload))
        return 1


@pytest.mark.parametrize("ttl", [7, 6, 1])
async def test_a_pong_tells_how_many_hops_away_its_sender_is(ttl: int) -> None:
    air = Air()
    pinging = asyncio.create_task(air.pinger.ping(PEER))
    await asyncio.sleep(0)
    ((kind, recipient, payload),) = air.sent
    assert (kind, recipient, len(payload), payload[8]) == (TYPE_PING, PEER, 9, 7)
    # Neither a pong to another ping nor half of one ends it.
    await air.pinger.hear(TYPE_PONG, ttl, PEER, bytes(9), LINK, 0.0)
    await air.pinger.hear(TYPE_PONG, ttl, PEER, payload[:8], LINK, 0.0)
    assert not pinging.done()
    await air.pinger.hear(TYPE_PONG, ttl, PEER, payload + b"and more", LINK, 0.0)
    answer = await pinging
    assert isinstance(answer, PingAnswer) and answer.hops == 8 - ttl
    # A second pong to it is nobody's.
    await air.pinger.hear(TYPE_PONG, ttl, PEER, payload, LINK, 0.0)


async def test_a_ping_is_answered_with_its_nonce_and_a_full_ttl() -> None:
    air = Air()
    await air.pinger.hear(TYPE_PING, 3, PEER, b"12345678\x05 and more", LINK, 0.0)
    assert air.sent == [(TYPE_PONG, PEER, b"12345678\x07")]
    await air.pinger.hear(TYPE_PING, 3, PEER, b"12345678", LINK, 0.0)
    assert len(air.sent) == 1


async def test_an_app_that_does_not_know_pings_answers_none() -> None:
    air = Air(answers=False)
    await air.pinger.hear(TYPE_PING, 7, PEER, b"12345678\x07", LINK, 0.0)
    assert not air.sent


def test_five_in_ten_seconds_on_each_link() -> None:
    limit = PingLimit()
    assert [limit.allows("a", number * 0.5) for number in range(7)] == [True] * 5 + [False] * 2
    assert limit.allows("b", 3.0)
    assert not limit.allows("a", 9.9)
    assert limit.allows("a", 10.0)
    assert not limit.allows("a", 10.1)
    assert limit.allows("a", 10.5)
