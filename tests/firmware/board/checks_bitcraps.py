# A relay and its BitCraps peers: which service each is sent to in, the hello, handshakes, the identity record.
from errno import ENOMEM

import rig
from rig import HANDLE

from firmware import bitcraps
from firmware import links as l
from firmware.greeter import Greeter
from firmware.opening import Opener
from shared_protocol import frame, hello, versions

WRITTEN = 5
NOTIFIED = 7
HANDSHAKE = 10
ID = b"\xa0\x28\x98\x10\x03\x2e\xb4\x17"
RECORD = b"record" * 50


class Identity:
    on_air_id = ID
    peer_id = b"p" * 32


# Links 0 and 1 were dialled by peers, link 2 by us; all are ready.
class Rig(rig.Rig):
    def __init__(self, degree=3):
        super().__init__(degree)
        self.radio.bitcraps_handle = WRITTEN
        self.radio.bitcraps_notify = NOTIFIED
        self.radio.handshake_handle = HANDSHAKE
        self.told = []  # (conn, handle, bytes)
        self.hung_up = []
        self.stack.gatts_notify = self.notify
        self.stack.gap_disconnect = self.hung_up.append
        opener = Opener(self.radio, self.links, None, self.counts, 2, None, None, None)
        self.greeter = Greeter(self.radio, self.links, opener)
        self.tenths = 100

    def notify(self, conn, handle, data):
        if not self.stack.room:
            raise OSError(ENOMEM)
        self.stack.room -= 1
        self.told.append((conn, handle, bytes(data)))

    def write(self, value, conn=0, handle=WRITTEN):
        self.stack.value = value
        self.radio._irq(3, (conn, handle))

    # What a peer is told in `tenths` tenths of a second, as (handle, parsed header, frame).
    def greet(self, tenths=1, conn=0):
        self.told = []
        for _ in range(tenths):
            self.run(20)
            self.tenths += 1
            self.greeter.step(self.tenths)
        return [(handle, data) for to, handle, data in self.told if to == conn]

    def hello(self, version=versions.CURRENT, ttl=1, packet=1, **more):
        payload = hello.encode(version, **more)
        return self.frame(type=frame.TYPE_HELLO, ttl=ttl, payload=payload, version=packet)

    def link(self, conn=0):
        return self.links.by_conn[conn]


def parsed(data):
    header = frame.Header()
    assert header.parse(data, len(data)) == len(data)
    return header, data[header.payload_at : header.payload_at + header.payload_len]


def check_a_peer_is_a_phone_until_it_writes_to_the_bitcraps_service():
    r = Rig()
    r.hear(r.frame(), conn=1)
    r.run()
    assert r.told[0][:2] == (0, HANDLE)
    r.told = []
    r.write(r.frame(), conn=0)
    r.hear(r.frame(), conn=1)
    r.run()
    assert {(conn, handle) for conn, handle, _ in r.told if conn < 2} == {(0, NOTIFIED), (1, HANDLE)}
    assert r.count("rx_frames") == r.count("forwarded") == 3 and r.link(0).bitcraps
    r.check_books()


def check_what_waited_is_sent_in_the_service_that_the_peer_speaks_by_then():
    r = Rig()
    r.stack.room = 0
    r.hear(r.frame(), conn=1)
    r.run()
    assert r.links.waiting
    r.write(r.frame(), conn=0)
    r.stack.room = 100
    r.run()
    assert [handle for conn, handle, _ in r.told if conn == 0] == [NOTIFIED]


def check_a_peer_that_we_dialled_is_heard_and_goes_on_being_written_to():
    r = Rig()
    written = []
    r.stack.gattc_write = lambda conn, handle, data, mode: written.append(conn)
    r.write(r.frame(), conn=2)
    r.hear(r.frame(), conn=0)
    r.run()
    assert not r.link(2).bitcraps and written == [2] and r.count("forwarded") == 2


def check_a_record_that_is_used_again_is_a_phone_again():
    r = Rig()
    r.write(r.hello())
    r.greet()
    r.links.closed(0)
    r.links.sweep()
    link = r.links.opened(0, l.INBOUND, 1, bytes(6), 0)
    assert not link.bitcraps and link.notify_handle == HANDLE and link.mode == l.NO_HELLO
    assert link.features == versions.BASIC_MESH and not link.waits_for_us()


def check_a_hello_is_answered_to_its_link_only_and_goes_no_further():
    r = Rig()
    r.greeter.identity = Identity
    r.greeter.time_ms = lambda: 1786000000000
    r.write(r.hello())
    ((handle, data),) = r.greet()
    assert len(r.told) == 1 and handle == NOTIFIED
    header, payload = parsed(data)
    assert (header.type, header.ttl, header.version) == (frame.TYPE_HELLO, 1, 1)
    assert data[3:11] == (1786000000000).to_bytes(8, "big") and data[14:22] == ID
    said = hello.parse(payload)
    assert said["version"] == versions.CURRENT and said["on_air_id"] == ID and said["peer_id"] == b"p" * 32
    assert said["capabilities"] == 2
    assert (r.link().mode, r.link().features) == (versions.FULL, versions.features_of(versions.CURRENT))
    assert r.count("not_relayed_type") == 1 and r.count("forwarded") == 0
    assert r.greet(30) == []
    r.check_books()


def check_a_relay_without_keys_and_clock_says_hello_without_them():
    r = Rig()
    r.clock.tenths = 77
    r.write(r.hello())
    ((_, data),) = r.greet()
    said = hello.parse(parsed(data)[1])
    assert "on_air_id" not in said and "peer_id" not in said and data[14:22] == bytes(8)
    assert data[3:11] == (7700).to_bytes(8, "big")


def check_an_older_peer_has_what_its_version_has():
    for version, mode in (((1, 2, 0), versions.LIMITED), ((1, 0, 0), versions.LIMITED), ((1, 9, 0), versions.LIMITED)):
        r = Rig()
        r.write(r.hello(version))
        assert len(r.greet()) == 1
        assert r.link().mode == mode
        assert r.link().features == versions.features_of(min(version, versions.CURRENT))


def check_a_peer_that_never_says_hello_has_the_least():
    r = Rig()
    r.write(r.frame())
    assert r.greet(30) == []
    assert (r.link().mode, r.link().features) == (l.NO_HELLO, versions.BASIC_MESH)
    assert bitcraps.barred(r.links, 0xB1) == 0 and bitcraps.barred(r.links, 0xB8) == r.link().bit
    r.write(r.hello())
    r.greet()
    assert bitcraps.barred(r.links, 0xB8) == 0


def check_the_first_hello_counts_and_later_ones_are_only_answered():
    r = Rig()
    r.greeter.record = lambda: RECORD
    r.write(r.hello((1, 2, 0)))
    assert len(r.greet(20)) == 2
    for version in ((1, 4, 0), (2, 0, 0)):
        r.write(r.hello(version, minimum=(version[0], 0, 0)))
        assert [parsed(data)[0].type for _, data in r.greet(20)] == [frame.TYPE_HELLO]
        assert (r.link().mode, r.link().features) == (versions.LIMITED, versions.features_of((1, 2, 0)))
    assert r.hung_up == []


def check_a_peer_below_what_is_spoken_in_full_has_the_least():
    r = Rig()
    r.write(r.hello((1, 9, 0), minimum=(1, 5, 0)))
    r.greet()
    assert (r.link().mode, r.link().features) == (versions.LEGACY, versions.BASIC_MESH)


def check_an_incompatible_peer_hears_our_hello_and_is_let_go_with_a_reason():
    r = Rig()
    r.greeter.record = lambda: RECORD
    r.write(r.hello((2, 0, 0), minimum=(2, 0, 0)))
    assert len(r.greet()) == 1 and r.hung_up == []
    assert r.link().mode == versions.INCOMPATIBLE
    assert r.greet(30) == [] and r.hung_up == [0]
    assert r.link().why == "its protocol version is incompatible with ours"
    assert bitcraps.barred(r.links, 0xB1) == r.link().bit


def check_the_record_follows_the_hello_and_comes_when_it_is_asked_for():
    r = Rig()
    r.greeter.record = lambda: RECORD
    r.greeter.identity = Identity
    r.write(r.hello())
    said = [parsed(data) for _, data in r.greet()]
    assert [header.type for header, _ in said] == [frame.TYPE_HELLO, frame.TYPE_IDENTITY]
    assert said[1][1] == RECORD and said[1][0].ttl == 1
    assert r.greet(20) == []
    r.write(r.frame(type=frame.TYPE_IDENTITY, ttl=1, payload=b""))
    assert [parsed(data)[1] for _, data in r.greet()] == [RECORD]
    # Somebody else's record is no question.
    r.write(r.frame(type=frame.TYPE_IDENTITY, ttl=1, payload=RECORD))
    assert r.greet(20) == []


def check_who_asks_all_the_time_is_answered_once_a_second():
    r = Rig()
    answers = 0
    for _ in range(50):
        r.write(r.hello())
        r.write(b"handshake", handle=HANDSHAKE)
        answers += len(r.greet())
    assert 8 <= answers <= 12, answers


def check_what_the_stack_has_no_room_for_is_said_later():
    r = Rig()
    r.greeter.record = lambda: RECORD
    r.write(r.hello())
    r.stack.room = 0
    assert r.greet(20) == [] and r.link().mode == l.NO_HELLO
    r.stack.room = 1
    assert len(r.greet(10)) == 1
    r.stack.room = 9
    assert [parsed(data)[0].type for _, data in r.greet(20)] == [frame.TYPE_IDENTITY]
    assert r.count("backpressure") > 0
    r.check_books()


def check_a_handshake_is_told_that_there_are_no_sessions():
    r = Rig()
    r.write(b"e" * 32, handle=HANDSHAKE)
    assert r.radio.dirty
    assert r.greet() == [(HANDSHAKE, b"\0")]
    assert r.count("rx_frames") == 0
    assert r.greet(20) == []
    r.check_books()


def check_a_handshake_makes_no_bitcraps_link():
    r = Rig()
    r.write(b"e" * 32, conn=1, handle=HANDSHAKE)
    r.hear(r.frame(), conn=0)
    assert [handle for handle, _ in r.greet(10, conn=1)] == [HANDSHAKE, HANDLE]


def check_hellos_that_are_none_and_hellos_of_phones_change_nothing():
    r = Rig()
    for payload in (b"", b"short", b"\1\4\0\1\0\0\0\0\0\x1f\1\x08half", bytes(256)):
        r.write(r.frame(type=frame.TYPE_HELLO, ttl=1, payload=payload))
        assert r.greet(20) == []
    assert r.link().mode == l.NO_HELLO
    # One that says it is compressed is not read.
    data = bytearray(r.hello())
    data[frame.FLAGS] |= frame.COMPRESSED
    r.write(bytes(data))
    assert r.greet(20) == []
    r.hear(r.hello(), conn=1)
    assert r.greet(20, conn=1) == [] and r.link(1).mode == l.NO_HELLO


def check_a_beacon_is_relayed_and_is_nobodys_hello():
    r = Rig()
    r.write(r.frame())
    for ttl in (7, 1):
        r.write(frame.encode(0xB0, ttl, 1786000000000 + ttl, ID, bitcraps.own_hello(Identity), version=2))
        r.greet(20)
    assert r.count("forwarded") == 2 and r.count("not_relayed_ttl") == 1
    assert r.link().mode == l.NO_HELLO


def check_a_hello_goes_no_further_whatever_its_ttl():
    r = Rig()
    for ttl in (1, 2, 7):
        r.hear(frame.encode(0xB0, ttl, 1786000000000 + ttl, ID, bitcraps.own_hello(Identity)), conn=1)
        r.run()
    assert r.count("forwarded") == 0 and r.count("not_relayed_type") + r.count("not_relayed_ttl") == 3


def check_a_peer_with_a_small_mtu_does_not_get_what_does_not_fit():
    r = Rig()
    r.greeter.record = lambda: RECORD
    r.link().mtu = 100
    r.links.sweep()
    r.write(r.hello())
    assert [parsed(data)[0].type for _, data in r.greet(20)] == [frame.TYPE_HELLO]
    assert r.count("drop_mtu") == 1 and not r.link().waits_for_us()
    r.check_books()
