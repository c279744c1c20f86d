# The 13 bytes in front of a fragment's data (bitchat protocol, section 3.3). A relay forwards fragments one by one; it
# reads this header for the duplicate cache, and never puts the pieces together.
from shared_protocol.interpreter import const

STREAM_SIZE = const(8)
INDEX = const(8)
TOTAL = const(10)
ORIGINAL_TYPE = const(12)
HEADER_SIZE = const(13)
# What iOS takes; Android stops at 256.
MAX_TOTAL = const(10000)

E_FRAGMENT_SHORT = const(-1)
E_FRAGMENT_TOTAL = const(-2)
E_FRAGMENT_INDEX = const(-3)

REASONS = {
    E_FRAGMENT_SHORT: "shorter than a fragment header",
    E_FRAGMENT_TOTAL: "impossible number of fragments",
    E_FRAGMENT_INDEX: "fragment index beyond its total",
}


# (index, total, original type) of the fragment payload at buf[at:at + n], or a reason (negative). The stream id is
# buf[at:at + 8], the data begin at at + 13.
def parse(buf: bytes | bytearray | memoryview, at: int, n: int) -> tuple[int, int, int] | int:
    if n < HEADER_SIZE:
        return E_FRAGMENT_SHORT
    index = buf[at + INDEX] << 8 | buf[at + INDEX + 1]
    total = buf[at + TOTAL] << 8 | buf[at + TOTAL + 1]
    if total == 0 or total > MAX_TOTAL:
        return E_FRAGMENT_TOTAL
    if index >= total:
        return E_FRAGMENT_INDEX
    return index, total, buf[at + ORIGINAL_TYPE]


# The payload of one fragment packet. Raises ValueError for a stream id that is not 8 bytes or an index beyond the
# total.
def make(stream_id: bytes, index: int, total: int, original_type: int, data: bytes) -> bytes:
    if len(stream_id) != STREAM_SIZE:
        raise ValueError("stream id must be 8 bytes")
    if not 0 <= index < total <= MAX_TOTAL:
        raise ValueError("fragment index beyond its total")
    return stream_id + bytes((index >> 8, index & 255, total >> 8, total & 255, original_type)) + data
