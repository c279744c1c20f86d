"""Two phones at the ends of three relays in a line, each hearing only its neighbors."""

import asyncio
import time

import pytest
from relays import check_books, everybody_linked, open_console, quiet_counters

from bitrelay.lab.demo import LEFT, RIGHT, chain
from bitrelay.lab.lab import Lab
from shared_protocol import frame

BOARDS = 3
FRAMES = 200


@pytest.mark.requirement("BLE-01", "MSH-14")
async def test_every_kind_of_frame_crosses_three_relays_exactly_once_and_unaltered() -> None:
    async with Lab(chain(BOARDS, FRAMES)) as lab:
        await everybody_linked(lab)
        report = await lab.play()
        assert report.sent == 2 * FRAMES
        assert report.is_perfect, (report, lab.ledger.missing())
        for board in lab.boards.values():
            async with await open_console(board) as console:
                check_books(await quiet_counters(console))


@pytest.mark.requirement("MSH-14")
async def test_a_broadcast_stops_where_its_ttl_ends() -> None:
    # The author's phone sends with the TTL; each relay lowers it and none forwards a TTL of 1.
    async with Lab(chain(BOARDS, 1)) as lab:
        await everybody_linked(lab)
        left, right = lab.phones[LEFT], lab.phones[RIGHT]
        now_ms = time.time_ns() // 1_000_000
        for ttl in (3, 4):
            await left.send(frame.encode(frame.TYPE_MESSAGE, ttl, now_ms + ttl, left.identity.peer_id, bytes((ttl,))))
        # The frame with one hop more arrives, on the same way and behind the other: that one has stopped.
        arrival = await right.wait_for(lambda arrival: arrival.frame[frame.TYPE] == frame.TYPE_MESSAGE, 10)
        assert arrival.frame[frame.TTL] == 1 and arrival.frame[-1] == 4
        stopped = []
        for board in lab.boards.values():
            async with await open_console(board) as console:
                stopped.append((await quiet_counters(console))["not_relayed_ttl"])
        assert stopped == [0, 0, 1]
        assert not [a for a in right.received if a.frame[frame.TYPE] == frame.TYPE_MESSAGE and a.frame[-1] == 3]
        await asyncio.sleep(0)
