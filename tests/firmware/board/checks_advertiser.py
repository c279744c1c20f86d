from rig import Rig

from firmware import advertiser as a
from firmware.radio import SERVICE_BYTES, lists_service
from shared_protocol import beacon
from shared_protocol import counters as c
from shared_protocol.versions import CURRENT

FOR_BITCRAPS = b"\x02\x01\x06\x11\x07" + beacon.SERVICE_BYTES
ID = b"\xa0\x28\x98\x10\x03\x2e\xb4\x17"


# A relay's advertiser, and what the stack is told: (advertisement, scan response) at each call.
class Air(Rig):
    def __init__(self, degree=0, places=4):
        super().__init__(degree=degree)
        self.links.max_links = places
        self.told = []
        self.refuses = False
        self.stack.gap_advertise = self.advertise
        self.advertiser = a.Advertiser(self.radio, self.links, self.counts, 0)

    def advertise(self, interval, adv_data, resp_data):
        assert interval == 100_000
        if self.refuses:
            raise OSError(12)
        self.told.append((bytes(adv_data), bytes(resp_data)))

    # From tenth `start` on, a step each.
    def steps(self, start, count):
        for now in range(start, start + count):
            self.advertiser.step(now)
        return self.told


def check_both_advertisements_are_21_bytes_and_only_that_for_phones_is_taken_for_one():
    assert len(a.FOR_PHONES) == len(FOR_BITCRAPS) == 21
    assert lists_service(memoryview(a.FOR_PHONES)) and not lists_service(memoryview(FOR_BITCRAPS))


def check_phones_have_eight_tenths_of_each_second():
    air = Air()
    shown = []
    for now in range(100):
        air.advertiser.step(now)
        shown.append(air.told[-1][0] == a.FOR_PHONES)
    for start in range(90):
        assert sum(shown[start : start + 10]) == 8
    assert len(air.told) == 20


def check_the_answer_to_phones_is_empty_until_the_relay_announces_itself():
    air = Air()
    air.advertiser.identify(ID)
    assert air.steps(0, 1) == [(a.FOR_PHONES, b"")]
    air.advertiser.announcing = True
    told = air.steps(1, 10)
    assert told[-1] == (a.FOR_PHONES, b"\x19\x21" + SERVICE_BYTES + ID) and len(told[-1][1]) == 26


def check_the_answer_to_bitcraps_nodes_tells_who_we_are_and_how_busy():
    air = Air(degree=3)
    data, response = air.steps(0, 9)[-1]
    assert data == FOR_BITCRAPS and len(response) == 31
    assert response[:18] == b"\x1e\x21" + beacon.SERVICE_BYTES
    assert beacon.parse(response[18:]) == CURRENT[:2] + (beacon.MESH_ROUTING, bytes(8), 0, 1)
    air.advertiser.identify(ID)
    air.pool.free.popleft()
    air.links.closed(1)
    for _ in range(5):
        air.pool.free.popleft()
    response = air.steps(9, 10)[-1][1]
    assert beacon.parse(response[18:]) == (1, 4, beacon.MESH_ROUTING, ID, 25, 2)


def check_the_load_is_the_share_of_the_air_or_of_the_slots_and_fades():
    assert a.airtime(0, 0, 10) == 0
    assert a.airtime(10, 2000, 10) == 2  # 10 frames of 200 bytes a second: 25 ms of air
    assert a.airtime(100, 50_000, 10) == 55
    assert a.airtime(1000, 500_000, 10) == 100
    air = Air()
    air.steps(0, 9)
    air.counts[c.TX_FRAMES] += 100
    air.counts[c.TX_BYTES] = 50_000
    seen = []
    for start in range(9, 309, 10):
        air.steps(start, 10)
        seen.append(air.advertiser.load)
    assert seen[0] == 55 and seen[1] == 41 and seen[-1] == 0, seen
    # The counters of bytes wrap.
    air.counts[c.TX_BYTES] = 20_000
    air.steps(309, 10)
    air.counts[c.TX_BYTES] = 0
    assert air.advertiser.load > 0


def check_nothing_is_advertised_without_a_place_and_phones_come_first_afterwards():
    air = Air(degree=3, places=4)
    air.steps(0, 9)
    assert air.told[-1][0] == FOR_BITCRAPS
    air.radio.advertising = False
    air.links.max_links = 3
    assert len(air.steps(9, 20)) == 2
    air.links.max_links = 4
    assert air.steps(29, 1)[-1][0] == a.FOR_PHONES
    # A connection ends it in the midst of either turn.
    air.steps(30, 8)
    assert air.told[-1][0] == FOR_BITCRAPS
    air.radio.advertising = False
    assert air.steps(38, 1)[-1][0] == a.FOR_PHONES


def check_what_the_stack_refused_is_tried_again_at_the_next_step():
    air = Air()
    air.refuses = True
    assert air.steps(0, 5) == [] and not air.radio.advertising
    air.refuses = False
    assert air.steps(5, 1) == [(a.FOR_PHONES, b"")]


def check_taking_turns_leaves_no_garbage():
    import gc

    air = Air()
    air.stack.gap_advertise = lambda interval, adv_data, resp_data: None
    air.steps(0, 50)
    gc.collect()
    gc.disable()
    try:
        before = gc.mem_alloc()
        for now in range(50, 1050):
            air.advertiser.step(now)
        left = gc.mem_alloc() - before
    finally:
        gc.enable()
    assert left < 1000, left
