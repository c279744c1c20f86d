# How many announces a link may bring. Each is forwarded to all others and may be verified, and nothing else is as cheap
# to make up. A phone that passes on the announces of sixty others every 15 s brings four a second; a relay may have
# many such phones behind it.
#
# A bucket for each link holds a debt that time pays off, in units of 25 ms, of which so many bits are kept that nothing
# gets wider than a small int.
from array import array

from shared_protocol.interpreter import const

_PER_TENTH = const(4)
_COST = const(10)  # four a second
_RELAY_COST = const(2)  # twenty
_LIMIT = const(120)  # twelve at once, or sixty
_MASK = const(0xFFFFFFF)


class AnnounceRate:
    def __init__(self, links: int) -> None:
        self._paid_at = array("i", bytes(4 * links))

    # Whether one more that comes on this link is let through. now: tenths of a second of a clock that does not go back.
    def admit(self, link: int, to_relay: bool, now: int) -> bool:
        now = now * _PER_TENTH & _MASK
        debt = self._paid_at[link] - now & _MASK
        # More than it can owe means that it was paid long ago.
        debt = (debt if debt <= _LIMIT else 0) + (_RELAY_COST if to_relay else _COST)
        if debt > _LIMIT:
            return False
        self._paid_at[link] = now + debt & _MASK
        return True
