"""Events reach everybody who listens, and nobody who does not can hold them up."""

import asyncio

import pytest

from bitrelay.identity.difficulty import DifficultyAdjusted
from bitrelay.identity.events import EventStream, IdentityEvent, Subscription


def event(number: int) -> DifficultyAdjusted:
    return DifficultyAdjusted(number, number + 1)


async def rest(subscription: Subscription) -> list[IdentityEvent]:
    subscription.close()
    return [item async for item in subscription]


@pytest.mark.requirement("POW-35")
async def test_every_subscriber_gets_every_event() -> None:
    stream = EventStream()
    first, second = stream.subscribe(), stream.subscribe()
    stream.publish(event(1))
    third = stream.subscribe()
    stream.publish(event(2))
    assert await rest(first) == await rest(second) == [event(1), event(2)]
    assert await rest(third) == [event(2)]


async def test_one_that_does_not_keep_up_loses_the_oldest_and_the_others_nothing() -> None:
    stream = EventStream()
    slow, quick = stream.subscribe(2), stream.subscribe(10)
    for number in range(5):
        stream.publish(event(number))
    assert (slow.dropped, quick.dropped) == (3, 0)
    assert await rest(slow) == [event(3), event(4)]
    assert len(await rest(quick)) == 5


async def test_who_waits_is_woken_by_an_event_and_by_the_end() -> None:
    stream = EventStream()
    with stream.subscribe() as subscription:
        waiting = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
        stream.publish(event(1))
        assert await asyncio.wait_for(waiting, 5) == event(1)
        waiting = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(waiting, 5)


async def test_a_closed_subscription_gets_nothing_and_may_be_closed_again() -> None:
    stream = EventStream()
    subscription = stream.subscribe()
    subscription.close()
    stream.publish(event(1))
    assert await rest(subscription) == []


async def test_closing_the_stream_ends_all() -> None:
    stream = EventStream()
    first, second = stream.subscribe(), stream.subscribe()
    stream.publish(event(1))
    stream.close()
    assert [item async for item in first] == [item async for item in second] == [event(1)]
