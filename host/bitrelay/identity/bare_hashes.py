"""What hashlib does on one core with nothing around it; run as a file of its own: it prints hashes per second.

Argument: for how many seconds.
"""

import hashlib
import sys
import time

AT_ONCE = 10_000


def hash_many() -> None:
    """AT_ONCE hashes of as many bytes as a proof of work has."""
    image = bytes(80)
    sha256 = hashlib.sha256
    for _ in range(AT_ONCE):
        sha256(image).digest()


def main() -> None:
    """Hash until the time is over."""
    begun = time.perf_counter()
    done = 0
    while time.perf_counter() - begun < float(sys.argv[1]):
        hash_many()
        done += AT_ONCE
    print(done / (time.perf_counter() - begun))


if __name__ == "__main__":
    main()
