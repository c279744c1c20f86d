"""One process of a mining run; run as a file of its own, so it imports nothing but the standard library.

Arguments: the hash's input with nonce 0, in hex; difficulty; first nonce; how many nonces a block has; this worker's
first block; how many blocks it goes on by; the process it works for. It writes "." per block without a solution, then
"!" and the nonce as 16 hex digits, and ends when nobody reads that any more.
"""

import hashlib
import os
import sys
from collections.abc import Callable

_NONCE_AT = 32
_LAST_BYTE = 39
_NONCE_END = 40
_HIGH_MASK = (1 << 56) - 1

Search = Callable[[int, int], int | None]


def searcher(image: bytes, difficulty: int) -> Search:
    """What looks through (first nonce, count), both multiples of 256, and returns a solution or None.

    image: the 80 bytes that are hashed, whatever the nonce in them. After 2**64 - 1 comes 0.
    """
    highest_hash = ((1 << (256 - difficulty)) - 1).to_bytes(32, "big")

    def search(first: int, count: int) -> int | None:
        # Names of the function's own are quicker than all others.
        sha256, highest, last, buffer = hashlib.sha256, highest_hash, _LAST_BYTE, bytearray(image)
        for high in range(first >> 8, (first + count) >> 8):
            buffer[_NONCE_AT:_LAST_BYTE] = (high & _HIGH_MASK).to_bytes(7, "big")
            # The loop writes the nonce's last byte by itself: nothing else is done but to hash and to compare. A hash
            # state copied behind the challenge data would be slower: it saves less than a block of 64 bytes.
            for buffer[last] in range(256):
                if sha256(buffer).digest() <= highest:
                    return int.from_bytes(buffer[_NONCE_AT:_NONCE_END], "big")
        return None

    return search


def main() -> None:
    """Search until a solution is found or the process that wants it has gone."""
    image, numbers = bytes.fromhex(sys.argv[1]), [int(text) for text in sys.argv[2:]]
    difficulty, first, block, index, stride, parent = numbers
    search = searcher(image, difficulty)
    try:
        while os.getppid() == parent:
            nonce = search(first + index * block, block)
            if nonce is not None:
                os.write(1, b"!%016x" % nonce)
                return
            os.write(1, b".")
            index += stride
    except BrokenPipeError:
        return


if __name__ == "__main__":
    main()
