# The hello: how a peer says which versions it speaks. It is the payload of packet type 0xB0, which is sent to the other
# end of a link and not relayed.
#
#   0  version      3 bytes: major, minor, patch
#   3  minimum      3 bytes: the lowest version still spoken in full
#   6  features     u32: the bits of versions.py, those nobody has named included
#   10 fields       type u8, length u8, value; unknown types are skipped
#
# The first ten bytes stay as they are in all versions to come, whatever the major: else two peers could not find out
# that they do not understand one another. A hello of version 1.0.0 has no fields.
from shared_protocol import versions
from shared_protocol.interpreter import const

ON_AIR_ID = const(1)
PEER_ID = const(2)
CAPABILITIES = const(3)

FIXED_SIZE = const(10)
# Ours has 57 bytes; what is longer than this is no hello.
MAX_SIZE = const(255)
# It goes to the end of the link and no further.
TTL = const(1)

_SIZES = {ON_AIR_ID: 8, PEER_ID: 32, CAPABILITIES: 1}
_NAMES = {ON_AIR_ID: "on_air_id", PEER_ID: "peer_id", CAPABILITIES: "capabilities"}


# A payload. on_air_id: 8 bytes, peer_id: 32 bytes, capabilities: 0 to 255, the bits of the advertisement. Raises
# ValueError for what the format cannot carry.
def encode(
    version: tuple[int, int, int] = versions.CURRENT,
    minimum: tuple[int, int, int] = versions.MINIMUM,
    features: int | None = None,
    on_air_id: bytes | None = None,
    peer_id: bytes | None = None,
    capabilities: int | None = None,
) -> bytes:
    if features is None:
        features = versions.features_of(version)
    if minimum > version or not 0 <= features <= 0xFFFFFFFF:
        raise ValueError("a minimum above the version, or features beyond 32 bits")
    parts = [bytes(version), bytes(minimum), features.to_bytes(4, "big")]
    flags = None if capabilities is None else bytes((capabilities,))
    for kind, value in ((ON_AIR_ID, on_air_id), (PEER_ID, peer_id), (CAPABILITIES, flags)):
        if value is not None:
            if len(value) != _SIZES[kind]:
                raise ValueError(_NAMES[kind] + " must be " + str(_SIZES[kind]) + " bytes")
            parts.append(bytes((kind, len(value))) + value)
    return b"".join(parts)


# version, minimum (tuples), features (bits), and where present on_air_id, peer_id (bytes), capabilities (bits); None
# for what is no hello. Raises for no bytes whatever. Of a field that comes twice the last one counts, and one that is
# longer than we know it is cut: a later version may have added to its end.
def parse(payload: bytes | bytearray | memoryview) -> "dict[str, object] | None":
    size = len(payload)
    if not FIXED_SIZE <= size <= MAX_SIZE:
        return None
    found: "dict[str, object]" = {
        "version": (payload[0], payload[1], payload[2]),
        "minimum": (payload[3], payload[4], payload[5]),
        "features": int.from_bytes(bytes(payload[6:FIXED_SIZE]), "big"),
    }
    at = FIXED_SIZE
    while at < size:
        if at + 2 > size:
            return None
        kind = payload[at]
        end = at + 2 + payload[at + 1]
        if end > size:
            return None
        if kind in _SIZES:
            value = bytes(payload[at + 2 : at + 2 + _SIZES[kind]])
            if at + 2 + _SIZES[kind] > end:
                return None
            found[_NAMES[kind]] = value[0] if kind == CAPABILITIES else value
        at = end
    return found


# What two hellos lead to: negotiate()'s (version, features, mode), the same at both ends. Both payloads must be such
# that parse() takes them; only their fixed part matters.
def agree(
    own: bytes | bytearray | memoryview, other: bytes | bytearray | memoryview
) -> tuple[tuple[int, int, int], int, int]:
    return versions.negotiate(
        (own[0], own[1], own[2]),
        (other[0], other[1], other[2]),
        (own[3], own[4], own[5]),
        (other[3], other[4], other[5]),
        int.from_bytes(bytes(own[6:FIXED_SIZE]), "big") & int.from_bytes(bytes(other[6:FIXED_SIZE]), "big"),
    )
