"""Sends well-signed questions to a node on this computer, as many a second as it is told: `dht_flood` runs it apart.

python -m bitrelay.bench.dht_flooder PORT NODE_ID ADDRESSES RATE SECONDS
"""

import os
import socket
import sys
import time

from ..dht.messages import FindNode
from ..dht.wire import NO_COOKIE, TRANSACTION_SIZE, Signer
from ..identity.keys import IdentityKeys

_SIGNERS = 20
_READY = 2_000


def source(number: int) -> str:
    """A loopback address; Linux has 16 million of them."""
    return f"127.{1 + number // 65025}.{number // 255 % 255}.{1 + number % 255}" if number else "127.0.0.1"


def flood(port: int, node_id: bytes, addresses: int, rate: int, seconds: float) -> int:
    """Send so many questions a second for so long, from so many addresses in turn; how many were sent."""
    signers = [Signer(IdentityKeys.fresh(), time.time) for _ in range(_SIGNERS)]
    ready = [
        signers[number % _SIGNERS].seal(FindNode(os.urandom(32)), node_id, os.urandom(TRANSACTION_SIZE), NO_COOKIE)
        for number in range(_READY)
    ]
    begun, sent = time.monotonic(), 0
    while (passed := time.monotonic() - begun) < seconds:
        for _ in range(int(passed * rate) - sent):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.bind((source(sent % addresses), 0))
                out.sendto(ready[sent % _READY], ("127.0.0.1", port))
            sent += 1
        time.sleep(0.002)
    return sent


if __name__ == "__main__":
    _port, _addresses, _rate = int(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
    print(flood(_port, bytes.fromhex(sys.argv[2]), _addresses, _rate, float(sys.argv[5])))
