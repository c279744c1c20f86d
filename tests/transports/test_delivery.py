"""Numbers on messages: once and in order, whatever the ways between lose, double and turn around."""

import asyncio
import random
from collections import Counter, deque
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrelay.transports.control_frame import (
    DATA_OVERHEAD,
    MAX_EPOCH,
    Ack,
    ControlFrame,
    Data,
    Ping,
    Pong,
    Reset,
    decode,
    encode,
)
from bitrelay.transports.delivery import UNREAD_BYTES, WINDOW, WINDOW_BYTES, Outgoing, ReceiveWindow, SendWindow
from bitrelay.transports.fair_queue import Traffic

U64, U32, U8 = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 255)
FRAMES = st.one_of(
    st.builds(Data, st.integers(0, MAX_EPOCH), st.integers(255, 2**32 - 1), U8, st.binary()),
    st.builds(Ack, U64, U32, U8),
    st.builds(Reset, U64),
    st.builds(Ping, U64),
    st.builds(Pong, U64),
)


def outgoing(message: bytes) -> Outgoing:
    return Outgoing(message, Traffic.BULK, cast("asyncio.Future[None]", None), True)


class Receiver:
    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self.window = ReceiveWindow(self.messages.append, self.counts)


def filled(window: SendWindow, size: int = 1) -> list[Outgoing]:
    """Add messages until there is no more room."""
    added = []
    while window.has_room:
        added.append(outgoing(bytes(size)))
        window.add(added[-1])
    return added


@given(FRAMES)
def test_a_frame_says_the_same_after_the_wire(frame: ControlFrame) -> None:
    assert decode(encode(frame)) == frame


@given(st.binary(max_size=40) | st.builds(lambda kind, rest: bytes([kind]) + rest, st.integers(0, 6), st.binary()))
def test_any_bytes_are_a_frame_or_none(data: bytes) -> None:
    frame = decode(data)
    assert frame is None or encode(frame) == data


def test_a_frame_of_data_has_the_documented_bytes() -> None:
    assert encode(Data(0x0102030405060708, 0x0A0B0C0D, 3, b"hi")).hex() == "0101020304050607080a0b0c0d036869"
    assert DATA_OVERHEAD == 14
    assert encode(Ack(1, 2, 64)).hex() == "0200000000000000010000000240"
    assert encode(Reset(1)).hex() == "030000000000000001"
    assert encode(Ping(1)).hex() == "040000000000000001"
    assert encode(Pong(1)).hex() == "050000000000000001"


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.floats(0, 0.6), st.floats(0, 0.3))
def test_all_arrive_once_and_in_order_over_ways_that_lose_double_and_reorder(
    seed: int, loss: float, doubled: float
) -> None:
    chance = random.Random(seed)
    sender, receiver = SendWindow(7), Receiver()
    waiting = deque(outgoing(number.to_bytes(2, "big")) for number in range(200))
    wanted = [each.message for each in waiting]
    there: list[bytes] = []
    back: list[bytes] = []
    read = 0

    def transmit(way: list[bytes], frame: ControlFrame) -> None:
        way.extend([encode(frame)] * ((chance.random() >= loss) + (chance.random() < doubled)))

    for step in range(100_000):
        if read == len(wanted) and not len(sender):
            break
        if waiting and sender.has_room:
            sender.add(waiting.popleft())
        if (unsent := sender.unsent()) is not None:
            unsent.via = chance.choice("ab")
            transmit(there, sender.frame(unsent))
        elif not there and not back:
            # In time both are found to be of no use; and a ping brings what the peer grants.
            sender.recall("a")
            sender.recall("b")
            if (ack := receiver.window.ack()) is not None:
                transmit(back, ack)
        if there and chance.random() < 0.5:
            frame = decode(there.pop(chance.randrange(len(there))))
            assert isinstance(frame, Data)
            if (answer := receiver.window.take(frame)) is not None:
                transmit(back, answer)
        if back and chance.random() < 0.5:
            answer = decode(back.pop(chance.randrange(len(back))))
            assert isinstance(answer, Ack)
            sender.acknowledged(answer, float(step))
        if read < len(receiver.messages) and chance.random() < 0.3:
            receiver.window.read(len(receiver.messages[read]))
            read += 1
    assert receiver.messages == wanted


def test_no_more_is_under_way_than_the_window_holds() -> None:
    window = SendWindow(1)
    assert len(filled(window)) == WINDOW
    window = SendWindow(1)
    assert len(filled(window, WINDOW_BYTES // 4)) == 4
    window = SendWindow(1)
    assert len(filled(window, WINDOW_BYTES * 2)) == 1


def test_who_does_not_read_is_sent_no_more_and_who_reads_again_is() -> None:
    sender, receiver = SendWindow(1), Receiver()
    for each in filled(sender):
        ack = receiver.window.take(sender.frame(each))
    assert ack == Ack(1, WINDOW, 0)
    sender.acknowledged(ack, 0.0)
    assert len(sender) == 0 and not sender.has_room
    told = [receiver.window.read(1) for _ in range(WINDOW // 4)]
    assert told == [False] * (WINDOW // 4 - 1) + [True]
    update = receiver.window.ack()
    assert isinstance(update, Ack)
    sender.acknowledged(update, 0.0)
    assert len(filled(sender)) == WINDOW // 4


def test_large_messages_that_nobody_reads_are_bounded_by_their_bytes() -> None:
    sender, receiver = SendWindow(1), Receiver()
    size = 60_000
    while True:
        added = filled(sender, size)
        if not added:
            break
        for each in added:
            ack = receiver.window.take(sender.frame(each))
            assert isinstance(ack, Ack)
        sender.acknowledged(ack, 0.0)
    assert receiver.counts == {}
    assert UNREAD_BYTES <= sum(map(len, receiver.messages)) <= UNREAD_BYTES + WINDOW_BYTES + size
    # And who sends in spite of that is not let in.
    for number in range(len(receiver.messages), 200):
        receiver.window.take(Data(1, number, number, bytes(size)))
    assert sum(map(len, receiver.messages)) <= UNREAD_BYTES + WINDOW_BYTES + size
    assert receiver.counts["no room"] > 100


def test_what_comes_early_is_bounded() -> None:
    receiver = Receiver()
    for number in range(1, 1000):
        receiver.window.take(Data(1, number, min(number, 255), bytes(20_000)))
    assert receiver.messages == []
    receiver.window.take(Data(1, 0, 0, b""))
    assert len(receiver.messages) <= 1 + WINDOW_BYTES // 20_000


def test_a_receiver_that_started_anew_gets_what_is_unacknowledged_in_a_new_epoch() -> None:
    sender, before, after = SendWindow(10), Receiver(), Receiver()
    for each in filled(sender)[:5]:
        ack = before.window.take(sender.frame(each))
    assert isinstance(ack, Ack)
    sender.acknowledged(ack, 0.0)
    answer = after.window.take(sender.frame(cast(Outgoing, sender.oldest)))
    assert answer == Reset(10) and after.messages == []
    sender.reset(cast(Reset, answer))
    assert sender.epoch == 11
    while (unsent := sender.unsent()) is not None:
        unsent.via = "tcp"
        after.window.take(sender.frame(unsent))
    assert len(after.messages) == WINDOW - 5


def test_a_sender_that_started_anew_is_heard_even_if_its_clock_went_back() -> None:
    receiver = Receiver()
    old = SendWindow(1000)
    old.add(outgoing(b"old"))
    receiver.window.take(old.frame(cast(Outgoing, old.oldest)))
    new = SendWindow(5)
    new.add(outgoing(b"new"))
    answer = receiver.window.take(new.frame(cast(Outgoing, new.oldest)))
    assert answer == Ack(1000, 1, WINDOW - 1) and receiver.messages == [b"old"]
    new.acknowledged(cast(Ack, answer), 0.0)
    assert new.epoch == 1001
    receiver.window.take(new.frame(cast(Outgoing, new.oldest)))
    assert receiver.messages == [b"old", b"new"]


@pytest.mark.parametrize(
    "frame",
    [
        Ack(1, 500, 64),
        Ack(0, 1, 64),
        Ack(1, 0, 255),
        Ack(MAX_EPOCH, 0, 1),
        Ack(2**64 - 1, 0, 1),
        Reset(1),
        Reset(2**64 - 1),
    ],
    ids=str,
)
def test_a_peer_cannot_acknowledge_or_forget_what_it_was_not_sent(frame: Ack | Reset) -> None:
    sender = SendWindow(1)
    added = filled(sender)
    for _ in range(3):
        if isinstance(frame, Ack):
            assert sender.acknowledged(frame, 0.0) == []
        else:
            sender.reset(frame)
    assert sender.epoch == 1 and len(sender) == len(added)
    assert not sender.has_room


def test_a_peer_can_ask_for_a_new_epoch_once_for_each_acknowledgement() -> None:
    sender = SendWindow(1)
    filled(sender)
    sender.acknowledged(Ack(1, 1, 64), 0.0)
    for epoch in range(1, 100):
        sender.reset(Reset(epoch))
    assert sender.epoch == 2


def test_what_is_given_up_is_not_sent_again() -> None:
    sender, receiver = SendWindow(1), Receiver()
    assert len(filled(sender)) == len(sender.abandon()) == WINDOW
    assert sender.unsent() is None and sender.epoch == 2
    sender.add(outgoing(b"next"))
    receiver.window.take(sender.frame(cast(Outgoing, sender.oldest)))
    assert receiver.messages == [b"next"]
