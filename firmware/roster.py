# Whom and what time a relay knows, in one stretch of memory that one function looks through for every frame: the times
# that count as now, the authors whose announces were verified, who is at the end of which link, and the own id.
# ruff: noqa: F821 (ptr8 is known to the viper compiler alone)
import micropython
from micropython import const

AUTHORS = const(32)
_AUTHORS_AT = const(16)
_OWNERS_AT = const(272)

# What recognise() says: by bits the links that the sender owns, from bit 11 on those of the recipient (records() is 11
# at most), and these.
_TO = const(11)
_VERIFIED = const(1 << 22)
_FROM_US = const(1 << 23)
_TO_US = const(1 << 24)
_SKEWED = const(1 << 25)


class Roster:
    # An id of zeros stands for nobody, and a frame that bears it is nobody's.
    def __init__(self, links):
        self.own_at = _OWNERS_AT + 8 * links
        # The last place is for recognise(), which puts there what it looks for.
        self.memory = memory = bytearray(self.own_at + 16)
        view = memoryview(memory)
        # The earliest and the latest timestamp that is let pass, 8 bytes each; without a clock, all.
        self.window = view[:_AUTHORS_AT]
        self.any_time()
        self.authors = view[_AUTHORS_AT:_OWNERS_AT]
        self.own_id = view[self.own_at : self.own_at + 8]

    def any_time(self):
        for i in range(8):
            self.window[i] = 0
            self.window[8 + i] = 0xFF

    # Who is at the end of a link: 8 bytes.
    def set_owner(self, index, owner):
        put8(self.memory, _OWNERS_AT + 8 * index, owner)


# In place of a slice, which would be born on the heap.
@micropython.viper
def put8(memory: ptr8, at: int, data: ptr8):
    i = 0
    while i < 8:
        memory[at + i] = data[i]
        i += 1


# recipient_at: 0 if there is none. An answer to a sync request may be of any time.
@micropython.viper
def recognise(memory: ptr8, buf: ptr8, sender_at: int, recipient_at: int, own_at: int) -> int:
    seen = 0
    end = own_at + 8
    id_at = sender_at
    at = _AUTHORS_AT
    while id_at:
        first = buf[id_at]
        memory[end] = first
        while True:
            while memory[at] != first:
                at += 8
            if at == end:
                break
            some = int(first)
            i = 1
            while i < 8 and memory[at + i] == buf[id_at + i]:
                some |= memory[at + i]
                i += 1
            if i == 8 and some:
                if at < _OWNERS_AT:
                    seen |= _VERIFIED
                else:
                    bit = 1 << (at - _OWNERS_AT >> 3)
                    if at == own_at:
                        bit = _FROM_US
                    if id_at != sender_at:
                        bit = _TO_US if at == own_at else bit << _TO
                    seen |= bit
            at += 8
        id_at = 0 if id_at == recipient_at else recipient_at
        at = _OWNERS_AT
    if not buf[11] & 0x10:
        i = 0
        while i < 7 and buf[3 + i] == memory[i]:
            i += 1
        if buf[3 + i] < memory[i]:
            seen |= _SKEWED
        i = 0
        while i < 7 and buf[3 + i] == memory[8 + i]:
            i += 1
        if buf[3 + i] > memory[8 + i]:
            seen |= _SKEWED
    return seen
