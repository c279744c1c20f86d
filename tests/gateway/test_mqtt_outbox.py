import asyncio
from collections import Counter

import pytest

from bitrelay.errors import LimitReached, Unreachable
from bitrelay.gateway.mqtt_outbox import WINDOW, Outbox
from bitrelay.transports.fair_queue import Traffic


class Broker:
    """Takes messages, and acknowledges them when it is told to."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.lost: Counter[str] = Counter()
        self._acknowledged: list[asyncio.Future[bool]] = []
        self.outbox = Outbox(self._publish, self.lost)

    def send(self, body: bytes, traffic: Traffic = Traffic.INTERACTIVE) -> "asyncio.Task[None]":
        return asyncio.create_task(self.outbox.send("topic", body, traffic))

    def acknowledge(self, arrived: bool = True) -> None:
        waiting, self._acknowledged = self._acknowledged, []
        for each in waiting:
            each.set_result(arrived)

    async def _publish(self, topic: str, body: bytes) -> bool:
        self.got.append(body)
        answer = asyncio.get_running_loop().create_future()
        self._acknowledged.append(answer)
        return bool(await answer)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_few_are_under_way_and_the_others_follow_in_order() -> None:
    broker = Broker()
    sends = [broker.send(bytes((number,))) for number in range(WINDOW + 5)]
    await settle()
    assert [send.done() for send in sends] == [True] * WINDOW + [False] * 5
    broker.acknowledge()
    await settle()
    assert all(send.done() for send in sends)
    assert broker.got == [bytes((number,)) for number in range(WINDOW + 5)]
    flushing = asyncio.create_task(broker.outbox.flush(5.0))
    await settle()
    assert not flushing.done()
    broker.acknowledge()
    await flushing
    await broker.outbox.close()


async def test_talk_does_not_wait_for_bulk() -> None:
    broker = Broker()
    sends = [broker.send(b"bulk" * 100, Traffic.BULK) for _ in range(WINDOW * 3)]
    await settle()
    sends.append(broker.send(b"talk"))
    await settle()
    broker.acknowledge()
    await settle()
    assert broker.got[WINDOW] == b"talk"
    broker.acknowledge()
    await settle()
    await broker.outbox.close()
    await asyncio.gather(*sends, return_exceptions=True)


async def test_who_is_cancelled_sends_nothing() -> None:
    broker = Broker()
    sends = [broker.send(bytes((number,))) for number in range(WINDOW + 3)]
    await settle()
    sends[WINDOW].cancel()
    broker.acknowledge()
    await settle()
    assert bytes((WINDOW,)) not in broker.got
    assert len(broker.got) == WINDOW + 2
    await broker.outbox.close()


async def test_when_the_broker_is_lost_nobody_waits() -> None:
    broker = Broker()
    sends = [broker.send(bytes((number,))) for number in range(WINDOW + 1)]
    await settle()
    await broker.outbox.close()
    with pytest.raises(Unreachable):
        await sends[-1]
    with pytest.raises(Unreachable):
        await broker.send(b"later")


async def test_what_waits_is_bounded_and_what_is_lost_counted() -> None:
    broker = Broker()
    sends = [broker.send(b"x" * 1024) for _ in range(600)]
    await settle()
    errors = [send.exception() for send in sends if send.done() and send.exception() is not None]
    assert errors and all(isinstance(error, LimitReached) for error in errors)
    broker.acknowledge(arrived=False)
    await settle()
    assert broker.lost == {"not acknowledged": WINDOW}
    await broker.outbox.close()
    await asyncio.gather(*sends, return_exceptions=True)
