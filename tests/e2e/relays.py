"""What the end-to-end tests ask of a relay over its console."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from bitrelay.console import Console
from bitrelay.counters import NAMES
from bitrelay.lab.board import Board
from bitrelay.lab.lab import Lab
from shared_protocol import console as messages

Counters = dict[str, int]

DEADLINE_S = 20.0

# What becomes of a received frame, and of each copy of one that is sent on.
_ENDS = (
    "drop_oversize",
    "drop_no_slot",
    "drop_partial",
    "drop_malformed",
    "duplicates",
    "not_relayed_ttl",
    "not_relayed_type",
    "not_relayed_rsr",
    "not_relayed_ours",
    "drop_link_budget",
    "drop_sender_budget",
    "drop_unsigned_budget",
    "drop_skew",
    "drop_route",
    "drop_no_link",
    "forwarded",
    "cancelled",
)
_ENDS_OF_COPIES = ("tx_frames", "drop_queue_full", "drop_link_lost", "drop_mtu", "drop_send_failed")


async def counters(console: Console) -> Counters:
    """The relay's counters by name."""
    stats = await console.request(messages.STATS)
    return dict(zip(NAMES, stats["counters"], strict=True))


async def wait_until(question: Callable[[], bool], what: str) -> None:
    """Ask until the answer is yes. Raises AssertionError, saying what, at the deadline."""
    end = asyncio.get_running_loop().time() + DEADLINE_S
    while not question():
        assert asyncio.get_running_loop().time() < end, what
        await asyncio.sleep(0.02)


async def wait_links(console: Console, count: int, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
    """Wait until so many of the relay's links are as wanted: some time after a phone has subscribed, since nobody tells
    the relay of that."""
    end = asyncio.get_running_loop().time() + DEADLINE_S
    while True:
        told = await console.request_list(messages.LINKS)
        if sum(wanted(link) for link in told) >= count:
            return
        assert asyncio.get_running_loop().time() < end, told
        await asyncio.sleep(0.05)


async def quiet_counters(console: Console) -> Counters:
    """The counters once nothing is queued on any link and nothing arrives any more."""
    end = asyncio.get_running_loop().time() + DEADLINE_S
    before: Counters = {}
    while True:
        stats = await console.request(messages.STATS)
        now = dict(zip(NAMES, stats["counters"], strict=True))
        if stats["slots_free"] == stats["slots_total"] and now["rx_frames"] == before.get("rx_frames"):
            return now
        assert asyncio.get_running_loop().time() < end, "the relay does not come to rest"
        before = now
        await asyncio.sleep(0.1)


def check_books(n: Counters) -> None:
    """Every frame and every copy of one is accounted for: sent on, or lost for a counted reason."""
    ended = sum(n[name] for name in _ENDS)
    assert n["rx_frames"] == ended, n
    copies = sum(n[name] for name in _ENDS_OF_COPIES)
    assert n["copies"] == copies, n


async def open_console(board: Board) -> Console:
    """The board's console, once its relay answers."""
    return await Console.open(board.port, timeout_s=DEADLINE_S)


async def on_air_id(board: Board) -> bytes:
    """The id of the board's relay, once it has made its keys; asking sets its clock."""
    async with await open_console(board) as console:
        end = asyncio.get_running_loop().time() + DEADLINE_S
        while True:
            info = await console.request(messages.INFO)
            if "on_air_id" in info:
                return bytes(info["on_air_id"])
            assert asyncio.get_running_loop().time() < end, info
            await asyncio.sleep(0.05)


async def everybody_linked(lab: Lab) -> None:
    """Every phone has a link and hears all that it can."""
    for phone in lab.phones.values():
        await phone.wait_links(1, DEADLINE_S)
    await lab.ready()
