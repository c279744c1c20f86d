# Dual-role GATT on the raw bluetooth module: the service of the phone apps and the BitCraps service beside it
# (docs/protocol.md). Received values go to the frame pool, frames to send go to the stack; what happens to links
# between connection and readiness is in opening.py, advertising in advertiser.py and dialling in upkeep.py.
import bluetooth
import micropython
from micropython import const

from firmware import links as l
from firmware.opening import link_event
from shared_protocol.counters import ADVERTS_SEEN, DROP_NO_SLOT, DROP_OVERSIZE, RX_BYTES, RX_FRAMES

_IRQ_CENTRAL_CONNECT = const(1)
_IRQ_CENTRAL_DISCONNECT = const(2)
_IRQ_GATTS_WRITE = const(3)
_IRQ_SCAN_RESULT = const(5)
_IRQ_SCAN_DONE = const(6)
_IRQ_PERIPHERAL_CONNECT = const(7)
_IRQ_PERIPHERAL_DISCONNECT = const(8)
_IRQ_GATTC_NOTIFY = const(18)
_IRQ_MTU_EXCHANGED = const(21)

SERVICE = bluetooth.UUID("F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C")
CHARACTERISTIC = bluetooth.UUID("A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D")
SERVICE_BYTES = bytes(reversed(bytes.fromhex("F47B5E2D4A9E4C5A9B3F8E1D2C3A4B5C")))
_BITCRAPS = "12345678-1234-5678-1234-5678123456%d"
MTU = const(517)  # what Android asks for; 512-byte values pass whole
_VALUE_BYTES = const(512)
_ADV_IND = const(0)
_NO_ADDRESS = const(0xFF)
_EARLY_MAX = const(9)  # as many as any board has links


# Both services. A BitCraps peer writes to ...5679 and hears us on ...5680; ...5681 is for handshakes, see bitcraps.py.
def services():
    written = bluetooth.FLAG_WRITE | bluetooth.FLAG_WRITE_NO_RESPONSE
    phones = ((CHARACTERISTIC, bluetooth.FLAG_READ | written | bluetooth.FLAG_NOTIFY),)
    bitcraps = (
        (bluetooth.UUID(_BITCRAPS % 79), written),
        (bluetooth.UUID(_BITCRAPS % 80), bluetooth.FLAG_NOTIFY),
        (bluetooth.UUID(_BITCRAPS % 81), bluetooth.FLAG_WRITE | bluetooth.FLAG_NOTIFY),
    )
    return ((SERVICE, phones), (bluetooth.UUID(_BITCRAPS % 78), bitcraps))


# Whether an advertisement lists the bitchat service. Walks the AD structures without copying.
def lists_service(data):
    at = 0
    n = len(data)
    while at + 1 < n:
        size = data[at]
        if size == 0 or at + size >= n:
            return False
        kind = data[at + 1]
        if kind == 6 or kind == 7:
            for start in range(at + 2, at + size - 14, 16):
                if data[start : start + 16] == SERVICE_BYTES:
                    return True
        at += size + 1
    return False


class Radio:
    # wake(): tells the main loop that there is something to do; it is called from the interrupt handler.
    def __init__(self, ble, links, pool, counts, clock, wake):
        self.ble = ble
        self.clock = clock
        self.links = links
        self.pool = pool
        self.counts = counts
        self.wake = wake
        self.address = b""
        self.handle = 0
        self.bitcraps_handle = 0  # written by BitCraps peers
        self.bitcraps_notify = 0  # and where they hear us
        self.handshake_handle = 0
        self.dialer = None
        self.dirty = True  # a link or the state below changed: upkeep has work before its time
        self.advertising = False
        self.scanning = False
        self.dialling = False
        self.dial_unanswered = False
        # The MTU of connections that were not announced yet: NimBLE tells of a connection only after reading the peer's
        # version and features, by when a quick peer has exchanged the MTU.
        self.early_mtu = {}
        self.unwanted = []  # connections without a record, to be ended by upkeep
        self.error = None  # what the handler raised; the mesh loop raises it again

    # The stack is active: see app.py.
    def start(self, name):
        ble = self.ble
        ble.config(mtu=MTU, gap_name=name)
        self.address = ble.config("mac")[1]
        phones, bitcraps = ble.gatts_register_services(services())
        self.handle = phones[0]
        self.bitcraps_handle, self.bitcraps_notify, self.handshake_handle = bitcraps
        ble.gatts_set_buffer(self.handle, _VALUE_BYTES)
        ble.gatts_set_buffer(self.bitcraps_handle, _VALUE_BYTES)
        self.links.sends_with(ble, self.handle)

    def rename(self, name):
        self.ble.config(gap_name=name)

    def listen(self, dialer):
        self.dialer = dialer
        self.attach()

    # Upkeep calls this now and then: a handler that raises is forgotten by the stack.
    def attach(self):
        self.ble.irq(self._irq)

    # Addresses, advertisements and notified values are buffers of the stack: all that is kept is copied here.
    @micropython.native
    def _irq(self, event, data):
        try:
            if event == _IRQ_GATTS_WRITE:
                link = self.links.by_conn.get(data[0])
                if link is not None:
                    if data[1] == self.handle:
                        self._receive(link, self.ble.gatts_read(data[1]))
                    else:
                        self._bitcraps_write(link, data[1])
            elif event == _IRQ_GATTC_NOTIFY:
                link = self.links.by_conn.get(data[0])
                if link is not None and data[1] == link.value_handle:
                    self._receive(link, data[2])
            elif event == _IRQ_SCAN_RESULT:
                self._heard(data)
            else:
                self._link_changed(event, data)
        except MemoryError:
            self.counts[DROP_NO_SLOT] += 1
        except Exception as error:
            self.error = error
            self.wake()

    # From its first frame on, a peer that dialled us is sent to in the BitCraps service. One that we dialled goes on
    # being written to as a phone.
    def _bitcraps_write(self, link, handle):
        if handle == self.bitcraps_handle:
            if link.role == l.INBOUND and not link.bitcraps:
                link.notify_handle = self.bitcraps_notify
                link.bitcraps = self.dirty = True
            self._receive(link, self.ble.gatts_read(handle))
        elif handle == self.handshake_handle:
            # Upkeep looks ten times a second; one that is written to all the time must not make it look more often.
            link.handshakes += 1
            if link.state == l.OPENING:
                self.dirty = True
                self.wake()

    def _heard(self, data):
        address_type, address, adv_type, rssi, adv_data = data
        if adv_type == _ADV_IND and lists_service(adv_data):
            self.counts[ADVERTS_SEEN] += 1
            self.dialer.heard(address_type, address, rssi, self.clock.tenths)

    def _link_changed(self, event, data):
        links = self.links
        if event == _IRQ_CENTRAL_CONNECT:
            self.advertising = False  # the stack stops it at every connection
            self._connected(l.INBOUND, data)
        elif event == _IRQ_PERIPHERAL_CONNECT:
            self.dialling = False
            self._connected(l.OUTBOUND, data)
        elif event == _IRQ_CENTRAL_DISCONNECT:
            self.early_mtu.pop(data[0], None)
            # Of a connection that failed before it was announced this is all we hear, and it has no address.
            if data[1] == _NO_ADDRESS or links.closed(data[0]) is None:
                self.advertising = False
        elif event == _IRQ_PERIPHERAL_DISCONNECT:
            self.early_mtu.pop(data[0], None)
            if links.closed(data[0]) is None:
                self.dialling = False
                self.dial_unanswered = True
        elif event == _IRQ_SCAN_DONE:
            self.scanning = False
        else:
            link = links.by_conn.get(data[0])
            if link is not None:
                if not link_event(event, data, link, CHARACTERISTIC):
                    return
            elif event == _IRQ_MTU_EXCHANGED and len(self.early_mtu) < _EARLY_MAX:
                self.early_mtu[data[0]] = data[1]
        self.dirty = True
        self.wake()

    def _connected(self, role, data):
        conn, address_type, address = data
        link = self.links.opened(conn, role, address_type, address, self.clock.tenths)
        mtu = self.early_mtu.pop(conn, 0)
        if link is None:
            if len(self.unwanted) < _EARLY_MAX:
                self.unwanted.append(conn)
        elif mtu:
            link.mtu = mtu

    # A call's locals and operands go to the heap when they are more than 11 words: these are not.
    def _receive(self, link, value):
        n = len(value)
        pool = self.pool
        self.counts[RX_FRAMES] += 1
        self.counts[RX_BYTES] = self.counts[RX_BYTES] + n & l.SMALL
        if n > _VALUE_BYTES:
            self.counts[DROP_OVERSIZE] += 1
        elif len(pool.free) <= pool.reserve and (
            not pool.free or pool.taken[link.index] - pool.returned[link.index] >= pool.share
        ):
            self.counts[DROP_NO_SLOT] += 1
        else:
            slot = pool.free.popleft()
            pool.taken[link.index] += 1
            pool.view[slot][:n] = value
            pool.length[slot] = n
            pool.source[slot] = link.index
            link.rx_frames += 1
            pool.received.append(slot)
            self.wake()
