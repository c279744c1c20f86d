# Whether a board post asks for more hops (bitchat protocol, section 2.9, type 0x23): TLV of tag u8, length u16, value.
from shared_protocol.interpreter import const

_FLAGS_TAG = const(9)
_URGENT = const(1)


# Looks for the flags among the `n` payload bytes of `buf` from `at` on. Raises for no bytes whatever.
def is_urgent(buf: bytes | bytearray | memoryview, at: int, n: int) -> bool:
    end = at + n
    while at + 3 <= end:
        size = buf[at + 1] << 8 | buf[at + 2]
        if buf[at] == _FLAGS_TAG:
            return 1 <= size <= end - at - 3 and buf[at + 3] & _URGENT != 0
        at += 3 + size
    return False
