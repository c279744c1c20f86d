# The golden vectors against shared_protocol, on either interpreter: one check per kind of vector.
import json
from binascii import hexlify, unhexlify
from hashlib import sha256

from shared_protocol import announce, ed25519, fragment, frame, ping, relay
from shared_protocol.dedup import DuplicateCache
from shared_protocol.stream import NotificationStream
from shared_protocol.urgency import is_urgent

# Who signed the vectors that we made: see the one of kind identity.
SEED = bytes(range(32))
SIGNING_KEY = unhexlify("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8")
ON_AIR_ID = unhexlify("a0289810032eb417")


def load(path):
    with open(path) as file:
        return json.load(file)


def bytes_of(vector):
    data = unhexlify(vector["hex"])
    if "fill" in vector:
        data += unhexlify(vector["fill"]["byte"]) * vector["fill"]["count"]
    return data


def check(vector):
    CHECKS[vector["kind"]](vector, vector["fields"])


def hexed(data):
    return hexlify(data).decode()


def check_packet(vector, fields):
    data = bytes_of(vector)
    header = frame.Header()
    length = header.parse(data, len(data))
    assert (length > 0) == vector["valid"], frame.REASONS.get(length, length)
    assert header.parse(memoryview(data), len(data)) == length
    # A slot is longer than what it holds.
    assert header.parse(bytearray(data) + bytearray(64), len(data)) == length
    if length < 0:
        assert length in frame.REASONS
        return
    assert length == header.frame_len == fields["frame_len"]
    for name in ("version", "type", "ttl", "flags"):
        assert getattr(header, name) == fields[name], name
    assert int.from_bytes(data[3:11], "big") == fields["timestamp"]
    assert hexed(data[header.sender_at : header.sender_at + 8]) == fields["sender"]
    assert bool(header.flags & frame.RSR) == fields["rsr"]
    check_places(data, header, fields)
    if "signing_preimage" in fields:
        assert hexed(frame.signing_preimage(data)) == fields["signing_preimage"]
        if data[header.sender_at : header.sender_at + 8] == ON_AIR_ID:
            check_signature(data, header, fields)
    check_encoding(data, header, fields)
    cache = DuplicateCache(4, secret=b"vectors")
    made = cache.remember(data, header, 1)
    assert made < 0
    assert cache.remember(data, header, 2) == -1 - made


# The vectors' own identity signs as RFC 8032 has it, so the same bytes come out.
def check_signature(data, header, fields):
    at = header.signature_at
    if not at:
        return
    image = frame.signing_preimage(data)
    right = fields.get("signature_valid", True)
    signature = data[at : at + 64]
    assert ed25519.finish(ed25519.verify_steps(SIGNING_KEY, image, signature)) == right
    assert (ed25519.finish(ed25519.sign_steps(SEED, SIGNING_KEY, image)) == signature) == right


def check_places(data, header, fields):
    at = header.recipient_at
    assert (hexed(data[at : at + 8]) if at else None) == fields.get("recipient")
    at = header.route_at
    hops = [hexed(data[at + 8 * i : at + 8 * i + 8]) for i in range(header.route_count)]
    assert hops == fields.get("route", [])
    at = header.signature_at
    assert (hexed(data[at : at + 64]) if at else None) == fields.get("signature")
    assert bool(header.flags & frame.COMPRESSED) == fields["compressed"] == bool(header.original_size)
    if header.original_size:
        assert header.original_size == fields["payload_len"]
    else:
        assert header.payload_len == fields["payload_len"]
        if "payload" in fields:
            at = header.payload_at
            assert hexed(data[at : at + header.payload_len]) == fields["payload"]
    assert frame.is_broadcast(data, header) == (fields.get("recipient", "f" * 16) == "f" * 16)


# What our encoder makes of the fields is the vector again, where the vector has nothing that an encoder would not
# write.
def check_encoding(data, header, fields):
    if "fill" in fields or header.flags & 0xE0 or (header.version == 1 and header.flags & frame.HAS_ROUTE):
        return
    at = header.payload_at + (2 if header.version == 1 else 4) * bool(header.original_size)
    encoded = frame.encode(
        header.type,
        header.ttl,
        fields["timestamp"],
        data[header.sender_at : header.sender_at + 8],
        data[at : header.payload_at + header.payload_len],
        version=header.version,
        recipient=unhexlify(fields["recipient"]) if "recipient" in fields else None,
        route=[unhexlify(hop) for hop in fields.get("route", [])],
        signature=unhexlify(fields["signature"]) if "signature" in fields else None,
        original_size=header.original_size,
        rsr=fields["rsr"],
    )
    assert encoded == data[: header.frame_len]
    if "pad_len" in fields and fields["pad_len"] + header.frame_len == len(data) and data[-1] == fields["pad_len"]:
        assert frame.pad(encoded) == data


def check_fragment(vector, fields):
    data = bytes_of(vector)
    # Behind something else, as it lies in a frame.
    parsed = fragment.parse(b"\x55" * 30 + data, 30, len(data))
    assert isinstance(parsed, tuple) == vector["valid"]
    if not isinstance(parsed, tuple):
        assert parsed in fragment.REASONS
        return
    if "index" in fields:
        assert parsed == (fields["index"], fields["total"], fields["original_type"])
    index, total, original_type = parsed
    assert fragment.make(data[:8], index, total, original_type, data[fragment.HEADER_SIZE :]) == data


def check_pad_size(vector, fields):
    assert frame.padded_length(fields["raw_len"]) == fields["wire_len"]
    assert len(frame.pad(bytes(fields["raw_len"]))) == fields["wire_len"]


def check_relay(vector, fields):
    data = bytearray(bytes_of(vector))
    header = frame.Header()
    assert header.parse(data, len(data)) > 0
    urgent = header.type == frame.TYPE_BOARD_POST and is_urgent(data, header.payload_at, header.payload_len)
    new_ttl, low, high = relay.decide(
        header.type,
        header.ttl,
        header.recipient_at != 0,
        False,
        bool(header.flags & frame.RSR),
        urgent,
        fields["degree"],
    )
    assert bool(new_ttl) == fields["relay"] == vector["valid"]
    if new_ttl:
        assert new_ttl == fields["new_ttl"]
        assert [low, high] == fields["jitter_ms"]
        frame.set_ttl(data, new_ttl)
        assert hexed(data) == fields["out_hex"]


def check_notify_stream(vector, fields):
    stream = NotificationStream()
    frames = []
    for chunk in fields["chunks"]:
        frames.extend(stream.feed(unhexlify(chunk), 0))
    assert [hexed(item) for item in frames] == fields["frames"]
    assert stream.dropped == len(fields["dropped"]) // 2
    assert bool(stream.resets) == fields["reset"]
    assert stream.held() == len(fields["leftover"]) // 2


def check_announce(vector, fields):
    parsed = announce.parse(bytes_of(vector))
    assert (parsed is not None) == vector["valid"]


def check_capabilities(vector, fields):
    data = bytes_of(vector)
    assert announce.decode_capabilities(data) == fields["value"]
    assert announce.encode_capabilities(fields["value"]) == data


def check_ping(vector, fields):
    data = bytes_of(vector)
    assert len(data) == ping.SIZE
    assert ping.encode(unhexlify(fields["nonce"]), fields["origin_ttl"]) == data
    assert ping.hops(data[8], fields["origin_ttl"]) == 1


def check_identity(vector, fields):
    secret = unhexlify(fields["x25519_private"])
    noise_key = ed25519.finish(ed25519.x25519_public_steps(secret))
    assert noise_key == bytes_of(vector)
    assert sha256(noise_key).digest()[:8] == unhexlify(fields["peer_id"]) == ON_AIR_ID
    seed = unhexlify(fields["ed25519_seed"])
    assert ed25519.finish(ed25519.public_key_steps(seed)) == unhexlify(fields["ed25519_public"]) == SIGNING_KEY


CHECKS = {
    "packet": check_packet,
    "fragment": check_fragment,
    "pad_size": check_pad_size,
    "relay": check_relay,
    "notify_stream": check_notify_stream,
    "announce": check_announce,
    "capabilities": check_capabilities,
    "ping": check_ping,
    "identity": check_identity,
}
