"""The board's parser and the host's schema, written apart, say the same of any bytes."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vector_checks import bytes_of

from bitrelay.decode import FrameError, decode
from shared_protocol import frame

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bitchat.json").read_text())
SEEDS = [bytes_of(vector) for vector in VECTORS if vector["kind"] == "packet" and "fill" not in vector]

ids = st.binary(min_size=8, max_size=8)
FRAMES = st.fixed_dictionaries(
    {
        "type": st.integers(0, 255),
        "ttl": st.integers(0, 255),
        "timestamp": st.integers(0, 2**64 - 1),
        "sender": ids,
        "payload": st.binary(max_size=300),
        "version": st.sampled_from([1, 2]),
        "recipient": st.none() | ids | st.just(frame.BROADCAST),
        "signature": st.none() | st.binary(min_size=64, max_size=64),
        "rsr": st.booleans(),
    },
    optional={"route": st.lists(ids, max_size=5), "compress": st.just(True)},
)


def raw_deflate(payload: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(payload) + packer.flush()


def encoded(fields: dict[str, Any]) -> bytes:
    arguments = dict(fields)
    if arguments["version"] == 1:
        arguments.pop("route", None)
    if arguments.pop("compress", False) and arguments["payload"]:
        arguments["original_size"] = len(arguments["payload"])
        arguments["payload"] = raw_deflate(arguments["payload"])
    return frame.encode(**arguments)


def agree(data: bytes) -> None:
    header = frame.Header()
    length = header.parse(data, len(data))
    try:
        fields = decode(data)
    except FrameError as error:
        # A board does not inflate; everything else it refuses as well.
        assert length < 0 or "does not inflate" in error.reason, error.reason
        return
    assert length == header.frame_len == fields["frame_len"]
    assert header.version == fields["version"]
    assert header.type == fields["type"]
    assert header.ttl == fields["ttl"]
    assert header.flags == fields["flags"]
    assert data[frame.TIMESTAMP :][:8] == fields["timestamp"].to_bytes(8, "big")
    assert data[header.sender_at :][:8].hex() == fields["sender"]
    assert (data[header.recipient_at :][:8].hex() if header.recipient_at else None) == fields.get("recipient")
    assert (data[header.signature_at :][:64].hex() if header.signature_at else None) == fields.get("signature")
    hops = [data[header.route_at + 8 * i :][:8].hex() for i in range(header.route_count)]
    assert hops == fields.get("route", [])
    assert bool(header.flags & frame.RSR) is fields["rsr"]
    assert bool(header.flags & frame.COMPRESSED) is fields["compressed"]
    assert header.original_size == fields.get("original_size", 0)
    if not fields["compressed"]:
        assert header.payload_len == fields["payload_len"]
        assert data[header.payload_at :][: header.payload_len].hex() == fields["payload"]


@given(FRAMES)
def test_on_frames_we_encode(fields: dict[str, Any]) -> None:
    data = encoded(fields)
    agree(data)
    decoded = decode(data)
    for name in ("type", "ttl", "timestamp", "version", "rsr"):
        assert decoded[name] == fields[name]
    assert bytes.fromhex(decoded["payload"]) == fields["payload"]
    assert decoded["frame_len"] == len(data)
    assert decode(data + b"\x22" * 34) == decoded


@given(st.sampled_from(SEEDS) | FRAMES.map(encoded), st.data())
@settings(max_examples=400)
def test_on_mutated_frames(seed: bytes, data: st.DataObject) -> None:
    changed = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        if not changed:
            break
        # Where a header decides is where a change tells most.
        places = st.integers(0, len(changed) - 1) | st.sampled_from([0, 11, 12, 13, 14, 15]).filter(
            lambda at: at < len(changed)
        )
        changed[data.draw(places)] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            del changed[data.draw(st.integers(0, len(changed))) :]
    agree(bytes(changed))


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x01", b"\x02"]))
@settings(max_examples=300)
def test_on_random_bytes(data: bytes, version: bytes) -> None:
    agree(version + data)


@pytest.mark.parametrize("seed", range(0, len(SEEDS), 3))
def test_on_every_length_of_a_vector(seed: int) -> None:
    data = SEEDS[seed]
    for n in range(min(len(data), 130)):
        agree(data[:n])


TEXT = b"Meet at the north gate at nine. Bring water. " * 4


def packed(body: bytes, declared: int, version: int = 1) -> bytes:
    return frame.encode(2, 7, 5, b"sender01", body, version=version, original_size=declared)


@pytest.mark.parametrize("version", [1, 2])
def test_deflate_that_one_app_takes(version: int) -> None:
    # Android takes a zlib envelope; iOS stops at the declared size.
    for body, declared in (
        (raw_deflate(TEXT), len(TEXT)),
        (zlib.compress(TEXT), len(TEXT)),
        (raw_deflate(TEXT), len(TEXT) - 1),
        (raw_deflate(TEXT) + b"behind", len(TEXT)),
    ):
        fields = decode(packed(body, declared, version))
        assert fields["payload"] == TEXT[:declared].hex()
        assert fields["payload_len"] == fields["original_size"] == declared


@pytest.mark.parametrize(
    ("body", "declared"),
    [
        (raw_deflate(TEXT), len(TEXT) + 1),
        (raw_deflate(TEXT)[:-9], len(TEXT)),
        (zlib.compress(TEXT), len(TEXT) - 1),
        (zlib.compress(TEXT) + b"behind", len(TEXT)),
        (zlib.compress(TEXT)[:-1] + b"\0", len(TEXT)),
        (b"\xff" * 40, 100),
    ],
)
def test_deflate_that_no_app_takes(body: bytes, declared: int) -> None:
    with pytest.raises(FrameError, match="does not inflate"):
        decode(packed(body, declared))


def test_inflating_stops_at_the_declared_size() -> None:
    bomb = raw_deflate(bytes(50_000_000))
    assert decode(packed(bomb, 1000, 2))["payload_len"] == 1000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\x63", "unknown version 99"),
        (b"\x01\x02", "shorter than a header: 2 bytes"),
        (b"\x02" + bytes(11) + b"\xff\xff\xff\xff" + bytes(8), "absurd payload length, more than 10485760 bytes"),
        (b"\x01" + bytes(12) + b"\x05" + bytes(10), "truncated: 24 bytes end in the payload"),
        (b"\x01" + bytes(10) + b"\x02\0\0" + bytes(10), "truncated: 24 bytes end in the signature"),
        (b"\x01" + bytes(10) + b"\x01\0\0" + bytes(10), "truncated: 24 bytes end in the recipient"),
        (b"\x02" + bytes(10) + b"\x08\0\0\0\0" + bytes(8), "truncated: 24 bytes end in the route"),
        (b"\x02" + bytes(10) + b"\x08\0\0\0\0" + bytes(8) + b"\x02", "truncated: 25 bytes end in the route"),
        (b"\x01" + bytes(10) + b"\x04\0\x02" + bytes(10), "impossible compressed payload: "),
    ],
)
def test_reasons(data: bytes, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode(data)
    assert caught.value.reason.startswith(reason)
