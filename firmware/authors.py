# Authors whose announces were verified: by on-air id the signing key they came with first, and their newest timestamp.
#
# A full table gives the place of the one heard longest ago to a newcomer, but not that of one heard in the last minute:
# whoever makes up identities by the hundred fills what is free, and displaces nobody who is here.
from array import array

from micropython import const

from firmware.roster import AUTHORS
from shared_protocol.scan_viper import seek8

_HERE_S = const(60)
_NEVER = const(-1)
# Who was not heard for so long may have another key, or have put his clock right.
FORGOTTEN_S = const(600)


class Authors:
    # ids: memory for AUTHORS ids, a part of the roster's.
    def __init__(self, ids):
        self._ids = ids
        self._keys = bytearray(32 * AUTHORS)
        self._stamps = bytearray(8 * AUTHORS)
        self._heard = array("i", (_NEVER for _ in range(AUTHORS)))

    # Which author the id at data[at] is, or -1.
    def verified(self, data, at):
        index = seek8(self._ids, 0, AUTHORS, data, at)
        return index if index >= 0 and self._heard[index] != _NEVER else -1

    # The signing key that this author is bound to: a view of 32 bytes, good until the next note().
    def key(self, index):
        return memoryview(self._keys)[32 * index : 32 * index + 32]

    # When its last announce was verified.
    def heard_s(self, index):
        return self._heard[index]

    # Whether the timestamp at data[at] is newer than all that was verified of this author.
    def is_newer(self, index, data, at):
        for i in range(8 * index, 8 * index + 8):
            if data[at] != self._stamps[i]:
                return data[at] > self._stamps[i]
            at += 1
        return False

    # An announce was verified: id, signing key, timestamp as bytes; now_s: seconds of a clock that does not go back.
    # Which author it is from now on, or -1: bound to another key, or no room.
    def note(self, author, key, stamp, now_s):
        index = self.verified(author, 0)
        if index >= 0 and now_s - self._heard[index] <= FORGOTTEN_S:
            if self.key(index) != key:
                return -1
            if self.is_newer(index, stamp, 0):
                self._stamps[8 * index : 8 * index + 8] = stamp
        else:
            if index < 0:
                index = self._place(now_s)
            if index < 0:
                return -1
            self._ids[8 * index : 8 * index + 8] = author
            self._keys[32 * index : 32 * index + 32] = key
            self._stamps[8 * index : 8 * index + 8] = stamp
        self._heard[index] = now_s
        return index

    # A free place, or that of the author heard longest ago if it may go; else -1.
    def _place(self, now_s):
        oldest = 0
        for index in range(AUTHORS):
            if self._heard[index] < self._heard[oldest]:
                oldest = index
        heard = self._heard[oldest]
        return oldest if heard == _NEVER or now_s - heard > _HERE_S else -1
