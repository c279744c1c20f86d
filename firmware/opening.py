# How a link gets from connected to ready. Outbound: MTU, service, characteristic, CCCD, subscribe, one step at a time,
# each left by an event of the stack. Inbound: the peer does that; we wait until it can hear us.
import bluetooth
from micropython import const

from firmware import links as l
from shared_protocol import counters as c

_IRQ_GATTC_SERVICE_RESULT = const(9)
_IRQ_GATTC_SERVICE_DONE = const(10)
_IRQ_GATTC_CHARACTERISTIC_RESULT = const(11)
_IRQ_GATTC_CHARACTERISTIC_DONE = const(12)
_IRQ_GATTC_DESCRIPTOR_RESULT = const(13)
_IRQ_GATTC_DESCRIPTOR_DONE = const(14)
_IRQ_GATTC_WRITE_DONE = const(17)
_IRQ_MTU_EXCHANGED = const(21)

CCCD = bluetooth.UUID(0x2902)
_FULL_MTU = const(515)  # 512-byte values pass
# Times are tenths of a second (clock.py).
_OPENING = const(80)
# An inbound peer is sent frames after its first write, or this long after its link came up: a phone needs up to 600 ms
# to subscribe, and MicroPython does not tell when it has.
_SETTLE = const(15)
_ASK_MTU = const(10)
_OF_USE = const(300)  # a link that was gone before was as good as none
_SHORTEST_MTU = const(25)  # a frame has at least 22 bytes

_CONNECTED = const(0)
_MTU_ASKED = const(1)
_MTU_DONE = const(2)
_SERVICE_ASKED = const(3)
_SERVICE_DONE = const(4)
_CHARACTERISTIC_ASKED = const(5)
_CHARACTERISTIC_DONE = const(6)
_DESCRIPTOR_ASKED = const(7)
_DESCRIPTOR_DONE = const(8)
_SUBSCRIBE_ASKED = const(9)
_SUBSCRIBED = const(10)
_FAILED = const(11)
_CLOSING = const(12)


# Handler side: an answer of the stack moves the link on. False if the event is none of ours.
def link_event(event, data, link, characteristic):
    if event == _IRQ_MTU_EXCHANGED:
        link.mtu = data[1]
        if link.phase == _MTU_ASKED and link.role == l.OUTBOUND:
            link.phase = _MTU_DONE
    elif event == _IRQ_GATTC_SERVICE_RESULT:
        link.start_handle = data[1]
        link.end_handle = data[2]
    elif event == _IRQ_GATTC_SERVICE_DONE:
        link.phase = _SERVICE_DONE if link.end_handle else _FAILED
    elif event == _IRQ_GATTC_CHARACTERISTIC_RESULT:
        if data[4] == characteristic:
            link.value_handle = data[2]
    elif event == _IRQ_GATTC_CHARACTERISTIC_DONE:
        link.phase = _CHARACTERISTIC_DONE if link.value_handle else _FAILED
    elif event == _IRQ_GATTC_DESCRIPTOR_RESULT:
        if data[2] == CCCD and not link.cccd_handle:
            link.cccd_handle = data[1]
    elif event == _IRQ_GATTC_DESCRIPTOR_DONE:
        link.phase = _DESCRIPTOR_DONE if link.cccd_handle else _FAILED
    elif event == _IRQ_GATTC_WRITE_DONE and data[1] == link.cccd_handle:
        link.phase = _SUBSCRIBED if data[2] == 0 else _FAILED
    else:
        return False
    return True


class Opener:
    # phone_slots: places that links to other relays leave to phones.
    def __init__(self, radio, links, dialer, counts, phone_slots, log, service, characteristic):
        self.ble = radio.ble
        self.radio = radio
        self.links = links
        self.dialer = dialer
        self.counts = counts
        self.phone_slots = phone_slots
        self.log = log
        self.service = service
        self.characteristic = characteristic
        self.announcer = None

    # One step of a link that is opening.
    def step(self, link, now):
        phase = link.phase
        try:
            if phase == _FAILED:
                self._give_up(link, now, "it does not speak bitchat")
            elif now - link.opened_at > _OPENING:
                self._give_up(link, now, "opening took too long")
            elif phase == _CLOSING:
                pass
            elif link.role == l.OUTBOUND:
                self._outbound(link, now)
            else:
                self._inbound(link, now)
        except OSError as error:
            # The stack was busy: this step is taken again. If the link is going down, an event or the limit ends it.
            link.phase = phase
            self.log.debug("conn %d: opening, error %d" % (link.conn, error.errno))

    # A link is gone that was ready, or never came to be.
    def gone(self, link, now):
        of_use = link.served and now - link.opened_at > _OF_USE
        self.dialer.lost(link.address, of_use, now)
        if link.role == l.OUTBOUND and not of_use:
            # Also one that was ready for a moment: who is thrown out again and again must not knock all the time.
            self.counts[c.DIALS_FAILED] += 1
            self.dialer.failed(link.address, now)
        self.log.link(link, False, link.why or "lost")
        if self.announcer is not None:
            self.announcer.link_down(link)

    # Ends a link.
    def drop(self, link, why):
        link.why = why
        self.hang_up(link.conn)

    def hang_up(self, conn):
        try:
            there = self.ble.gap_disconnect(conn)
        except OSError:
            there = True  # it is going down already
        if there is False:
            self.links.closed(conn)  # the stack has lost it without a word

    def _ready(self, link):
        link.state = l.READY
        link.served = True
        if self.links.by_conn.get(link.conn) is not link:
            link.state = l.LOST  # it went while we looked
        self.log.link(link, True, None)
        if self.announcer is not None:
            self.announcer.link_up(link)

    def _give_up(self, link, now, why):
        if link.role == l.INBOUND and link.phase != _CLOSING:
            self.counts[c.LINKS_REFUSED] += 1
        link.opened_at = now
        link.phase = _CLOSING
        self.drop(link, why)

    def _inbound(self, link, now):
        if link.phase == _CONNECTED:
            link.phase = _MTU_ASKED
            why = self._surplus(link)
            if why:
                self._give_up(link, now, why)
                return
        age = now - link.opened_at
        if (link.handshakes or link.bitcraps and link.rx_frames) and link.mtu >= _SHORTEST_MTU:
            self._ready(link)  # a BitCraps peer has subscribed before it says anything
        elif link.mtu >= _FULL_MTU:
            if link.rx_frames or age > _SETTLE:
                self._ready(link)
            elif self.announcer is not None and not link.is_relay():
                # Again and again, since we are not told when it has subscribed; before that it takes no notice.
                self.announcer.greet(link)
        elif link.phase == _MTU_ASKED and age > _ASK_MTU:
            link.phase = _MTU_DONE
            self.ble.gattc_exchange_mtu(link.conn)
        elif age > _OPENING // 2:
            if link.mtu < _SHORTEST_MTU:
                self._give_up(link, now, "no frame fits its MTU")
            else:
                self._ready(link)  # it gets the frames that fit

    def _outbound(self, link, now):
        ble = self.ble
        conn = link.conn
        phase = link.phase
        if phase == _CONNECTED:
            why = self._surplus(link)
            if why:
                self._give_up(link, now, why)
                return
            heard = self.dialer.find(link.address)
            if heard is not None:
                link.rssi = heard.rssi
            link.phase = _MTU_DONE if link.mtu > l.LEAST_MTU else _MTU_ASKED
            if link.phase == _MTU_ASKED:
                ble.gattc_exchange_mtu(conn)
        elif phase == _MTU_DONE:
            link.phase = _SERVICE_ASKED
            ble.gattc_discover_services(conn, self.service)
        elif phase == _SERVICE_DONE:
            link.phase = _CHARACTERISTIC_ASKED
            ble.gattc_discover_characteristics(conn, link.start_handle, link.end_handle, self.characteristic)
        elif phase == _CHARACTERISTIC_DONE:
            link.phase = _DESCRIPTOR_ASKED
            ble.gattc_discover_descriptors(conn, link.value_handle, link.end_handle)
        elif phase == _DESCRIPTOR_DONE:
            # Once per connection: an Android phone that is subscribed to twice notifies twice.
            link.phase = _SUBSCRIBE_ASKED
            ble.gattc_write(conn, link.cccd_handle, b"\x01\x00", 1)
        elif phase == _SUBSCRIBED:
            self._ready(link)

    # Why a link to another relay is one too many, or None. Of two links between the same relays the one that the
    # higher address dialled stays.
    def _surplus(self, link):
        if not link.is_relay():
            return None
        links = self.links
        for other in links.by_conn.values():
            if other is not link and other.address == link.address:
                ours_is_higher = self.radio.address > bytes(link.address)
                if ours_is_higher == (link.role == l.INBOUND):
                    return "there is another link to this relay"
                self.drop(other, "there is a better link to this relay")
                return None
        if links.relays() > links.max_links - self.phone_slots:
            return "the other places are for phones"
        return None
