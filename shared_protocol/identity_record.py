# The payload of an identity packet (type 0xB1): who somebody is, and the proof that it cost work. It binds the Ed25519
# key (PeerId) and the X25519 key (on-air id) of one owner. Fields are type u8, length u8, value; unknown ones are
# skipped, so that a newer release may add some. The last field is the owner's signature over all before it.
#
# parse() checks shape and sizes. Whether the signatures and the proof of work hold is for its caller to find out.
from shared_protocol.interpreter import const

SIGNING_KEY = const(1)
NOISE_KEY = const(2)
CHALLENGE_DATA = const(3)
CHALLENGE_TIMESTAMP = const(4)
CHALLENGE_EXPIRES_AT = const(5)
DIFFICULTY = const(6)
NONCE = const(7)
COMPUTED_AT = const(8)
CREATED_AT = const(9)
EXPIRES_AT = const(10)
REFRESH_COUNT = const(11)
POW_SIGNATURE = const(12)
RECORD_SIGNATURE = const(15)

SIGNATURE_SIZE = const(64)

# What is left of a 512-byte value beside a version 1 header, a recipient and the packet's own signature.
MAX_PAYLOAD = const(418)

# Keeps this signature from being taken for one over anything else.
DOMAIN = b"bitrelay identity record 1\0"

# type: (name, size in bytes, whether it is an unsigned integer). Times are Unix seconds.
FIELDS = {
    SIGNING_KEY: ("signing_key", 32, False),
    NOISE_KEY: ("noise_key", 32, False),
    CHALLENGE_DATA: ("challenge_data", 32, False),
    CHALLENGE_TIMESTAMP: ("challenge_timestamp", 8, True),
    CHALLENGE_EXPIRES_AT: ("challenge_expires_at", 8, True),
    DIFFICULTY: ("difficulty", 1, True),
    NONCE: ("nonce", 8, True),
    COMPUTED_AT: ("computed_at", 8, True),
    CREATED_AT: ("created_at", 8, True),
    EXPIRES_AT: ("expires_at", 8, True),
    REFRESH_COUNT: ("refresh_count", 4, True),
    POW_SIGNATURE: ("pow_signature", SIGNATURE_SIZE, False),
}

_FIELD_COUNT = const(12)
_SIGNATURE_FIELD = const(66)


# Everything but the record's own signature, from values by their names. Raises ValueError for what does not fit,
# KeyError for a value that is missing.
def body(values: "dict[str, int | bytes]") -> bytes:
    parts = []
    for kind in range(SIGNING_KEY, POW_SIGNATURE + 1):
        name, size, is_number = FIELDS[kind]
        value = values[name]
        if isinstance(value, int):
            # MicroPython's to_bytes would cut what is too long.
            if not is_number or value < 0 or value >> (8 * size):
                raise ValueError(name + " does not fit")
            value = value.to_bytes(size, "big")
        elif is_number or len(value) != size:
            raise ValueError(name + " does not fit")
        parts.append(bytes((kind, size)))
        parts.append(bytes(value))
    return b"".join(parts)


# What the record's signature covers.
def signed_part(body: bytes) -> bytes:
    return DOMAIN + body


# The payload: a body and the signature over its signed_part(). Raises ValueError.
def encode(body: bytes, record_signature: bytes) -> bytes:
    if len(record_signature) != SIGNATURE_SIZE or len(body) + _SIGNATURE_FIELD > MAX_PAYLOAD:
        raise ValueError("an identity record has a signature of 64 bytes and at most 418 bytes")
    return body + bytes((RECORD_SIGNATURE, SIGNATURE_SIZE)) + record_signature


# The values by their names, `record_signature`, and `body`, the bytes it covers as they came; None for a payload that
# is no record. Raises for no bytes whatever. A known field that is missing, comes twice or has another size, and
# anything behind the signature, make it none.
def parse(payload: bytes | bytearray | memoryview) -> "dict[str, int | bytes] | None":
    size = len(payload)
    if size > MAX_PAYLOAD:
        return None
    found: "dict[str, int | bytes]" = {}
    at = 0
    while at + 2 <= size:
        kind = payload[at]
        start = at + 2
        end = start + payload[at + 1]
        if end > size:
            return None
        if kind == RECORD_SIGNATURE:
            if end != size or end - start != SIGNATURE_SIZE or len(found) != _FIELD_COUNT:
                return None
            found["record_signature"] = bytes(payload[start:end])
            found["body"] = bytes(payload[:at])
            return found
        field = FIELDS.get(kind)
        if field is not None:
            name, wanted, is_number = field
            if end - start != wanted or name in found:
                return None
            value = bytes(payload[start:end])
            found[name] = int.from_bytes(value, "big") if is_number else value
        at = end
    return None
