"""The frame: what the parser finds, what it refuses and why, and what the encoder cannot write."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_protocol import frame

SENDER = b"sender01"
STAMP = 1786000000000


def parsed(data: bytes) -> frame.Header:
    header = frame.Header()
    assert header.parse(data, len(data)) > 0
    return header


def with_bytes(data: bytes, **at: int) -> bytes:
    changed = bytearray(data)
    for place, value in at.items():
        changed[int(place[1:])] = value
    return bytes(changed)


V1 = frame.encode(2, 7, STAMP, SENDER, b"hello")
V2 = frame.encode(2, 7, STAMP, SENDER, b"hello", version=2)
ROUTED = frame.encode(17, 7, STAMP, SENDER, b"hello", version=2, recipient=b"r" * 8, route=[b"a" * 8, b"b" * 8])
PACKED_V1 = frame.encode(2, 7, STAMP, SENDER, b"\x03\x00", original_size=180)
PACKED_V2 = frame.encode(2, 7, STAMP, SENDER, b"\x03\x00", original_size=180, version=2)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", frame.E_EMPTY),
        (V1[:21], frame.E_SHORT),
        (V2[:23], frame.E_SHORT),
        (b"\x00", frame.E_VERSION),
        (with_bytes(V1, _0=3), frame.E_VERSION),
        (with_bytes(V2, _12=1), frame.E_LENGTH),
        # 10,485,761 bytes, one more than Android's limit.
        (with_bytes(V2, _13=0xA0, _14=0, _15=1), frame.E_LENGTH),
        (with_bytes(V2, _13=0xA0, _14=0, _15=0), frame.E_TRUNCATED),
        (V1[:-1], frame.E_TRUNCATED),
        (with_bytes(V1, _11=frame.HAS_SIGNATURE), frame.E_TRUNCATED),
        (ROUTED[:32], frame.E_ROUTE),
        (ROUTED[:48], frame.E_ROUTE),
        (with_bytes(ROUTED, _32=255), frame.E_ROUTE),
        (with_bytes(PACKED_V1, _13=2), frame.E_COMPRESSED),
        (with_bytes(PACKED_V2, _15=4), frame.E_COMPRESSED),
        (with_bytes(PACKED_V1, _22=0, _23=0), frame.E_COMPRESSED),
        (with_bytes(PACKED_V2, _24=1), frame.E_COMPRESSED),
        (with_bytes(PACKED_V2, _25=0xA0, _26=0, _27=1), frame.E_COMPRESSED),
        # 2 bytes of deflate may stand for 100,000.
        (with_bytes(PACKED_V2, _25=1, _26=0x86, _27=0xA1), frame.E_COMPRESSED),
    ],
)
def test_refused(data: bytes, reason: int) -> None:
    assert frame.Header().parse(data, len(data)) == reason
    assert frame.REASONS[reason]


def test_ratio_at_the_limit() -> None:
    assert parsed(with_bytes(PACKED_V2, _25=1, _26=0x86, _27=0xA0)).original_size == 100_000


def test_a_frame_longer_than_the_bytes_received_is_truncated_though_the_slot_goes_on() -> None:
    slot = bytearray(512)
    slot[: len(V1)] = V1
    assert frame.Header().parse(slot, len(V1)) == len(V1)
    assert frame.Header().parse(slot, len(V1) - 1) == frame.E_TRUNCATED


def test_an_instance_keeps_nothing_of_the_frame_before() -> None:
    header = frame.Header()
    signed = frame.encode(2, 7, STAMP, SENDER, b"\x03\x00", recipient=b"r" * 8, signature=bytes(64), original_size=9)
    for data in (signed, ROUTED):
        header.parse(data, len(data))
        header.parse(V1, len(V1))
        assert vars(header) == vars(parsed(V1))


def test_places() -> None:
    header = parsed(ROUTED)
    assert ROUTED[header.sender_at :][:8] == SENDER
    assert ROUTED[header.recipient_at :][:8] == b"r" * 8
    assert ROUTED[header.route_at :][:16] == b"a" * 8 + b"b" * 8
    assert ROUTED[header.payload_at :][: header.payload_len] == b"hello"


def test_route_of_no_hops() -> None:
    data = bytearray(V2[:24] + b"\0" + V2[24:])
    data[frame.FLAGS] |= frame.HAS_ROUTE
    header = parsed(bytes(data))
    assert (header.route_at, header.route_count, header.payload_at) == (0, 0, 25)
    # The apps encode it without its count when they verify.
    assert frame.signing_preimage(data) == frame.signing_preimage(V2)


def test_ttl_and_rsr_are_rewritten_in_place_and_not_signed() -> None:
    data = bytearray(ROUTED)
    frame.set_ttl(data, 3)
    frame.set_rsr(memoryview(data))
    header = parsed(bytes(data))
    assert (header.ttl, header.flags & frame.RSR) == (3, frame.RSR)
    assert [i for i in range(len(data)) if data[i] != ROUTED[i]] == [frame.TTL, frame.FLAGS]
    assert frame.signing_preimage(data) == frame.signing_preimage(ROUTED)


def test_flags_that_encoders_do_not_know_are_kept_and_not_signed() -> None:
    data = with_bytes(V1, _11=0xE0 | frame.HAS_ROUTE)
    assert parsed(data).flags == 0xE8
    assert frame.signing_preimage(data) == frame.signing_preimage(V1)


def test_signing_preimage_of_no_frame() -> None:
    with pytest.raises(ValueError, match="truncated"):
        frame.signing_preimage(V1[:-1])


@pytest.mark.parametrize(
    ("recipient", "broadcast"), [(None, True), (b"\xff" * 8, True), (b"\xff" * 7 + b"\xfe", False), (b"r" * 8, False)]
)
def test_broadcast(recipient: bytes | None, broadcast: bool) -> None:
    data = frame.encode(2, 7, STAMP, SENDER, b"", recipient=recipient)
    assert frame.is_broadcast(data, parsed(data)) is broadcast


@pytest.mark.parametrize(
    "arguments",
    [
        {"version": 3},
        {"route": [b"a" * 8]},
        {"version": 2, "route": [b"a" * 7]},
        {"version": 2, "route": [b"a" * 8] * 256},
        {"recipient": b"short"},
        {"signature": bytes(63)},
        {"sender": b"nine byte"},
        {"timestamp": bytes(7)},
        {"payload": bytes(65_536)},
        {"payload": bytes(65_534), "original_size": 65_535},
        {"payload": bytes(10_485_761), "version": 2},
    ],
)
def test_what_no_frame_carries(arguments: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"type": 2, "ttl": 7, "timestamp": STAMP, "sender": SENDER, "payload": b""}
    with pytest.raises(ValueError):
        frame.encode(**usual | arguments)


def test_timestamp_as_it_travels() -> None:
    assert frame.encode(2, 7, STAMP.to_bytes(8, "big"), SENDER, b"hello") == V1


@pytest.mark.parametrize(
    ("length", "padded"),
    [(22, 256), (240, 256), (241, 241), (256, 256), (257, 512), (496, 512), (497, 497), (768, 768), (769, 1024)]
    + [(1008, 1024), (1009, 1009), (1792, 1792), (1793, 2048), (2032, 2048), (2033, 2033), (5000, 5000)],
)
def test_padding_buckets(length: int, padded: int) -> None:
    assert frame.padded_length(length) == padded
    tail = frame.pad(bytes(length))[length:]
    assert tail == bytes([padded - length]) * (padded - length)


@given(st.binary(max_size=600), st.integers(0, 600))
def test_no_bytes_raise(data: bytes, n: int) -> None:
    length = frame.Header().parse(data, min(n, len(data)))
    assert length in frame.REASONS or frame.MIN_FRAME <= length <= len(data)
