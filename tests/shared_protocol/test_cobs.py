"""The console's framing: any bytes come through, and a reader finds its feet after any noise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_checks import read

from shared_protocol import cobs

BODY = b"\x01\x00\x01"
bodies = st.binary(min_size=1, max_size=700) | st.integers(1, 700).map(bytes)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # The examples of the paper and of Wikipedia's table.
        (b"", "01"),
        (b"\0", "0101"),
        (b"\0\0", "010101"),
        (b"\x11\x22\0\x33", "0311220233"),
        (b"\x11\x22\x33\x44", "0511223344"),
        (b"\x11\0\0\0", "0211010101"),
        (bytes(range(1, 255)), "ff" + bytes(range(1, 255)).hex()),
        (bytes(range(255)), "01ff" + bytes(range(1, 255)).hex()),
        (bytes(range(1, 256)), "ff" + bytes(range(1, 255)).hex() + "02ff"),
        (bytes(range(2, 256)) + b"\0", "ff" + bytes(range(2, 256)).hex() + "0101"),
        (bytes(range(3, 256)) + b"\0\x01", "fe" + bytes(range(3, 256)).hex() + "0201"),
    ],
)
def test_known_encodings(data: bytes, expected: str) -> None:
    out = bytearray(cobs.encoded_size(len(data)))
    n = cobs.encode(data, out)
    assert out[:n].hex() == expected
    back = bytearray(n)
    assert back[: cobs.decode(out, n, back)] == data
    # In place, too.
    assert out[: cobs.decode(out, n, out)] == data


@pytest.mark.parametrize("bad", [b"", b"\0", b"\x02", b"\x03\x11", b"\x02\x11\0", b"\x03\x11\0", b"\xff\x01"])
def test_what_is_no_cobs(bad: bytes) -> None:
    assert cobs.decode(bad, len(bad), bytearray(300)) == -1


@given(st.binary(max_size=700))
def test_any_bytes_come_back(data: bytes) -> None:
    out = bytearray(cobs.encoded_size(len(data)))
    n = cobs.encode(data, out)
    assert 0 not in out[:n]
    assert out[: cobs.decode(out, n, out)] == data


@given(st.binary(max_size=300))
def test_decoding_any_bytes_raises_nothing(data: bytes) -> None:
    assert -1 <= cobs.decode(data, len(data), bytearray(len(data))) <= len(data)


@given(st.lists(bodies, max_size=5))
def test_frames_one_after_the_other(sent: list[bytes]) -> None:
    reader = cobs.FrameReader(700)
    assert read(reader, b"".join(map(cobs.wrap, sent))) == sent
    assert reader.bad == 0


@given(st.lists(bodies, min_size=1, max_size=5))
def test_of_frames_that_share_their_borders_every_other_one_arrives(sent: list[bytes]) -> None:
    # The wire has two borders a frame. With one, the reader is outside of frames after each good one.
    reader = cobs.FrameReader(700)
    shared = b"\0" + b"\0".join(cobs.wrap(body)[1:-1] for body in sent) + b"\0"
    assert read(reader, shared) == sent[::2]
    assert reader.bad == 0


@given(st.binary(max_size=300), bodies)
def test_a_frame_after_any_noise_arrives(noise: bytes, body: bytes) -> None:
    reader = cobs.FrameReader(700)
    frames = read(reader, noise + cobs.wrap(body))
    assert frames[-1:] == [body]


@given(bodies, st.data())
def test_a_damaged_frame_never_arrives_as_something_else(body: bytes, data: st.DataObject) -> None:
    wire = bytearray(cobs.wrap(body))
    at = data.draw(st.integers(1, len(wire) - 2))
    wire[at] ^= data.draw(st.integers(1, 255))
    reader = cobs.FrameReader(700)
    assert read(reader, wire) == []
    assert reader.bad >= 1
    assert read(reader, cobs.wrap(BODY)) == [BODY]


def test_bytes_outside_of_frames_are_not_the_readers() -> None:
    reader = cobs.FrameReader(100)
    for byte in b"rst:0x1 (POWERON_RESET)\r\n\x03\x03":
        assert reader.feed(byte) == 0
        assert not reader.in_frame
    assert read(reader, cobs.wrap(BODY)) == [BODY]
    assert not reader.in_frame
    assert reader.bad == 0


def test_a_frame_longer_than_the_limit_is_bad_and_the_next_is_not() -> None:
    reader = cobs.FrameReader(20)
    assert read(reader, cobs.wrap(bytes(20))) == [bytes(20)]
    assert read(reader, cobs.wrap(bytes(21))) == []
    assert read(reader, b"\0" + b"\x11" * 5000 + b"\0") == []
    assert reader.bad == 2
    assert len(reader.buf) == 24
    assert read(reader, cobs.wrap(BODY)) == [BODY]


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x01\x02\x03"])
def test_too_short_for_a_crc(body: bytes) -> None:
    out = bytearray(10)
    n = cobs.encode(body, out)
    reader = cobs.FrameReader(20)
    assert read(reader, b"\0" + bytes(out[:n]) + b"\0") == []
    assert reader.bad == 1


def test_an_empty_body_is_no_frame() -> None:
    reader = cobs.FrameReader(20)
    assert read(reader, cobs.wrap(b"")) == []


def test_abandon_leaves_the_frame() -> None:
    reader = cobs.FrameReader(20)
    # Noise with a zero in it: the reader takes what follows for a frame until told otherwise.
    for byte in b"\0":
        reader.feed(byte)
    assert reader.in_frame
    reader.abandon()
    assert not reader.in_frame
    assert reader.bad == 0
    for byte in b"\0\x05ab":
        reader.feed(byte)
    reader.abandon()
    assert not reader.in_frame
    assert reader.bad == 1
    assert read(reader, cobs.wrap(BODY)) == [BODY]
