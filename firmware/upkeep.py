# Keeps the relay on the air: links from opening to end, advertising (advertiser.py), scanning and dialling.
from micropython import const

from firmware import links as l
from firmware.advertiser import Advertiser
from firmware.greeter import Greeter
from shared_protocol import counters as c

# Times are tenths of a second (clock.py), but for what the stack is told.
_AGAIN = const(300)

_SCAN_MS = const(2_000)
_SCAN = const(20)
_SCAN_PAUSE = const(5)
_SCAN_PAUSE_LINKED = const(40)  # once there is a link to another relay
_SCAN_INTERVAL_US = const(100_000)
_SCAN_WINDOW_US = const(50_000)  # half: the other half of the air is for the links
_DIAL_MS = const(3_000)
_DIAL_LOST = const(80)  # a dial that ended, and whose event we never got
_STALL = const(40)  # longer than a supervision timeout: a link that is dead on the air ends by itself


class Upkeep:
    def __init__(self, radio, links, dialer, opener, counts, settings, log, now):
        self.ble = radio.ble
        self.radio = radio
        self.links = links
        self.dialer = dialer
        self.opener = opener
        self.counts = counts
        self.dial_max = settings["dial_max"]
        self.phone_slots = settings["phone_slots"]
        self.log = log
        self.advertiser = Advertiser(radio, links, counts, now)
        self.greeter = Greeter(radio, links, opener)
        self.dial_address = bytearray(6)
        self.scan_again_at = now
        self.attached_at = now
        self.dialled_at = now
        self.sent_before = 0
        self.moved_at = now

    # The identity that peers get to know us by: .on_air_id, .peer_id, .public_key, .noise_key, .seed.
    def introduce(self, identity):
        self.greeter.identity = identity
        self.advertiser.identify(identity.on_air_id)

    # Called when the radio says so (radio.dirty) and some ten times a second.
    def step(self, now):
        radio = self.radio
        radio.dirty = False
        for link in self.links.all:
            if link.state == l.OPENING:
                self.opener.step(link, now)
            elif link.state == l.LOST:
                self.opener.gone(link, now)
                link.state = l.GONE
            elif link.state == l.READY and link.broken:
                link.broken = False
                self.opener.drop(link, "sending to it failed")
        self.links.sweep()
        self.greeter.step(now)
        while radio.unwanted:
            self.counts[c.LINKS_REFUSED] += 1
            self.opener.hang_up(radio.unwanted.pop())
        if now - self.attached_at >= _AGAIN:
            self.attached_at = now
            radio.attach()
        self._end_stall(now)
        self.advertiser.step(now)
        if radio.dial_unanswered:
            radio.dial_unanswered = False
            self.counts[c.DIALS_FAILED] += 1
            self.dialer.failed(self.dial_address, now)
        if radio.dialling:
            self._look_after_dial(now)
        else:
            self._look_for_links(now)

    # All links share the stack's buffers, so a peer that hangs takes them from everybody: when nothing has moved for a
    # while although frames wait, the link goes whose peer was silent for longest; if that was not the one, the next.
    def _end_stall(self, now):
        links = self.links
        silent = None
        for link in links.ready_links:
            if link.rx_frames != link.rx_before:
                link.rx_before = link.rx_frames
                link.heard_at = now
            if link.state == l.READY and (silent is None or silent.heard_at > link.heard_at):
                silent = link
        sent = self.counts[c.TX_FRAMES]
        if sent != self.sent_before or not links.waiting:
            self.sent_before = sent
            self.moved_at = now
        elif silent is not None and now - self.moved_at > _STALL:
            self.moved_at = now
            self.counts[c.LINKS_STALLED] += 1
            self.opener.drop(silent, "it takes nothing and holds up the others")

    def _look_for_links(self, now):
        links = self.links
        radio = self.radio
        places = min(self.dial_max - links.count(l.OUTBOUND), links.max_links - links.used())
        relay_places = links.max_links - self.phone_slots - links.relays()
        one = self.dialer.choose(places, relay_places, links.find, now) if places > 0 else None
        if one is not None:
            self._dial(one, now)
        elif places <= 0:
            self._stop_scan()
        elif now >= self.scan_again_at:
            self._stop_scan()  # it is over by now, unless its last event was lost
            pause = _SCAN_PAUSE_LINKED if links.relays() else _SCAN_PAUSE
            self.scan_again_at = now + _SCAN + pause
            try:
                self.ble.gap_scan(_SCAN_MS, _SCAN_INTERVAL_US, _SCAN_WINDOW_US)
                radio.scanning = True
            except OSError as error:
                self.log.debug("scan: error %d" % error.errno)

    def _dial(self, one, now):
        self._stop_scan()
        # A copy: the table's entry may become somebody else's at any time.
        self.dial_address[:] = one.address
        self.dialled_at = now
        self.counts[c.DIALS] += 1
        self.radio.dialling = True
        try:
            self.ble.gap_connect(one.address_type, self.dial_address, _DIAL_MS)
        except OSError as error:
            self.radio.dialling = False
            self.counts[c.DIALS_FAILED] += 1
            self.dialer.failed(self.dial_address, now)
            self.log.debug("dial: error %d" % error.errno)

    def _look_after_dial(self, now):
        late = now - self.dialled_at > _DIAL_LOST
        if late or self.links.find(self.dial_address) is not None:
            try:
                self.ble.gap_connect(None)
            except OSError:
                pass  # too late: it has connected, and opening.py drops the surplus link
        if late:
            self.radio.dialling = False
            self.radio.dial_unanswered = True

    def _stop_scan(self):
        if self.radio.scanning:
            self.radio.scanning = False
            try:
                self.ble.gap_scan(None)
            except OSError:
                pass  # it ended just now
