# What a BitCraps node tells in its scan response, 13 bytes of service data (docs/protocol.md, "On the air"): whether to
# link with it is decided before a link is made. UUID, header and these fill the 31 bytes of an advertisement.
from shared_protocol.interpreter import const

# The BitCraps service, 12345678-1234-5678-1234-567812345678, as it lies in an advertisement: the last byte first.
SERVICE_BYTES = b"\x78\x56\x34\x12\x78\x56\x34\x12\x78\x56\x34\x12\x78\x56\x34\x12"

SIZE = const(13)
UNKNOWN = const(255)  # a load or a number of free links that is not told
MAX_LOAD = const(100)

GAMING = const(0x01)
MESH_ROUTING = const(0x02)
TOKENS = const(0x04)

_ID_SIZE = const(8)
_ID_AT = const(3)
_LOAD_AT = const(11)
_FREE_AT = const(12)


# The service data. major, minor: of the version spoken; on_air_id: 8 bytes, all zero while there are no keys; load:
# percent; free_links: places for more links. Raises ValueError for what the format cannot carry.
def encode(major: int, minor: int, capabilities: int, on_air_id: bytes, load: int, free_links: int) -> bytes:
    if len(on_air_id) != _ID_SIZE:
        raise ValueError("on_air_id must be 8 bytes")
    if load > MAX_LOAD and load != UNKNOWN:
        raise ValueError("load must be a percentage, or 255 for unknown")
    for value in (major, minor, capabilities, load, free_links):
        if not 0 <= value <= 255:
            raise ValueError("a field must be from 0 to 255")
    return bytes((major, minor, capabilities)) + on_air_id + bytes((load, free_links))


# (major, minor, capabilities, on-air id, load, free links), or None for fewer bytes than there must be. Bytes behind
# them are of a newer format. A load that is no percentage says nothing: it is unknown. Raises for no bytes whatever.
def parse(data: bytes | bytearray | memoryview) -> "tuple[int, int, int, bytes, int, int] | None":
    if len(data) < SIZE:
        return None
    load = data[_LOAD_AT]
    if load > MAX_LOAD:
        load = UNKNOWN
    return data[0], data[1], data[2], bytes(data[_ID_AT:_LOAD_AT]), load, data[_FREE_AT]
