# Being found. A relay has one address and two services, each with an advertisement and a scan response of its own. They
# take turns: phones have most of the time, since some scan for a second in a minute, and BitCraps nodes the rest.
from micropython import const

from firmware import links as l
from firmware.radio import SERVICE_BYTES
from shared_protocol import counters as c

# Flags, then the complete list of 128-bit services: 21 bytes.
_HEAD = b"\x02\x01\x06\x11\x07"
FOR_PHONES = _HEAD + SERVICE_BYTES
_SERVICE_DATA = const(0x21)  # of a 128-bit service
_ID_SIZE = const(8)
_FULL = const(100)  # percent
# CURRENT of shared_protocol/versions.py.
_MAJOR = const(1)
_MINOR = const(4)
_INTERVAL_US = const(100_000)
# Times are tenths of a second (clock.py).
_PHONES = const(8)
_BITCRAPS = const(2)


# What each frame takes of the air, in percent of `tenths`: on the 1M PHY about 530 us and 10 us for each of its bytes,
# packets, gaps and acknowledgements included.
def airtime(frames, size, tenths):
    return min(_FULL, (53 * frames + size) // (100 * tenths))


def _response(service, data):
    return bytearray((1 + len(service) + len(data), _SERVICE_DATA)) + service + data


class Advertiser:
    def __init__(self, radio, links, counts, now):
        # Only now: see rare.py.
        from shared_protocol import beacon

        self.radio = radio
        self.links = links
        self.counts = counts
        self.announcing = False  # phones are told our id: only a relay that announces itself has one for them
        self.load = 0
        self._for_phones = _response(SERVICE_BYTES, bytes(_ID_SIZE))
        self.bitcraps = _HEAD + beacon.SERVICE_BYTES
        data = beacon.encode(_MAJOR, _MINOR, beacon.MESH_ROUTING, bytes(_ID_SIZE), 0, 0)
        self._for_bitcraps = _response(beacon.SERVICE_BYTES, data)
        self._is_for_phones = False
        self._since = now
        self._measured_at = now
        self._frames = 0
        self._bytes = 0

    # The on-air id that both kinds of peers are told from now on.
    def identify(self, on_air_id):
        self._for_phones[-_ID_SIZE:] = on_air_id
        self._for_bitcraps[-_ID_SIZE - 2 : -2] = on_air_id

    # Advertises while there is a place left. The stack ends it at every connection; it is also set again if it ended
    # without a word: a relay nobody can find is dead.
    def step(self, now):
        radio = self.radio
        links = self.links
        if links.used() >= links.max_links:
            return
        for_phones = True
        if radio.advertising:
            if now - self._since < (_PHONES if self._is_for_phones else _BITCRAPS):
                return
            for_phones = not self._is_for_phones
        # Before the call: somebody may connect while it lasts, and that ends it.
        radio.advertising = True
        self._is_for_phones = for_phones
        self._since = now
        try:
            if for_phones:
                response = self._for_phones if self.announcing else b""
                radio.ble.gap_advertise(_INTERVAL_US, adv_data=FOR_PHONES, resp_data=response)
            else:
                self._measure(now)
                self._for_bitcraps[-2] = self.load
                self._for_bitcraps[-1] = links.max_links - links.used()
                radio.ble.gap_advertise(_INTERVAL_US, adv_data=self.bitcraps, resp_data=self._for_bitcraps)
        except OSError:
            radio.advertising = False  # no place in the stack yet: tried again at the next step

    # The load is what is scarcer, air or frame slots; a burst is forgotten in some seconds.
    def _measure(self, now):
        tenths = now - self._measured_at
        if tenths <= 0:
            return
        counts = self.counts
        pool = self.links.pool
        frames = counts[c.RX_FRAMES] + counts[c.TX_FRAMES]
        size = counts[c.RX_BYTES] + counts[c.TX_BYTES] & l.SMALL
        load = airtime(frames - self._frames, size - self._bytes & l.SMALL, tenths)
        load = max(load, 100 - 100 * len(pool.free) // pool.count)
        self.load = load if load > self.load else (3 * self.load + load) // 4
        self._measured_at = now
        self._frames = frames
        self._bytes = size
