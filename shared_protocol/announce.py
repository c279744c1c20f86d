# What an announce says about its author (bitchat protocol, section 3.1): type u8, length u8, value.
from shared_protocol.interpreter import const

NICKNAME = const(1)
NOISE_KEY = const(2)
SIGNING_KEY = const(3)
NEIGHBORS = const(4)
CAPABILITIES = const(5)
GEOHASH = const(6)

_KEY_SIZE = const(32)
_ID_SIZE = const(8)

# A payload of this length is never compressed, so that its signature does not depend on whose deflate encodes it again
# (section 1.8).
LONGEST_OWN = const(99)
_NEIGHBORS_MOST = const(10)


# The fields nickname (text), noise_key and signing_key (32 bytes), and where present neighbors (list of 8-byte ids),
# capabilities (bits as an integer), geohash (text) and unknown (list of (type, value)); None for a payload the apps
# refuse. Raises for no bytes whatever. Of a field that comes twice the last one counts.
def parse(payload: bytes | bytearray | memoryview) -> "dict[str, object] | None":
    found: "dict[str, object]" = {}
    unknown = []
    at = 0
    size = len(payload)
    while at < size:
        if at + 2 > size:
            return None
        kind = payload[at]
        end = at + 2 + payload[at + 1]
        if end > size:
            return None
        value = bytes(payload[at + 2 : end])
        at = end
        if kind == NICKNAME or kind == GEOHASH:
            try:
                found["nickname" if kind == NICKNAME else "geohash"] = str(value, "utf-8")
            except UnicodeError:
                return None
        elif kind == NOISE_KEY or kind == SIGNING_KEY:
            if len(value) != _KEY_SIZE:
                return None
            found["noise_key" if kind == NOISE_KEY else "signing_key"] = value
        elif kind == NEIGHBORS:
            # As iOS does: a list that is no multiple of an id says nothing. There are no neighbors then, and no harm.
            if len(value) % _ID_SIZE == 0:
                found["neighbors"] = [value[i : i + _ID_SIZE] for i in range(0, len(value), _ID_SIZE)]
        elif kind == CAPABILITIES:
            bits = decode_capabilities(value)
            if bits is not None:
                found["capabilities"] = bits
        else:
            unknown.append((kind, value))
    if "nickname" not in found or "noise_key" not in found or "signing_key" not in found:
        return None
    if unknown:
        found["unknown"] = unknown
    return found


# Capability bits in as few little-endian bytes as hold them, at least one.
def encode_capabilities(bits: int) -> bytes:
    raw = bytearray()
    while bits or not raw:
        raw.append(bits & 255)
        bits >>= 8
    return bytes(raw)


# The bits, those nobody has named included; None for no bytes at all.
def decode_capabilities(raw: bytes) -> int | None:
    return int.from_bytes(raw, "little") if raw else None


# How many neighbors fit beside a nickname of so many bytes in a payload that is never compressed.
def neighbors_beside(nickname_size: int) -> int:
    left = LONGEST_OWN - (2 + nickname_size) - 2 * (2 + _KEY_SIZE) - 2
    return max(0, min(_NEIGHBORS_MOST, left // _ID_SIZE))


# The payload of an announce: nickname as UTF-8, keys of 32 bytes, and of the neighbors' 8-byte ids as many as fit.
def encode(nickname: bytes, noise_key: bytes, signing_key: bytes, neighbors: "list[bytes]") -> bytes:
    payload = bytes((NICKNAME, len(nickname))) + nickname
    payload += bytes((NOISE_KEY, _KEY_SIZE)) + noise_key + bytes((SIGNING_KEY, _KEY_SIZE)) + signing_key
    listed = neighbors[: neighbors_beside(len(nickname))]
    if listed:
        payload += bytes((NEIGHBORS, _ID_SIZE * len(listed))) + b"".join(listed)
    return payload
