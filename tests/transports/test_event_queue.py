"""Events wait in order, within bounds."""

import asyncio

import pytest

from bitrelay.errors import BitrelayError, TransportClosed
from bitrelay.transports.event_queue import MAX_FAILURES, EventQueue
from bitrelay.transports.transport import DataReceived, Disconnected, Ended, Failed

PEER = bytes(32)


def data(number: int) -> DataReceived:
    return DataReceived(PEER, b"%d" % number)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.requirement("TRN-10")
async def test_senders_wait_for_room_in_the_order_they_came() -> None:
    queue = EventQueue(2)
    senders = [asyncio.create_task(queue.put(data(number))) for number in range(5)]
    await settle()
    assert [task.done() for task in senders] == [True, True, False, False, False]
    assert not queue.offer(data(9)) and queue.dropped == 1
    senders[3].cancel()
    assert [await queue.get() for _ in range(4)] == [data(0), data(1), data(2), data(4)]
    assert queue.offer(data(5)) and queue.offer(data(6)) and not queue.offer(data(7))


async def test_a_place_given_to_a_sender_that_is_cancelled_goes_to_the_next() -> None:
    queue = EventQueue(1)
    await queue.put(data(0))
    first, second = (asyncio.create_task(queue.put(data(number))) for number in (1, 2))
    await settle()
    await queue.get()
    first.cancel()
    assert await queue.get() == data(2)
    await second
    assert queue.offer(data(3))


async def test_an_end_always_fits_and_failures_are_bounded() -> None:
    queue = EventQueue(1)
    await queue.put(data(0))
    for _ in range(MAX_FAILURES + 10):
        queue.tell(Failed(None, BitrelayError("no")))
    queue.tell(Disconnected(PEER, Ended.LOST))
    assert queue.dropped == 10
    events = [await queue.get() for _ in range(MAX_FAILURES + 2)]
    assert events[0] == data(0) and events[-1] == Disconnected(PEER, Ended.LOST)
    queue.tell(Failed(None, BitrelayError("again")))
    assert isinstance(await queue.get(), Failed)


async def test_a_closed_queue_gives_what_is_left_and_wakes_everybody() -> None:
    queue = EventQueue()
    await queue.put(data(0))
    queue.close()
    queue.close()
    await queue.put(data(1))
    assert await queue.get() == data(0)
    for waiting in [asyncio.create_task(queue.get()) for _ in range(3)]:
        with pytest.raises(TransportClosed):
            await waiting
