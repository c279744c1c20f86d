"""What strangers send to the sockets of a path that is being opened."""

import asyncio
import struct

from bitrelay.nat.punch import PunchedPath


async def test_no_datagram_raises_out_of_a_handler() -> None:
    path = PunchedPath(True)
    raised = 0

    class Protocol:
        def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
            nonlocal raised
            raised += 1
            struct.unpack("!I", data)

    take = path._guarded(Protocol().datagram_received)
    for datagram in (b"", b"abc", b"abcd"):
        take(datagram, ("192.0.2.1", 9))
    assert (raised, path.dropped) == (3, 2)
    async with asyncio.timeout(10):
        await path.close()
