"""What a relay reads inside of frames: announces, fragments, and the stream that an iPhone makes of notifications."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_protocol import announce, fragment, frame
from shared_protocol.stream import CAP, NotificationStream
from shared_protocol.urgency import is_urgent


def tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind, len(value))) + value


NAMED = tlv(1, "Straße".encode()) + tlv(2, bytes(32)) + tlv(3, b"\x01" * 32)
LEAST = {"nickname": "Straße", "noise_key": bytes(32), "signing_key": b"\x01" * 32}


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (b"", {}),
        (tlv(4, b"a" * 8 + b"b" * 8), {"neighbors": [b"a" * 8, b"b" * 8]}),
        (tlv(4, b"a" * 9), {}),
        (tlv(5, b"\x29\x03"), {"capabilities": 0x329}),
        (tlv(5, b""), {}),
        (tlv(6, b"u09tvw"), {"geohash": "u09tvw"}),
        (tlv(9, b"new") + tlv(9, b""), {"unknown": [(9, b"new"), (9, b"")]}),
    ],
)
def test_announce(more: bytes, found: dict[str, Any]) -> None:
    # Order says nothing.
    assert announce.parse(NAMED + more) == announce.parse(more + NAMED) == LEAST | found


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        NAMED[:-1],
        NAMED + b"\x09",
        NAMED + b"\x09\x01",
        tlv(1, b"x") + tlv(2, bytes(32)),
        tlv(1, b"x") + tlv(2, bytes(31)) + tlv(3, bytes(32)),
        tlv(1, b"\xff") + tlv(2, bytes(32)) + tlv(3, bytes(32)),
    ],
)
def test_no_announce(payload: bytes) -> None:
    assert announce.parse(payload) is None


@given(st.binary(max_size=120))
def test_no_announce_raises(payload: bytes) -> None:
    announce.parse(payload)
    announce.parse(NAMED + payload)


@given(st.integers(0, 2**80))
def test_capabilities_are_minimal_and_keep_every_bit(bits: int) -> None:
    raw = announce.encode_capabilities(bits)
    assert announce.decode_capabilities(raw) == bits
    assert len(raw) == 1 or raw[-1]


def test_no_capabilities_at_all() -> None:
    assert announce.decode_capabilities(b"") is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("0000000102", (0, 1, 2)),
        ("270f271002", (9999, 10000, 2)),
        ("0000000002", fragment.E_FRAGMENT_TOTAL),
        ("0000271102", fragment.E_FRAGMENT_TOTAL),
        ("0001000102", fragment.E_FRAGMENT_INDEX),
        ("00000001", fragment.E_FRAGMENT_SHORT),
    ],
)
def test_fragment_header(header: str, expected: object) -> None:
    payload = b"stream01" + bytes.fromhex(header)
    assert fragment.parse(payload, 0, len(payload)) == expected


@pytest.mark.parametrize(("stream", "index", "total"), [(b"short", 0, 1), (b"stream01", 1, 1), (b"stream01", -1, 5)])
def test_no_fragment(stream: bytes, index: int, total: int) -> None:
    with pytest.raises(ValueError):
        fragment.make(stream, index, total, 2, b"")


@pytest.mark.parametrize(
    ("payload", "urgent"),
    [
        ("090001 01", True),
        ("090001 03", True),
        ("090001 02", False),
        ("090002 0100", True),
        ("010001 00 090001 01", True),
        ("010001 00", False),
        ("", False),
        ("09", False),
        ("090001", False),
        ("090000 01", False),
        ("010005 00 090001 01", False),
    ],
)
def test_urgent_board_post(payload: str, urgent: bool) -> None:
    data = bytes.fromhex(payload)
    assert is_urgent(b"\x09\0\x01\x01" + data + b"\x01\x01", 4, len(data)) is urgent


HELLO = frame.encode(2, 7, 5, b"sender01", b"hello")
SIGNED = frame.encode(
    17, 7, 5, b"sender01", b"hello", version=2, recipient=b"r" * 8, route=[b"a" * 8], signature=bytes(64)
)


@given(st.lists(st.sampled_from([HELLO, SIGNED, frame.pad(SIGNED)]), max_size=4), st.data())
def test_stream_cut_anywhere(frames: list[bytes], data: st.DataObject) -> None:
    joined = b"".join(frames)
    stream = NotificationStream()
    out: list[bytes] = []
    while joined:
        n = data.draw(st.integers(1, len(joined)))
        out += stream.feed(joined[:n], 0)
        joined = joined[n:]
    assert out == [SIGNED if item == frame.pad(SIGNED) else item for item in frames]
    assert (stream.resets, stream.stalled) == (0, 0)
    # Padding that comes in pieces is not known as such, and goes byte by byte.
    assert stream.dropped <= sum(len(item) - len(SIGNED) for item in frames if len(item) > len(SIGNED))


def test_partial_frame_is_given_up_after_a_quarter_of_a_second() -> None:
    stream = NotificationStream()
    assert stream.feed(HELLO[:10], 1000) == []
    assert stream.feed(HELLO[10:], 1250) == [HELLO]
    assert stream.feed(HELLO[:10], 2000) == []
    assert stream.feed(HELLO, 2251) == [HELLO]
    assert stream.stalled == 1


def test_the_clock_of_a_partial_frame_starts_with_it() -> None:
    stream = NotificationStream()
    assert stream.feed(HELLO[:10], 0) == []
    assert stream.feed(HELLO[10:] + HELLO[:10], 200) == [HELLO]
    assert stream.feed(HELLO[10:], 400) == [HELLO]


def test_zeros_at_the_end_are_nothing() -> None:
    stream = NotificationStream()
    assert stream.feed(HELLO + bytes(9), 0) == [HELLO]
    assert stream.held() == 0


@pytest.mark.parametrize(
    "absurd",
    [
        b"\x02" + bytes(11) + (1179761).to_bytes(4, "big") + bytes(8),
        b"\x01" + bytes(10) + b"\x04\x00\x01" + bytes(9),
        b"\x02" + bytes(10) + b"\x04\x00\x00\x00\x03" + bytes(9),
    ],
)
def test_absurd_header_throws_everything_away(absurd: bytes) -> None:
    stream = NotificationStream()
    assert stream.feed(HELLO + absurd + HELLO, 0) == [HELLO]
    assert (stream.resets, stream.held()) == (1, 0)
    assert stream.feed(HELLO, 0) == [HELLO]


def test_stream_is_bounded() -> None:
    stream = NotificationStream()
    # A route of 255 hops and the largest payload: nothing that is taken for a frame reaches the cap.
    start = b"\x02" + bytes(10) + b"\x00" + (1179760).to_bytes(4, "big") + bytes(8)
    stream.feed(start, 0)
    assert stream.held() == len(start)
    assert stream.feed(bytes(CAP), 0) == []
    assert (stream.resets, stream.held()) == (1, 0)


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_stream_of_anything_raises_nothing(chunks: list[bytes]) -> None:
    stream = NotificationStream()
    for now_ms, chunk in enumerate(chunks):
        stream.feed(chunk, now_ms)
        assert stream.held() <= sum(map(len, chunks))
