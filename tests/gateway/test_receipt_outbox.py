"""Receipts go to each gateway in order, whatever another one does."""

import asyncio
from typing import Any, cast

from bitrelay.errors import NotConnected
from bitrelay.gateway.exchange import Exchange
from bitrelay.gateway.message import Message, Outcome, Receipt
from bitrelay.gateway.numbers import Numbers
from bitrelay.gateway.receipt_outbox import MOST_RECEIPTS, ReceiptOutbox
from tests.transports.virtual_time import later, virtual_time

STUCK, GONE, GOOD = b"stuck", b"gone", b"good"


def receipt(number: int) -> Receipt:
    return Receipt("beta", number.to_bytes(16, "big"), Outcome.SENT)


class Others:
    """stuck takes nothing, gone is not there any more."""

    def __init__(self) -> None:
        self.got: list[Message] = []

    async def send(self, gateway: bytes, message: Message, traffic: Any) -> None:
        if gateway == STUCK:
            await asyncio.sleep(1000)
        elif gateway == GONE:
            raise NotConnected("it has gone")
        self.got.append(message)


@virtual_time
async def test_a_gateway_that_takes_nothing_holds_up_nobody_else_and_keeps_no_memory() -> None:
    others, numbers = Others(), Numbers()
    outbox = ReceiptOutbox(cast(Exchange, others), numbers)
    for number in range(MOST_RECEIPTS + 5):
        outbox.put(STUCK, receipt(number))
    for number in range(100):
        outbox.put(GONE, receipt(number))
        outbox.put(GOOD, receipt(number))
    await later(0.1)
    assert others.got == [receipt(number) for number in range(100)]
    assert numbers.events["receipts dropped"] == 105
    await later(10)
    assert numbers.events["receipts dropped"] == 105 + MOST_RECEIPTS
    outbox.put(STUCK, receipt(1))
    await later(0.1)
    await outbox.close()
    assert len(asyncio.all_tasks()) == 1
