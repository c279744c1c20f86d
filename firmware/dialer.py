# Whom to dial: a table of the peers heard advertising, and the choice among them.
#
# Relays keep a public address, phones change theirs. Two relays that hear one another need one link, so the one with
# the higher address dials at once and the other only if nothing came of it. A phone dials by itself when it can; one
# that does not is dialled after a while, and never takes the last place that relays may dial from.
from micropython import const

from firmware.links import RELAY_ADDRESS_TYPE

CANDIDATES = const(8)
# Times are tenths of a second (clock.py).
_FORGET = const(300)
_RELAY_GRACE = const(40)  # for the relay with the higher address to dial us
_PHONE_GRACE = const(60)  # for a phone to dial us
_BACKOFF = const(10)  # doubles with every failure
_MAX_FAILURES = const(5)


class Candidate:
    def __init__(self):
        self.used = False
        self.address = bytearray(6)
        self.address_type = 0
        self.rssi = 0
        self.first_seen = 0
        self.last_seen = 0
        self.failures = 0
        self.failed_at = 0
        self.wait = 0


class Dialer:
    # randint(low, high): uniform, both ends included.
    def __init__(self, own_address, randint):
        self.own_address = own_address
        self.randint = randint
        self.table = [Candidate() for _ in range(CANDIDATES)]

    def find(self, address):
        for one in self.table:
            if one.used and one.address == address:
                return one
        return None

    # Handler side: a bitchat advertisement was heard. `address` is reused by the stack and is copied here.
    def heard(self, address_type, address, rssi, now):
        one = self.find(address)
        if one is None:
            one = self._place(rssi, now)
            if one is None:
                return
            one.address[:] = address
            one.address_type = address_type
            one.first_seen = now
            one.failures = 0
            one.used = True
        one.rssi = rssi
        one.last_seen = now

    # A free place, or that of somebody not heard for long, or of somebody weaker.
    def _place(self, rssi, now):
        weakest = None
        for one in self.table:
            if not one.used or now - one.last_seen > _FORGET:
                return one
            if weakest is None or one.rssi < weakest.rssi:
                weakest = one
        return weakest if weakest.rssi < rssi else None

    # Each failure doubles the wait, part of which is left to chance: two relays that dialled one another at the same
    # moment must not do so again.
    def failed(self, address, now):
        one = self.find(address)
        if one is not None:
            one.failures = min(one.failures + 1, _MAX_FAILURES)
            wait = _BACKOFF << one.failures
            one.wait = self.randint(wait // 2, wait)
            one.failed_at = now

    # A link is gone: whose turn it was to dial has it again. If it was of use, old failures are forgiven.
    def lost(self, address, of_use, now):
        one = self.find(address)
        if one is not None:
            one.first_seen = now
            if of_use:
                one.failures = 0

    # The candidate to dial now, or None. `places` outbound places are left; `linked(address)` tells who has a link.
    def choose(self, places, relay_places, linked, now):
        best = None
        if places <= 0:
            return None
        for one in self.table:
            if not one.used or now - one.last_seen > _FORGET or linked(one.address):
                continue
            relay = one.address_type == RELAY_ADDRESS_TYPE
            if relay:
                if relay_places <= 0:
                    continue
                grace = 0 if self.own_address > bytes(one.address) else _RELAY_GRACE
            else:
                if places < 2:
                    continue
                grace = _PHONE_GRACE
            if now - one.first_seen < grace:
                continue
            if one.failures and now - one.failed_at < one.wait:
                continue
            if best is None or self._better(one, best):
                best = one
        return best

    def _better(self, one, other):
        if (one.address_type == RELAY_ADDRESS_TYPE) != (other.address_type == RELAY_ADDRESS_TYPE):
            return one.address_type == RELAY_ADDRESS_TYPE
        if one.failures != other.failures:
            return one.failures < other.failures
        return one.rssi > other.rssi
