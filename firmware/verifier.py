# Checks the announces of others, when there is time: whose signature is right is known by its key from then on, tells
# the time, and if the announce came straight from its author, it is at the end of that link.
#
# One announce a link waits, so that who floods us with false ones takes only his own turns. What is compressed is not
# checked: an announce that is worth compressing is rare, and inflating needs memory.
from array import array
from hashlib import sha256

from micropython import const

from firmware.authors import FORGOTTEN_S
from firmware.links import OPENING, READY
from shared_protocol import announce
from shared_protocol.counters import ANNOUNCES_REFUSED, ANNOUNCES_VERIFIED
from shared_protocol.frame import MAX_TTL, SIGNATURE_SIZE, TIMESTAMP, TTL, Header, signing_preimage

_LONGEST = const(288)  # of an announce with a name of 40 bytes and ten neighbors
# What phones take of one another.
APART_MS = const(120_000)
# A link keeps its owner for so long without another announce of it, and is not given to somebody else meanwhile (s).
OWNED_S = const(60)
# Who was checked so recently is not checked again.
_KNOWN_S = const(25)
_NOBODY = bytes(8)


class Verifier:
    # authors: see authors.py.
    def __init__(self, keys, links, authors, wall, clock, announcer):
        self.keys = keys
        self.links = links
        self.authors = authors
        self.wall = wall
        self.clock = clock
        self.announcer = announcer
        self.counts = links.counts
        # By link: the announce that waits, its size (0: none), which connection it came on and when (tenths).
        count = len(links.all)
        self._frames = memoryview(bytearray(_LONGEST * count))
        self._sizes = array("H", bytes(2 * count))
        self._serials = array("h", bytes(2 * count))
        self._times = array("i", bytes(4 * count))
        self._turn = 0
        self._header = Header()

    # An announce that was not heard before, as it came. Of those of one link the one that says more waits: straight
    # from its author before passed on by others.
    def take(self, link, data, header):
        n = header.frame_len
        index = link.index
        if n > _LONGEST or header.original_size or not header.signature_at:
            return
        at = _LONGEST * index
        if self._sizes[index] and self._serials[index] == link.serial:
            if self._frames[at + TTL] == MAX_TTL or data[TTL] != MAX_TTL:
                return
        self._frames[at : at + n] = data[:n]
        self._sizes[index] = n
        self._serials[index] = link.serial
        self._times[index] = self.clock.tenths

    # Whether an announce waits.
    def is_due(self):
        for size in self._sizes:
            if size:
                return True
        return False

    # Steps that check the next one in turn.
    def check_steps(self):
        for _ in self._sizes:
            self._turn = index = (self._turn + 1) % len(self._sizes)
            size = self._sizes[index]
            if size:
                self._sizes[index] = 0
                frame = bytes(self._frames[_LONGEST * index : _LONGEST * index + size])
                at_ms = self._times[index] * 100
                yield from self._check(self.links.all[index], self._serials[index], frame, at_ms)
                return

    def _check(self, link, serial, frame, at_ms):
        header = self._header
        header.parse(frame, len(frame))
        at = header.sender_at
        sender = frame[at : at + 8]
        signature = frame[header.signature_at : header.signature_at + SIGNATURE_SIZE]
        said = announce.parse(frame[header.payload_at : header.payload_at + header.payload_len])
        if said is None or sha256(said["noise_key"]).digest()[:8] != sender:
            self.counts[ANNOUNCES_REFUSED] += 1
            return
        key = said["signing_key"]
        stamp = frame[TIMESTAMP : TIMESTAMP + 8]
        direct = frame[TTL] == MAX_TTL
        authors = self.authors
        index = authors.verified(sender, 0)
        if index >= 0:
            known_s = self.clock.now_s - authors.heard_s(index)
            if known_s <= FORGOTTEN_S and not (authors.is_newer(index, stamp, 0) and authors.key(index) == key):
                self.counts[ANNOUNCES_REFUSED] += 1
                return
            if known_s < _KNOWN_S and not (direct and self._tells(link, serial, sender)):
                return
        right = yield from self.keys.verify_steps(key, signing_preimage(frame), signature)
        if not right:
            self.counts[ANNOUNCES_REFUSED] += 1
            return
        if link.serial != serial or link.state not in (OPENING, READY):
            return  # the link is another one by now
        self.counts[ANNOUNCES_VERIFIED] += 1
        unix_ms = int.from_bytes(stamp, "big")
        # Before it is asked whether the moment is right: if it is our clock that is wrong, we learn it here.
        self.wall.heard(sender, link.index, unix_ms, at_ms, direct)
        now = self.wall.now_ms(at_ms)
        if now is not None and not self.wall.disputed and abs(unix_ms - now) > APART_MS:
            self.counts[ANNOUNCES_REFUSED] += 1
            return
        authors.note(sender, key, stamp, self.clock.now_s)
        if direct and self._may_own(link, serial, sender):
            self._own(link, sender)

    # Whether an announce of somebody who is well known says anything about the link.
    def _tells(self, link, serial, sender):
        if link.owned and link.owner == sender and self.clock.now_s - link.owned_at < _KNOWN_S:
            return False
        return self._may_own(link, serial, sender)

    # Whether this announce would make its author the owner of the link, or keep it so. Nobody takes a link from an
    # owner heard of late, nor an owner from such a link: the TTL is not signed, and anybody can play the author.
    def _may_own(self, link, serial, sender):
        # One that is opening gets ready with the first frame, and this may be it.
        if link.serial != serial or link.state not in (OPENING, READY):
            return False
        now = self.clock.now_s
        if link.owned and link.owner != sender and now - link.owned_at < OWNED_S:
            return False
        for other in self.links.ready_links:
            if other is not link and other.owned and other.owner == sender and now - other.owned_at < OWNED_S:
                return False
        return True

    def _own(self, link, sender):
        changed = not link.owned or link.owner != sender
        roster = self.links.roster
        for other in self.links.ready_links:
            if other is not link and other.owned and other.owner == sender:
                other.owned = False
                roster.set_owner(other.index, _NOBODY)
        link.owner[:] = sender
        link.owned_at = self.clock.now_s
        link.owned = True
        if link.state == READY:
            roster.set_owner(link.index, sender)  # else upkeep does so when it is
        if changed:
            self.announcer.changed()
