from firmware import links as l
from firmware import opening as o
from firmware.clock import Clock
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
        self.busy = 0  # calls that are refused
        self.there = True  # what gap_disconnect says

    def _note(self, *call):
        if self.busy:
            self.busy -= 1
            raise OSError(16)
        self.calls.append(call)

    def irq(self, handler):
        pass

    def gap_advertise(self, interval, adv_data=None, resp_data=None):
        if self.advertise_error:
            raise OSError(self.advertise_error)
        self._note("advertise")

    def gap_scan(self, duration, *window):
        self._note("scan", duration)

    def gap_connect(self, kind, address=None, ms=0):
        self._note("connect", None if kind is None else bytes(address))

    def gap_disconnect(self, conn):
        self._note("disconnect", conn)
        return self.there

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
        self.clock = Clock()
        self.radio = Radio(self.stack, self.links, pool, self.counts, self.clock, lambda: None)
        self.radio.address = OWN
        self.dialer = self.radio.dialer = Dialer(OWN, lambda low, high: high)
        opener = Opener(
            self.radio, self.links, self.dialer, self.counts, values["phone_slots"], Log(0), SERVICE, CHARACTERISTIC
        )
        self.upkeep = Upkeep(self.radio, self.links, self.dialer, opener, self.counts, values, Log(0), 0)

    # A step of upkeep `tenths` of a second from now; returns the calls it made, but for scanning and advertising.
    def step(self, tenths=0, everything=False):
        self.clock.tenths += tenths
        self.stack.calls = []
        self.upkeep.step(self.clock.tenths)
        return [call for call in self.stack.calls if everything or call[0] not in ("scan", "advertise")]

    def event(self, number, *data):
        self.radio._irq(number, data)

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
    assert rig.step(80) == []
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
    rig.step(15)
    assert rig.state(0) == l.OPENING
    rig.step(1)
    assert rig.state(0) == l.READY


def check_an_inbound_phone_that_does_not_ask_for_an_mtu_is_asked():
    rig = Rig()
    rig.inbound(0, PHONE, 1)
    rig.step()
    assert rig.step(11) == [("mtu", 0)]
    assert rig.step(10) == []


def check_a_phone_that_keeps_a_small_mtu_is_served_what_fits():
    rig = Rig()
    rig.inbound(0, PHONE, 1)
    rig.step()
    rig.step(11)
    rig.event(21, 0, 185)
    rig.step(30)
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
    assert rig.step(1, everything=True) == []
    for conn in range(3):
        rig.inbound(conn, bytes((0xC0 + conn,) * 6), 1)
        assert rig.step(1, everything=True) == [("advertise",)]
    rig.inbound(3, PHONE, 1)
    assert rig.step(1, everything=True) == []
    rig.event(2, 1, 1, b"")
    assert rig.step(1, everything=True) == [("advertise",)]


def check_a_peer_that_connects_as_soon_as_advertising_begins_does_not_end_it():
    rig = Rig(dial_max=0)
    advertise = rig.stack.gap_advertise

    def connected_at_once(interval, **data):
        advertise(interval, **data)
        rig.stack.gap_advertise = advertise
        rig.inbound(0, PHONE, 1)

    rig.stack.gap_advertise = connected_at_once
    assert rig.step(everything=True) == [("advertise",)]
    assert rig.step(1, everything=True) == [("advertise",)]


def check_advertising_that_was_refused_is_tried_again():
    rig = Rig(dial_max=0)
    rig.stack.advertise_error = 12
    assert rig.step(everything=True) == []
    rig.stack.advertise_error = 0
    assert rig.step(1, everything=True) == [("advertise",)]


def check_a_relay_that_is_heard_is_dialled_and_scanning_stops_for_it():
    rig = Rig()
    assert ("scan", 2000) in rig.step(everything=True)
    rig.dialer.heard(0, LOWER, -50, rig.clock.tenths)
    assert rig.step(1, everything=True) == [("scan", None), ("connect", LOWER)]
    assert rig.step(1, everything=True) == []


def check_a_dial_that_nobody_answers_is_counted_and_backs_off():
    rig = Rig()
    rig.dialer.heard(0, LOWER, -50, 0)
    rig.step()
    rig.event(8, 65535, 0, LOWER)
    assert rig.step(1) == []
    assert rig.counts[c.DIALS_FAILED] == 1
    assert rig.step(19) == []
    assert rig.step(1) == [("connect", LOWER)]


def check_a_link_that_dies_before_it_is_ready_was_a_failed_dial():
    rig = Rig()
    rig.dialer.heard(0, LOWER, -50, 0)
    assert rig.step() == [("connect", LOWER)]
    rig.outbound(3, LOWER)
    rig.event(8, 3, 0, LOWER)
    assert rig.step(1) == []
    assert rig.counts[c.DIALS_FAILED] == 1
    assert rig.step(19) == []
    assert rig.step(1) == [("connect", LOWER)]


def check_after_a_link_was_lost_the_higher_address_dials_first_again():
    rig = Rig()
    rig.dialer.heard(0, HIGHER, -50, 0)
    rig.inbound(0, HIGHER)
    rig.step()
    rig.event(21, 0, 517)
    rig.step(16)
    assert rig.state(0) == l.READY
    rig.event(2, 0, 0, HIGHER)
    rig.dialer.heard(0, HIGHER, -50, rig.clock.tenths)
    assert rig.step(1) == []
    assert rig.step(39) == []
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
    assert rig.step(50, everything=True) == [] or rig.stack.calls == [("advertise",)]


def check_a_peer_that_takes_nothing_is_dropped_so_that_the_others_go_on():
    rig = Rig(dial_max=0)
    for conn in range(3):
        rig.inbound(conn, bytes((0xC0 + conn,) * 6), 1)
        rig.event(21, conn, 517)
    rig.step(16)
    assert len(rig.links.ready_links) == 3
    for conn in (0, 2):
        rig.links.by_conn[conn].rx_frames += 1
    rig.step(10)
    rig.links.waiting = 3
    assert rig.step(40) == []
    assert rig.step(1) == [("disconnect", 1)]
    # That was not enough: the next one, and not before its time.
    assert rig.step(40) == []
    assert rig.step(1) != []
    assert rig.counts[c.LINKS_STALLED] == 2


def check_nobody_is_dropped_while_frames_move():
    rig = Rig(dial_max=0)
    rig.inbound(0, PHONE, 1)
    rig.event(21, 0, 517)
    rig.step(16)
    rig.links.waiting = 3
    for _ in range(20):
        rig.counts[c.TX_FRAMES] += 1
        assert rig.step(30) == []


def check_an_mtu_that_was_exchanged_before_the_connection_was_announced_counts():
    rig = Rig()
    rig.event(21, 0, 517)
    rig.inbound(0, PHONE, 1)
    rig.step(1)
    rig.links.by_conn[0].rx_frames = 1
    rig.step(1)
    assert rig.state(0) == l.READY
    rig.event(21, 3, 517)
    rig.outbound(3, LOWER)
    assert rig.step(1) == []
    assert rig.step(1) == [("services", 3)]


def check_what_the_stack_refused_is_asked_again():
    rig = Rig()
    rig.outbound(3, LOWER)
    rig.radio.advertising = rig.radio.dialling = True
    rig.stack.busy = 1
    assert rig.step(1) == []
    assert rig.step(1) == [("mtu", 3)]


def check_a_connection_without_a_record_is_ended():
    rig = Rig()
    for conn in range(7):
        rig.inbound(conn, bytes((0xC0 + conn,) * 6), 1)
    assert ("disconnect", 6) in rig.step(1)


def check_a_connection_that_failed_before_it_was_announced_brings_advertising_back():
    rig = Rig(dial_max=0)
    rig.step(1)
    rig.event(2, 65535, 0xFF, bytes(6))
    assert rig.step(1, everything=True) == [("advertise",)]
    rig.inbound(0, PHONE, 1)
    rig.event(2, 0, 0xFF, bytes(6))
    assert rig.links.used() == 1


def check_a_dial_whose_end_was_never_told_is_given_up():
    rig = Rig()
    rig.dialer.heard(0, LOWER, -50, 0)
    assert rig.step() == [("connect", LOWER)]
    assert rig.step(80) == []
    assert rig.step(1) == [("connect", None)]
    assert rig.step(1) == []
    assert rig.counts[c.DIALS_FAILED] == 1 and not rig.radio.dialling


def check_a_link_that_the_stack_lost_without_a_word_is_freed():
    rig = Rig()
    rig.inbound(0, PHONE, 1)
    rig.event(21, 0, 517)
    rig.step(16)
    rig.links.by_conn[0].broken = True
    rig.stack.there = False
    assert rig.step(1) == [("disconnect", 0)]
    assert rig.links.used() == 0


def check_a_peer_with_room_for_no_frame_does_not_keep_its_place():
    rig = Rig()
    rig.inbound(0, PHONE, 1)
    rig.step(1)
    rig.step(11)
    assert rig.step(41) == [("disconnect", 0)]


def check_a_handler_that_raises_is_told_to_the_loop_and_attached_again():
    rig = Rig(dial_max=0)
    rig.radio._irq(1, (1, 2))
    assert isinstance(rig.radio.error, ValueError)
    attached = []
    rig.stack.irq = attached.append
    rig.step(300)
    assert len(attached) == 1


def check_scanning_goes_on_when_its_last_event_was_lost():
    rig = Rig()
    assert ("scan", 2000) in rig.step(everything=True)
    assert ("scan", 2000) not in rig.step(20, everything=True)
    assert ("scan", 2000) in rig.step(6, everything=True)


def check_a_week_with_all_places_taken_leaves_nothing_stuck():
    rig = Rig(dial_max=2)
    for conn in range(4):
        rig.inbound(conn, bytes((0xC0 + conn,) * 6), 1)
        rig.event(21, conn, 517)
    rig.step(16)
    for _ in range(7):
        rig.step(24 * 36000)
    rig.event(2, 1, 1, bytes(6))
    calls = rig.step(1, everything=True)
    assert ("advertise",) in calls and ("scan", 2000) in calls
    rig.dialer.heard(0, LOWER, -50, rig.clock.tenths)
    assert rig.step(1) == [("connect", LOWER)]


def check_a_bitcraps_peer_is_ready_at_its_first_frame_whatever_its_mtu():
    rig = Rig()
    rig.radio.bitcraps_handle = 5
    rig.stack.gatts_read = lambda handle: bytes(32)
    rig.inbound(0, PHONE, 1)
    rig.step()
    rig.event(21, 0, 185)
    rig.step(1)
    assert rig.state(0) == l.OPENING
    rig.event(3, 0, 5)
    rig.step(1)
    assert rig.state(0) == l.READY and rig.links.by_conn[0].bitcraps


def check_a_peer_that_begins_with_a_handshake_is_answered_soon():
    rig = Rig()
    rig.radio.handshake_handle = 10
    rig.links.sends_with(rig.stack, 3)
    told = []
    rig.stack.gatts_notify = lambda conn, handle, data: told.append((conn, handle, bytes(data)))
    rig.inbound(0, PHONE, 1)
    rig.step()
    rig.event(21, 0, 517)
    rig.event(3, 0, 10)
    rig.step(1)
    rig.step(1)
    assert told == [(0, 10, b"\0")]
