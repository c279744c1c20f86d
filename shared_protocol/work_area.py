# The memory that the duplicate cache's inner loops share, whichever file they come from (scan_viper.py, scan_plain.py).
#
# `work` is 56 bytes, twice seven words of 32 bits (the machine's order, which is little-endian on all that we run on):
#   0-3   the state that hash8 begins with, made of the secret by key_work
#   4     all ones
#   5-11  the head of what is hashed: sender, moment, rest (8 bytes each), then what the caller puts
#   12-13 the hash
#
# `chains` are 16-bit words: for each of BUCKETS first the newest entry whose hash begins with that byte, then for each
# entry the next older one of its bucket.
from shared_protocol.interpreter import const

HEAD = const(20)
HEAD_SIZE = const(28)
HASH = const(48)
WORK_SIZE = const(56)

BUCKETS = const(256)
END = const(0xFFFF)  # of a chain
APART = const(0xFFFE)  # the entry is in no chain

_MASK = const(0xFFFFFFFF)


# Begins a work area with an 8-byte key.
def key_work(work: bytearray, key: bytes) -> None:
    k0 = int.from_bytes(key[:4], "little")
    k1 = int.from_bytes(key[4:8], "little")
    # The constants are those of HalfSipHash; 0xEE asks for 64 bits of hash.
    for i, word in enumerate((k0, k1 ^ 0xEE, k0 ^ 0x6C796765, k1 ^ 0x74656462, _MASK)):
        work[4 * i : 4 * i + 4] = word.to_bytes(4, "little")
