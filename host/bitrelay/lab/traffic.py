"""Sends the traffic of a scenario through its phones and books it in the ledger."""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from shared_protocol.frame import MAX_TTL, TYPE, TYPE_ANNOUNCE, TYPE_HELLO, TYPE_IDENTITY, encode

from .frame_maker import FrameMaker, Kind
from .ledger import Ledger
from .phone import Arrival, Phone

# Everything a relay has to carry, in the order it is sent round and round.
ALL_KINDS = (Kind.PUBLIC, Kind.DIRECTED, Kind.NOISE, Kind.ROUTED, Kind.FILE, Kind.UNKNOWN)

# A type nobody uses, for frames that only show whether a way is open; they are not booked.
PROBE_TYPE = 0x7E
_NOT_BOOKED = frozenset((PROBE_TYPE, TYPE_ANNOUNCE, TYPE_HELLO, TYPE_IDENTITY))

_DIRECTED = frozenset((Kind.DIRECTED, Kind.NOISE, Kind.ROUTED, Kind.FILE))
# A frame that is not there by then does not hold up the others.
_GIVE_UP_S = 10.0


@dataclass(frozen=True)
class Flow:
    """One phone's traffic: `count` frames of `kinds` to the phones `to` (directed ones to each in turn).

    rate is frames per second; None is as fast as goes with at most `window` frames underway. hops are the relays on the
    way, if it is known; ttl what the phone writes.
    """

    sender: str
    to: tuple[str, ...]
    kinds: tuple[Kind, ...] = ALL_KINDS
    count: int = 100
    rate: float | None = None
    window: int = 8
    hops: int | None = None
    ttl: int = MAX_TTL


@dataclass(frozen=True)
class Planned:
    """One frame to send, and whom it is for."""

    value: bytes
    receivers: frozenset[str]


def plan(flow: Flow, phones: dict[str, Phone], seed: int = 0) -> Iterator[Planned]:
    """The frames of a flow, made one by one when they are asked for. A file is sent whole or not at all."""
    sender = phones[flow.sender]
    maker = FrameMaker(sender.identity, random.Random(f"{seed}/{flow.sender}/{flow.to}"), sender.now_ms)
    left, turn = flow.count, 0
    while left > 0:
        kind = flow.kinds[turn % len(flow.kinds)]
        target = flow.to[turn % len(flow.to)]
        turn += 1
        values = maker.make(kind, phones[target].identity.peer_id, flow.ttl)
        if len(values) > left:
            if all(k is Kind.FILE for k in flow.kinds):
                values = values[:left]
            else:
                continue
        receivers = frozenset((target,) if kind in _DIRECTED else flow.to)
        for value in values:
            yield Planned(value, receivers)
        left -= len(values)


async def run_flow(flow: Flow, phones: dict[str, Phone], ledger: Ledger, seed: int = 0) -> None:
    """Send a flow, and wait until nothing of it is awaited any more or is given up."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number, planned in enumerate(plan(flow, phones, seed)):
        if flow.rate is None:
            await _settled(ledger, flow.sender, flow.window - 1)
        else:
            await asyncio.sleep(max(0.0, start + number / flow.rate - loop.time()))
        ledger.sent(planned.value, flow.sender, planned.receivers, loop.time(), flow.hops)
        await phones[flow.sender].send(planned.value)
    await _settled(ledger, flow.sender, 0)


def probe_of(phone: Phone) -> bytes:
    """A frame that says nothing but who sent it."""
    return encode(PROBE_TYPE, MAX_TTL, phone.now_ms(), phone.identity.peer_id, b"")


def book_arrivals(phones: Iterable[Phone], ledger: Ledger) -> None:
    """Let the ledger know of everything these phones receive, but for probes and what others say of themselves."""

    def booked_for(name: str) -> Callable[[Arrival], None]:
        def book(arrival: Arrival) -> None:
            if arrival.frame[TYPE] not in _NOT_BOOKED or ledger.knows(arrival.value):
                ledger.arrived(name, arrival.value, arrival.at)

        return book

    for phone in phones:
        phone.on_frame = booked_for(phone.name)


async def _settled(ledger: Ledger, sender: str, most: int) -> None:
    # Waits until at most so many frames are awaited; what is older than the limit is not awaited.
    loop = asyncio.get_running_loop()
    while ledger.underway(sender, loop.time() - _GIVE_UP_S) > most:
        try:
            async with asyncio.timeout(1.0):
                await ledger.news.wait()
        except TimeoutError:
            pass
