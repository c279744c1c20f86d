# The relay's own announces: who it is, signed, as the phone apps accept them (bitchat protocol, section 1.8), and what
# else it says in its own name.
#
# A signed announce is always at hand. A phone that has just connected gets it before it has written a byte: an Android
# phone that has seen none by the time of its own first announce does not go on announcing.
from time import ticks_ms

from micropython import const

from firmware.links import ALL_LINKS, ATT_HEADER, READY
from firmware.slots import RANK_AT
from shared_protocol import announce
from shared_protocol.cadence import Cadence
from shared_protocol.counters import ORIGINATED, RX_FRAMES
from shared_protocol.frame import (
    FLAGS,
    HAS_SIGNATURE,
    MAX_TTL,
    TYPE_ANNOUNCE,
    TYPE_HELLO,
    TYPE_PONG,
    encode,
    signing_preimage,
)
from shared_protocol.ping import encode as encode_pong

_LONGEST = const(185)  # header and sender 22, payload 99, signature 64
# Phones take announces of the last two minutes; the one at hand is never older than this (tenths of a second).
_STALE = const(400)
_TRAFFIC = const(50)
# What of ours waits in a full queue goes last: see slots.py.
_RANK = const(5)
# iPhones route over a relay only if they have seen a version 2 packet of it in the last 60 s (section 3.1).
_ROUTE_BEACON = const(450)
_BEACON_LEAST = const(100)
_SMALL_MS = const(60_000)


class Announcer:
    # randint(low, high): uniform, both ends included.
    def __init__(self, keys, wall, clock, links, pool, counts, settings, randint):
        self.keys = keys
        self.wall = wall
        self.clock = clock
        self.links = links
        self.pool = pool
        self.counts = counts
        self.settings = settings
        self.cadence = Cadence(randint)
        self.size = 0  # of the announce at hand, 0 without one
        self._frame = bytearray(_LONGEST)
        self._view = memoryview(self._frame)
        self._made_at = 0
        self._stamp = 0
        self._owed = 0  # links that get it as soon as there is room: a bit each by index
        self.hello = b""  # the payload of our hello, once there are keys
        self._beacon_at = -_ROUTE_BEACON
        self._beacon_wanted = False
        self._jumps = 0
        self._heard = 0  # frames received when they were last counted, and when more had come
        self._heard_at = -_TRAFFIC

    # Why the relay does not announce itself, "" if it does.
    def silence(self):
        if self.keys.seed is None:
            return "its identity is " + self.keys.state
        if not self.wall.source:
            return "it does not know the time"
        return "" if self.size else "its keys are being made"

    # Unix milliseconds for a frame of our own, later than those before; None without keys or time.
    def stamp(self):
        now = self.wall.now_ms(self.clock.uptime_ms()) if self.keys.ready else None
        if now is not None:
            # Not if the clock was put back: whoever it was right for would wait for us.
            if now <= self._stamp < now + _SMALL_MS:
                now = self._stamp + 1
            self._stamp = now
        return now

    # Ids of the peers that are known to be at the end of a link.
    def neighbors(self):
        return [bytes(link.owner) for link in self.links.ready_links if link.owned]

    # A neighbor came or went, or the name is another.
    def changed(self):
        self.cadence.changed(self.clock.tenths)
        self._beacon_wanted = True

    def link_up(self, link):
        self._owed |= link.bit

    def link_down(self, link):
        self._owed &= ~link.bit
        self.wall.link_gone(link.index, self.clock.uptime_ms())
        if link.owned:
            self.changed()

    # Whether a new announce has to be made.
    def is_due(self):
        if not self.keys.ready or not self.wall.source:
            return False
        return self._is_time() or not self._is_fresh()

    # Steps that make a new announce and, if it is time, send it.
    def renew_steps(self):
        keys = self.keys
        now = self.clock.tenths
        name = self.settings["name"].encode()
        payload = announce.encode(name, keys.noise_key, keys.public_key, self.neighbors())
        frame = encode(TYPE_ANNOUNCE, MAX_TTL, self.stamp(), bytes(keys.on_air_id), payload)
        signature = yield from keys.sign_steps(signing_preimage(frame))
        n = len(frame)
        self._view[:n] = frame
        self._view[n : n + len(signature)] = signature
        self._frame[FLAGS] |= HAS_SIGNATURE
        self.size = n + len(signature)
        self._made_at = now
        if self._is_time():
            for link in self.links.ready_links:
                self._owed |= link.bit
            self.cadence.sent(now, self.links.ready)
        self.step()

    # Some ten times a second: what is owed is paid.
    def step(self):
        rx_frames = self.counts[RX_FRAMES]
        if rx_frames != self._heard:
            self._heard = rx_frames
            self._heard_at = self.clock.tenths
        if self._owed:
            if self._is_fresh() and self.say(self._owed, self._view[: self.size]):
                self._owed = 0
        elif self.hello and self.size and self.links.ready:
            past = self.clock.tenths - self._beacon_at
            if past >= _ROUTE_BEACON or (self._beacon_wanted and past >= _BEACON_LEAST):
                self._tell_routes()

    # A hello for everybody, in a version 2 packet.
    def _tell_routes(self):
        frame = encode(TYPE_HELLO, MAX_TTL, self.stamp(), bytes(self.keys.on_air_id), self.hello, version=2)
        if self.say(ALL_LINKS, frame):
            self._beacon_at = self.clock.tenths
            self._beacon_wanted = False

    # To a peer whose link is not ready yet, and who may have subscribed already.
    def greet(self, link):
        link.room = link.mtu - ATT_HEADER
        if self._is_fresh() and link.room >= self.size:
            self.links.tell(link, link.notify_handle, self._view[: self.size])

    # Answers a ping of that author on the link on which it came.
    def pong(self, link, author, nonce):
        now = self.stamp()
        if now is not None:
            payload = encode_pong(nonce, MAX_TTL)
            frame = encode(TYPE_PONG, MAX_TTL, now, bytes(self.keys.on_air_id), payload, recipient=author)
            if link.state == READY:
                self.say(link.bit, frame)
            else:
                # A ping may be the first frame of a link, which makes it ready.
                self.links.tell(link, link.notify_handle, frame)

    # A frame of our own to these links, a bit each by index. False while the one before is still being sent.
    def say(self, links, frame):
        pool = self.pool
        slot = pool.take_local()
        if slot < 0:
            return False
        n = len(frame)
        pool.view[slot][:n] = frame
        pool.length[slot] = n
        pool.known[slot] = ALL_LINKS & ~links | _RANK << RANK_AT
        self.counts[ORIGINATED] += 1
        self.links.fan_out(slot, ticks_ms())
        return True

    def _is_time(self):
        now = self.clock.tenths
        return self.cadence.is_due(now, self.links.ready, now - self._heard_at < _TRAFFIC)

    def _is_fresh(self):
        if self.wall.jumps != self._jumps:
            self._jumps = self.wall.jumps
            self.size = 0
        return self.size and self.clock.tenths - self._made_at < _STALE
