# The budgets' inner function in plain Python: for CPython, and for a MicroPython without native code. What the numbers
# mean is in budget.py.
from shared_protocol.interpreter import const

# The ledger, in words: a byte for the class of every type, the seed, then buckets by link, by link for unsigned types,
# and by sender twice: of its two buckets the one that owes less counts, so whoever shares one with a flooder has the
# other.
_SEED = const(64)
_LINKS = const(65)
_UNSIGNED = const(81)
_SENDERS = const(97)
_OTHERS = const(161)
_ROW = const(63)

# A class: level (0 bulk, 1 talk, 2 sessions), and whether its authors do not sign it.
_LEVEL = const(3)
_NOT_SIGNED = const(4)

_LINK = const(0x0F)
_RELAY = const(0x10)
_VERIFIED = const(0x20)
_CONGESTED = const(0x40)

# Sixteenths of a millisecond.
_PER_FRAME = const(40)
_FULL = const(16000)
_QUARTER = const(4000)
_TIGHT = const(4800)

_MOMENT = const(0x3FFFFFF)
_MASK = const(0x3FFFFFFF)
_SPELL = const(18)


# The frame's rank (0 to 5), or which budget it is over (-1 link, -2 sender, -3 unsigned), and then nothing is charged.
# situation: index of the link it came in on, and RELAY, VERIFIED, CONGESTED. now: milliseconds of a clock that may wrap
# at any power of two from 2**26 on.
def admit(
    ledger: bytearray, buf: bytes | bytearray | memoryview, size: int, sender_at: int, situation: int, now: int
) -> int:
    kind = ledger[buf[1]]
    verified = 1 if situation & _VERIFIED else 0
    worse = 1 - verified + (0 if kind & _LEVEL else 1)
    limit = _FULL - worse * _QUARTER
    cost = _PER_FRAME + (size * 5 >> 5)
    relay = situation & _RELAY
    if situation & _CONGESTED:
        cost <<= worse + 2 - verified
        if not verified:
            limit = _TIGHT
            relay = 0
    when = (now & _MOMENT) << 4
    link = situation & _LINK
    share = cost >> 1 if relay else cost
    link_debt = _debt(ledger, _LINKS + link, when) + share
    if link_debt > limit:
        return -1
    key = _word(ledger, _SEED) ^ when >> _SPELL << 4 ^ link
    for i in range(sender_at, sender_at + 8):
        key = (key ^ buf[i]) * 0x01000193 & _MASK
    key ^= key >> 15
    sender = _SENDERS + (key & _ROW)
    other = _OTHERS + (key >> 20 & _ROW)
    sender_debt = _debt(ledger, sender, when)
    other_debt = _debt(ledger, other, when)
    lower = min(sender_debt, other_debt) + (cost << 1 if limit == _TIGHT else cost)
    if lower > limit:
        return -2
    if kind & _NOT_SIGNED or not buf[11] & 2:
        debt = _debt(ledger, _UNSIGNED + link, when) + share + (share >> 2)
        if debt > limit:
            return -3
        _set_word(ledger, _UNSIGNED + link, when + debt & _MASK)
    _set_word(ledger, _LINKS + link, when + link_debt & _MASK)
    if sender_debt < lower:
        _set_word(ledger, sender, when + lower & _MASK)
    if other_debt < lower:
        _set_word(ledger, other, when + lower & _MASK)
    return (kind & _LEVEL) * 2 + verified


# What a bucket still has to pay off. More than it can ever owe means that it was paid off long ago.
def _debt(ledger: bytearray, index: int, when: int) -> int:
    debt = _word(ledger, index) - when & _MASK
    return debt if debt <= _FULL else 0


def _word(ledger: bytearray, index: int) -> int:
    return int.from_bytes(ledger[4 * index : 4 * index + 4], "little")


def _set_word(ledger: bytearray, index: int, value: int) -> None:
    ledger[4 * index : 4 * index + 4] = value.to_bytes(4, "little")
