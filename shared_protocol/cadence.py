# When a relay announces itself (bitchat protocol, section 1.8): at once when something changes, then at growing
# intervals, as Trickle (RFC 6206) does, up to the rhythm that an iPhone keeps with its neighbors. It never waits
# longer: a peer that is silent for 60 s is gone.
#
# Times are tenths of a second of a clock that does not go back.
from shared_protocol.interpreter import const

LEAST = const(10)  # between two announces, whatever happens
_CHANGES = const(100)  # between two changes that make one due: who comes and goes all the time must not make us shout
_FIRST = const(40)
_FEW = const(150)
_FEW_JITTER = const(40)
_MANY = const(300)
_MANY_JITTER = const(80)
_MANY_PEERS = const(6)
# While frames pass, somebody may be new behind a neighbor.
_BUSY = const(100)


class Cadence:
    # randint(low, high): uniform, both ends included.
    def __init__(self, randint) -> None:  # type: ignore[no-untyped-def]
        self._randint = randint
        self._interval = _FIRST
        self._sent_at = -LEAST
        self._due = 0
        self._changed_at = -_CHANGES

    # A neighbor came or went, or the name is another.
    def changed(self, now: int) -> None:
        due = max(now, self._sent_at + LEAST, self._changed_at + _CHANGES)
        if due < self._due or self._sent_at < 0:
            self._due = due
        self._changed_at = due
        self._interval = _FIRST

    # Whether an announce is due. peers: on the links; busy: frames came in the last 5 s.
    def is_due(self, now: int, peers: int, busy: bool) -> bool:
        if peers == 0:
            return False
        return now >= self._due or (busy and now - self._sent_at >= _BUSY)

    # One went out.
    def sent(self, now: int, peers: int) -> None:
        self._sent_at = now
        usual = _MANY if peers >= _MANY_PEERS else _FEW
        if self._interval < usual:
            self._due = now + self._interval
            self._interval *= 2
        else:
            jitter = _MANY_JITTER if peers >= _MANY_PEERS else _FEW_JITTER
            self._due = now + usual + int(self._randint(-jitter, jitter))
