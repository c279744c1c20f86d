from firmware import links as l
from firmware import opening as o
from firmware.dialer import Dialer
from firmware.links import Links, records
from firmware.log import Log
from firmware.opening import Opener
from firmware.radio import CHARACTERISTIC, SERVICE, Radio
from firmware.slots import FramePool
from firmware.upkeep import Upkeep
from shared_protocol import counters as c

OWN = b"\x05" * 6
HIGHER = b"\x09" * 6
LOWER = b"\x01" * 6
PHONE = b"\xc1" * 6


# Records the calls that the firmware makes; events are fed by hand.
class Stack:
    def __init__(self):
        self.calls = []
        self.advertise_error = 0

    def _note(self, *call):
        self.calls.append(call)

    def gap_advertise(self, interval, adv_data=None):
        if self.advertise_error:
            raise OSError(self.advertise_error)
        self._note("advertise")

    def gap_scan(self, duration, *window):
        self._note("scan", duration)

    def gap_connect(self, kind, address=None, ms=0):
        self._note("connect", None if kind is None else bytes(address))

    def gap_disconnect(self, conn):
        self._note("disconnect", conn)

    def gattc_exchange_mtu(self, conn):
        self._note("mtu", conn)

    def gattc_discover_services(self, conn, uuid):
        self._note("services", conn)

    def gattc_discover_characteristics(self, conn, start, end, uuid):
        self._note("characteristics", conn, start, end)

    def gattc_discover_descriptors(self, conn, start, end):
        self._note("descriptors", conn, start, end)

    def gattc_write(self, conn, handle, data, mode):
        self._note("write", conn, handle, bytes(data), mode)


class Rig:
    def __init__(self, **settings):
        values = {"dial_max": 2, "phone_slots": 2}
        values.update(settings)
        self.counts = [0] * c.COUNT
        self.stack = Stack()
        pool = FramePool(8, records(4))
        self.links = Links(pool, self.counts, 4)
        self.radio = Radio(self.stack, self.links, pool, self.counts, lambda: None)
        self.radio.address = OWN
        self.dialer = self.radio.dialer = Dialer(OWN, lambda low, high: high)
        opener = Opener(
            self.radio, self.links, self.dialer, self.counts, values["phone_slots"], Log(0), SERVICE, CHARACTERISTIC
        )
        self.upkeep = Upkeep(self.radio, self.links, self.dialer, opener, self.counts, values, Log(0), 0)
        self.now = 0

    # A step of upkeep `ms` from now; returns the calls that it made, but for scanning and advertising.
    def step(self, ms=0, everything=False):
        self.now += ms
        # Links opened by an event have the real clock's time; the checks run on their own.
        self.stack.calls = []
        self.upkeep.step(self.now)
        return [call for call in self.stack.calls if everything or call[0] not in ("scan", "advertise")]

    def event(self, number, *data):
        self.radio._irq(number, data)
        for link in self.links.by_conn.values():
            if link.phase == o.CONNECTED:
                link.opened_at = link.heard_at = self.now

    def inbound(self, conn, address, kind=0):
        self.event(1, conn, kind, address)

    def outbound(self, conn, address, kind=0):
        self.event(7, conn, kind, address)

    def state(self, conn):
        return self.links.by_conn[conn].state

    # Takes an outbound link to readiness.
    def open(self, conn):
        self.step()
        self.event(21, conn, 517)
        self.step()
        self.event(9, conn, 10, 20, SERVICE)
        self.event(10, conn, 0)
        self.step()
        self.event(11, conn, 20, 12, 0x1E, CHARACTERISTIC)
        self.event(12, conn, 0)
        self.step()
        self.event(13, conn, 13, o.CCCD)
        self.event(14, conn, 0)
        self.step()
        self.event(17, conn, 13, 0)
        self.step()


def check_an_outbound_link_opens_step_by_step():
    rig = Rig()
    rig.outbound(3, LOWER)
    assert rig.step() == [("mtu", 3)]
    assert rig.step() == []
    rig.event(21, 3, 517)
    assert rig.step() == [("services", 3)]
    rig.event(9, 3, 10, 20, SERVICE)
    rig.event(10, 3, 0)
    assert rig.step() == [("characteristics", 3, 10, 20)]
    rig.event(11, 3, 20, 12, 0x1E, CHARACTERISTIC)
    rig.event(12, 3, 0)
    assert rig.step() == [("descriptors", 3, 12, 20)]
    rig.event(13, 3, 13, o.CCCD)
    rig.event(14, 3, 0)
    assert rig.step() == [("write", 3, 13, b"\x01\x00", 1)]
    assert rig.state(3) == l.OPENING
    rig.event(17, 3, 13, 0)
    rig.step()
    assert rig.state(3) == l.READY and rig.links.ready == 1 and rig.links.all[0].room == 514


def check_a_peer_without_the_service_is_dropped_and_not_dialled_again_soon():
    rig = Rig()
    rig.dialer.heard(0, LOWER, -50, 0)
    rig.outbound(3, LOWER)
    rig.step()
    rig.event(21, 3, 517)
    rig.step()
    rig.event(10, 3, 0)
    assert rig.step() == [("disconnect", 3)]
    rig.event(8, 3, 0, LOWER)
    assert rig.step() == []
    assert rig.counts[c.DIALS_FAILED] == 1


def check_an_outbound_link_that_hangs_is_given_up_in_time():
    rig = Rig()
    rig.outbound(3, LOWER)
    rig.step()
    assert rig.step(8000) == []
    assert rig.step(1) == [("disconnect", 3)]


def check_an_inbound_phone_is_ready_at_its_first_write_once_the_mtu_is_full():
    rig = Rig()
    rig.inbound(0, PHONE, 1)
    rig.step()
    rig.links.by_conn[0].rx_frames = 1
    rig.step()
    assert rig.state(0) == l.OPENING
    rig.event(21, 0, 517)
    rig.step()
    assert rig.state(0) == l.READY


def check_an_inbound_phone_that_only_listens_is_ready_when_it_had_time_to_subscribe():
    rig = Rig()
    rig.inbound(0, PHONE, 1)
    rig.step()
    rig.event(21, 0, 517)
    rig.step(1500)
    assert rig.state(0) == l.OPENING
    rig.step(1)
    assert rig.state(0) == l.READY


def check_an_inbound_phone_that_does_not_ask_for_an_mtu_is_asked():
    rig = Rig()
    rig.inbound(0, PHONE, 1)
    rig.step()
    assert rig.step(1001) == [("mtu", 0)]
    assert rig.step(1000) == []


def check_a_phone_that_keeps_a_small_mtu_is_served_what_fits():
    rig = Rig()
    rig.inbound(0, PHONE, 1)
    rig.step()
    rig.step(1001)
    rig.event(21, 0, 185)
    rig.step(3000)
    assert rig.state(0) == l.READY
    rig.step()
    assert rig.links.ready_links[0].room == 182


def check_of_two_links_between_relays_the_one_the_higher_address_dialled_stays():
    rig = Rig()
    rig.outbound(3, HIGHER)
    rig.open(3)
    rig.inbound(0, HIGHER)
    assert ("disconnect", 3) in rig.step()
    rig = Rig()
    rig.outbound(3, LOWER)
    rig.open(3)
    rig.inbound(0, LOWER)
    assert rig.step() == [("disconnect", 0)]
    assert rig.counts[c.LINKS_REFUSED] == 1
    rig = Rig()
    rig.inbound(0, HIGHER)
    rig.step()
    rig.outbound(3, HIGHER)
    assert rig.step() == [("disconnect", 3)]
    rig = Rig()
    rig.inbound(0, LOWER)
    rig.step()
    rig.outbound(3, LOWER)
    assert ("disconnect", 0) in rig.step()


def check_other_relays_leave_places_to_phones():
    rig = Rig()
    rig.inbound(0, b"\x21" * 6)
    rig.inbound(1, b"\x22" * 6)
    rig.step()
    rig.inbound(2, b"\x23" * 6)
    assert rig.step() == [("disconnect", 2)]
    rig.event(2, 2, 0, b"")
    rig.inbound(2, PHONE, 1)
    assert rig.step() == []


def check_advertising_comes_back_after_a_connection_and_stops_at_the_limit():
    rig = Rig(dial_max=0)
    assert rig.step(everything=True) == [("advertise",)]
    assert rig.step(100, everything=True) == []
    for conn in range(3):
        rig.inbound(conn, bytes((0xC0 + conn,) * 6), 1)
        assert rig.step(100, everything=True) == [("advertise",)]
    rig.inbound(3, PHONE, 1)
    assert rig.step(100, everything=True) == []
    rig.event(2, 1, 1, b"")
    assert rig.step(100, everything=True) == [("advertise",)]


def check_advertising_that_was_refused_is_tried_again():
    rig = Rig(dial_max=0)
    rig.stack.advertise_error = 12
    assert rig.step(everything=True) == []
    rig.stack.advertise_error = 0
    assert rig.step(100, everything=True) == [("advertise",)]


def check_a_relay_that_is_heard_is_dialled_and_scanning_stops_for_it():
    rig = Rig()
    assert ("scan", 2000) in rig.step(everything=True)
    rig.dialer.heard(0, LOWER, -50, rig.now)
    assert rig.step(100, everything=True) == [("scan", None), ("connect", LOWER)]
    assert rig.step(100, everything=True) == []


def check_a_dial_that_nobody_answers_is_counted_and_backs_off():
    rig = Rig()
    rig.dialer.heard(0, LOWER, -50, 0)
    rig.step()
    rig.event(8, 65535, 0, LOWER)
    assert rig.step(100) == []
    assert rig.counts[c.DIALS_FAILED] == 1
    assert rig.step(1999) == []
    assert rig.step(1) == [("connect", LOWER)]


def check_a_link_that_dies_before_it_is_ready_was_a_failed_dial():
    rig = Rig()
    rig.dialer.heard(0, LOWER, -50, 0)
    assert rig.step() == [("connect", LOWER)]
    rig.outbound(3, LOWER)
    rig.event(8, 3, 0, LOWER)
    assert rig.step(100) == []
    assert rig.counts[c.DIALS_FAILED] == 1
    assert rig.step(1999) == []
    assert rig.step(1) == [("connect", LOWER)]


def check_after_a_link_was_lost_the_higher_address_dials_first_again():
    rig = Rig()
    rig.dialer.heard(0, HIGHER, -50, 0)
    rig.inbound(0, HIGHER)
    rig.step()
    rig.event(21, 0, 517)
    rig.step(1600)
    assert rig.state(0) == l.READY
    rig.event(2, 0, 0, HIGHER)
    rig.dialer.heard(0, HIGHER, -50, rig.now)
    assert rig.step(100) == []
    assert rig.step(3999) == []
    assert rig.step(1) == [("connect", HIGHER)]


def check_a_relay_that_dials_us_while_we_dial_it_ends_our_dial():
    rig = Rig()
    rig.dialer.heard(0, LOWER, -50, 0)
    rig.step()
    rig.inbound(0, LOWER)
    assert ("connect", None) in rig.step()


def check_no_more_links_are_dialled_than_the_setting_says():
    rig = Rig(dial_max=1)
    rig.outbound(3, b"\x02" * 6)
    rig.open(3)
    rig.dialer.heard(0, LOWER, -50, 0)
    assert rig.step(5000, everything=True) == [] or rig.stack.calls == [("advertise",)]


def check_a_peer_that_takes_nothing_is_dropped_so_that_the_others_go_on():
    rig = Rig(dial_max=0)
    for conn in range(3):
        rig.inbound(conn, bytes((0xC0 + conn,) * 6), 1)
        rig.event(21, conn, 517)
    rig.step(1600)
    assert len(rig.links.ready_links) == 3
    for conn in (0, 2):
        rig.links.by_conn[conn].rx_frames += 1
    rig.step(1000)
    rig.links.waiting = 3
    assert rig.step(4000) == []
    assert rig.step(1) == [("disconnect", 1)]
    # That was not enough: the next one, and not before its time.
    assert rig.step(4000) == []
    assert rig.step(1) != []
    assert rig.counts[c.LINKS_STALLED] == 2


def check_nobody_is_dropped_while_frames_move():
    rig = Rig(dial_max=0)
    rig.inbound(0, PHONE, 1)
    rig.event(21, 0, 517)
    rig.step(1600)
    rig.links.waiting = 3
    for _ in range(20):
        rig.counts[c.TX_FRAMES] += 1
        assert rig.step(3000) == []
