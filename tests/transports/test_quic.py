"""What is QUIC's own: credit, one stream, and no memory for gaps."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.errors import MessageFault
from bitrelay.transports.address import Address
from bitrelay.transports.credit_stream import WINDOW, MessageStream
from bitrelay.transports.pipe import MAX_RECORD, OPENING_S
from bitrelay.transports.quic import QuicMedium, QuicPipe
from bitrelay.transports.tcp import HEADER, framed
from tests.transports.ends import anywhere, ends


@given(st.lists(st.binary(min_size=1, max_size=3000), max_size=40), st.integers(1, 5000))
def test_messages_are_cut_out_of_any_pieces(said: list[bytes], piece: int) -> None:
    sender, receiver = MessageStream(), MessageStream()
    whole = b"".join(sender.frame(message) for message in said)
    for at in range(0, len(whole), piece):
        receiver.feed(whole[at : at + piece])
    got = []
    while receiver.messages:
        got.append(receiver.messages.popleft())
        sender.feed(receiver.read(got[-1]))
    assert got == said and sender.fault is receiver.fault is None
    assert WINDOW - WINDOW // 4 < sender.credit <= WINDOW


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    stream = MessageStream()
    stream.feed(data)
    stream.feed(data)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (HEADER.pack(MAX_RECORD + 1), MessageFault.TOO_LONG),
        (HEADER.pack(0), MessageFault.TOO_SHORT),
        (HEADER.pack((1 << 31) + 1), MessageFault.FORGED),
        (framed(bytes(MAX_RECORD)) * 5, MessageFault.TOO_LONG),
    ],
    ids=["too long", "empty", "credit for nothing", "more than the window"],
)
def test_who_breaks_the_rules_is_found_out(said: bytes, fault: MessageFault) -> None:
    stream = MessageStream()
    stream.feed(said)
    assert stream.fault is fault
    stream.feed(b"\0\0\0\1x")
    assert len(stream.messages) <= 5


def test_a_sender_stops_before_the_window_is_full() -> None:
    stream, count = MessageStream(), 0
    while stream.has_room:
        stream.frame(bytes(MAX_RECORD))
        count += 1
    assert count == 3


async def dialled(address: Address) -> QuicPipe:
    pipe = await QuicMedium().open(address)
    assert isinstance(pipe, QuicPipe)
    return pipe


async def ended(pipe: QuicPipe) -> None:
    # Before the server would have lost patience with a connection that has no stream.
    async with asyncio.timeout(OPENING_S):
        await pipe._protocol.wait_closed()
    pipe.abort()


async def test_another_stream_ends_the_connection() -> None:
    async with ends("quic", 1) as (server,):
        pipe = await dialled(await server.listen(anywhere("quic")))
        pipe._protocol._quic.send_stream_data(4, b"another")
        pipe._protocol.transmit()
        await ended(pipe)


async def test_a_stream_with_a_gap_does_not_grow_for_ever() -> None:
    async with ends("quic", 1) as (server,):
        pipe = await dialled(await server.listen(anywhere("quic")))
        quic = pipe._protocol._quic
        quic.send_stream_data(0, bytes(20 * WINDOW))
        # The first byte is never sent, all the rest is.
        quic._streams[0].sender._pending.subtract(0, 1)
        pipe._protocol.transmit()
        (there,) = set(server._medium._servers[0]._protocols.values())
        await ended(pipe)
        assert there._quic._local_max_data.used < 5 * WINDOW
