# What time it is, for a board without a clock: told by a host, or by the announces of those around.
#
# Nobody is believed alone. An author has one vote, its newest verified announce, on the link on which it was first
# heard, or since then straight from itself; a link has one vote, the median of its authors; and time is what more than
# half of the links agree on. So one neighbor with a wrong clock moves nothing, nor does one with a hundred names, nor
# one name on all links. With a single link three of its authors have to agree: who is our only neighbor could invent
# them, but has nobody else to mislead, and those who come later put it right.
#
# Moments are Unix milliseconds, uptimes milliseconds since the start; both may be wider than a small int, which is why
# nothing here runs for every frame.
from array import array

from shared_protocol.interpreter import const

CAPACITY = const(16)
_ID_SIZE = const(8)
_FREE = const(255)  # no link has this number

HOST = "host"
MESH = "mesh"

_ALIKE_MS = const(30_000)
_VOTE_LASTS_S = const(300)
_ALONE = const(3)
# A host is right at first; an oscillator of a board is off by up to some seconds a day.
_HOST_LASTS_MS = const(43_200_000)
# Beyond this the phones around and we do not take one another's frames any more.
_APART_MS = const(60_000)
_JUMP_MS = const(5_000)
# Nothing on the air is older than the apps that this speaks to, nor from the next century.
EARLIEST_MS = 1_600_000_000_000
LATEST_MS = 4_100_000_000_000


class WallTime:
    def __init__(self) -> None:
        self.source = ""
        # Most of those around say that it is another time, or no most of them that it is this one.
        self.disputed = False
        self.jumps = 0  # how often it was another time all of a sudden
        self._offset = 0
        self._set_at = 0
        # Of each vote: who, on which link, Unix milliseconds at uptime 0, and the uptime in seconds.
        self._authors = bytearray(_ID_SIZE * CAPACITY)
        self._links = bytearray(_FREE for _ in range(CAPACITY))
        self._offsets = array("q", bytes(8 * CAPACITY))
        self._ats = array("i", bytes(4 * CAPACITY))

    # Unix milliseconds, None while nobody has told.
    def now_ms(self, uptime_ms: int) -> int | None:
        return self._offset + uptime_ms if self.source else None

    # Raises ValueError for a moment that is absurd.
    def set_by_host(self, unix_ms: int, uptime_ms: int) -> None:
        if not EARLIEST_MS <= unix_ms < LATEST_MS:
            raise ValueError("that is no time of today")
        self._set(HOST, unix_ms - uptime_ms, uptime_ms)
        self._settle(uptime_ms)

    # A verified announce of this author (8 bytes), newer than those before, came on this link; direct: from itself.
    def heard(
        self, author: bytes | bytearray | memoryview, link: int, unix_ms: int, uptime_ms: int, direct: bool = False
    ) -> None:
        if not EARLIEST_MS <= unix_ms < LATEST_MS:
            return
        place = self._place_of(author, link, uptime_ms // 1000)
        if direct:
            self._links[place] = link
        self._offsets[place] = unix_ms - uptime_ms
        self._ats[place] = uptime_ms // 1000
        self._settle(uptime_ms)

    # The link is closed: its record may be somebody else's next.
    def link_gone(self, link: int, uptime_ms: int) -> None:
        for place in range(CAPACITY):
            if self._links[place] == link:
                self._links[place] = _FREE
        self._settle(uptime_ms)

    # Where the vote of this author is, or comes to be. A link with many authors does not take the places of others.
    def _place_of(self, author: bytes | bytearray | memoryview, link: int, now_s: int) -> int:
        free = oldest = of_link = -1
        count = 0
        for place in range(CAPACITY):
            if now_s - self._ats[place] > _VOTE_LASTS_S:
                self._links[place] = _FREE
            if self._links[place] == _FREE:
                free = place
                continue
            if self._authors[_ID_SIZE * place : _ID_SIZE * place + _ID_SIZE] == author:
                return place
            if oldest < 0 or self._ats[place] < self._ats[oldest]:
                oldest = place
            if self._links[place] == link:
                count += 1
                if of_link < 0 or self._ats[place] < self._ats[of_link]:
                    of_link = place
        place = of_link if count >= CAPACITY // 4 else free if free >= 0 else oldest
        self._authors[_ID_SIZE * place : _ID_SIZE * place + _ID_SIZE] = author
        self._links[place] = link
        return place

    # Adopts what most links agree on.
    def _settle(self, uptime_ms: int) -> None:
        votes = self._link_votes(uptime_ms // 1000)
        agreed = _majority(votes) if votes else None
        if self.source == HOST and uptime_ms - self._set_at <= _HOST_LASTS_MS:
            self.disputed = agreed is not None and abs(agreed - self._offset) > _APART_MS
        elif agreed is not None:
            self._set(MESH, agreed, uptime_ms)
        elif self.source:
            backing = 0
            for vote in votes:
                backing += abs(vote - self._offset) <= _APART_MS
            self.disputed = len(votes) > 1 and 2 * backing <= len(votes)

    def _set(self, source: str, offset: int, uptime_ms: int) -> None:
        if self.source and abs(offset - self._offset) > _JUMP_MS:
            self.jumps += 1
        self.source = source
        self.disputed = False
        self._offset = offset
        self._set_at = uptime_ms

    # What each link says; of a link that is alone, what each of its authors says, if they are enough.
    def _link_votes(self, now_s: int) -> "list[int]":
        by_link: "dict[int, list[int]]" = {}
        for place in range(CAPACITY):
            if self._links[place] != _FREE and now_s - self._ats[place] <= _VOTE_LASTS_S:
                by_link.setdefault(self._links[place], []).append(self._offsets[place])
        if len(by_link) == 1:
            (offsets,) = by_link.values()
            return offsets if len(offsets) >= _ALONE else []
        return [_median(offsets) for offsets in by_link.values()]


# The lower one of the two in the middle.
def _median(offsets: "list[int]") -> int:
    return sorted(offsets)[(len(offsets) - 1) // 2]


# The middle of those that are alike, if they are more than half.
def _majority(offsets: "list[int]") -> int | None:
    for middle in (_median(offsets), sorted(offsets)[len(offsets) // 2]):
        alike = [offset for offset in offsets if abs(offset - middle) <= _ALIKE_MS]
        if 2 * len(alike) > len(offsets):
            return _median(alike)
    return None
