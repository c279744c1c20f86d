# Ping and pong (bitchat protocol, section 3.5): 9 bytes, of which the pong has the ping's nonce and a hop count's start
# of its own. Bytes behind them are tolerated.
from array import array

from shared_protocol.interpreter import const

NONCE_SIZE = const(8)
SIZE = const(9)

# What iOS answers on one link: so many within so many tenths of a second.
MOST = const(5)
_WITHIN = const(100)


# The payload of a ping or pong that starts with this TTL.
def encode(nonce: bytes | bytearray | memoryview, ttl: int) -> bytes:
    return bytes(nonce[:NONCE_SIZE]) + bytes((ttl,))


# Hops between the author and us: a direct neighbor is one hop away. None for what no pong says.
def hops(origin_ttl: int, received_ttl: int) -> int | None:
    count = origin_ttl - received_ttl + 1
    return count if 1 <= count <= 255 else None


class PingBudget:
    # How many pings of each link are answered: the moments of the last ones, tenths of a second.
    def __init__(self, links: int) -> None:
        self._answered = array("i", [-_WITHIN] * (MOST * links))
        self._next = bytearray(links)

    # Whether this one, on a link of this number, is answered.
    def take(self, link: int, now: int) -> bool:
        at = MOST * link + self._next[link]
        if now - self._answered[at] < _WITHIN:
            return False
        self._answered[at] = now
        self._next[link] = (self._next[link] + 1) % MOST
        return True
