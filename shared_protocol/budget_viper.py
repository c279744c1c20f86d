# The budgets' inner function as machine code: the same as in budget_plain.py, whose comments say what it does.
#
# A bucket is below 2**30, so that a word is the same number on a board and on the 64-bit unix port.
# mypy: ignore-errors
# ruff: noqa: F821 (ptr8 and ptr32 are known to the viper compiler alone)
import micropython
from micropython import const

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


@micropython.viper
def admit(ledger: ptr32, buf: ptr8, size: int, sender_at: int, situation: int, now: int) -> int:
    kind = int(ptr8(ledger)[buf[1]])
    worse = 0
    if not kind & _LEVEL:
        worse += 1
    if not situation & _VERIFIED:
        worse += 1
    limit = _FULL - worse * _QUARTER
    cost = _PER_FRAME + (size * 5 >> 5)
    relay = situation & _RELAY
    if situation & _CONGESTED:
        cost <<= worse + 1
        if not situation & _VERIFIED:
            cost <<= 1
            limit = _TIGHT
            relay = 0
    when = (now & _MOMENT) << 4
    link = situation & _LINK
    share = cost
    if relay:
        share >>= 1
    link_debt = ledger[_LINKS + link] - when & _MASK
    if link_debt > _FULL:
        link_debt = 0
    link_debt += share
    if link_debt > limit:
        return -1
    key = ledger[_SEED] ^ when >> _SPELL << 4 ^ link
    end = sender_at + 8
    while sender_at < end:
        key = (key ^ buf[sender_at]) * 0x01000193 & _MASK
        sender_at += 1
    key ^= key >> 15
    sender = _SENDERS + (key & _ROW)
    other = _OTHERS + (key >> 20 & _ROW)
    sender_debt = ledger[sender] - when & _MASK
    if sender_debt > _FULL:
        sender_debt = 0
    other_debt = ledger[other] - when & _MASK
    if other_debt > _FULL:
        other_debt = 0
    lower = sender_debt if sender_debt < other_debt else other_debt
    lower += cost
    if limit == _TIGHT:
        lower += cost
    if lower > limit:
        return -2
    if kind & _NOT_SIGNED or not buf[11] & 2:
        debt = ledger[_UNSIGNED + link] - when & _MASK
        if debt > _FULL:
            debt = 0
        debt += share + (share >> 2)
        if debt > limit:
            return -3
        ledger[_UNSIGNED + link] = when + debt & _MASK
    ledger[_LINKS + link] = when + link_debt & _MASK
    if sender_debt < lower:
        ledger[sender] = when + lower & _MASK
    if other_debt < lower:
        ledger[other] = when + lower & _MASK
    rank = (kind & _LEVEL) * 2
    if situation & _VERIFIED:
        rank += 1
    return rank
