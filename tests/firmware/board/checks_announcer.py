# The relay's own announces, over a stack that records, with keys of the RFC.
from binascii import unhexlify
from hashlib import sha256

from rig import Rig

from firmware import links as l
from firmware.announcer import Announcer
from firmware.keys import Keys
from shared_protocol import announce, ed25519, frame, ping
from shared_protocol.wall_time import WallTime

NOW = 1786000000000
SEED = bytes(range(32))
SECRET = bytes(range(32, 64))
SIGNING_KEY = unhexlify("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8")
ON_AIR_ID = unhexlify("a0289810032eb417")


def middle(low, high):
    return (low + high) // 2


class Speaker(Rig):
    def __init__(self, degree=3, name="relay", keys=None, **more):
        super().__init__(degree, **more)
        self.settings = {"name": name}
        self.wall = WallTime()
        if keys is None:
            keys = Keys(SEED + SECRET, "ok")
            ed25519.finish(keys.make_steps())
        self.announcer = Announcer(
            keys, self.wall, self.clock, self.links, self.pool, self.counts, self.settings, middle
        )
        self.wall.set_by_host(NOW, 0)

    # Lets tenths of a second pass, as the loops do; returns what was sent: (tenth, conn, frame).
    def pass_time(self, tenths):
        sent = []
        for _ in range(tenths):
            self.clock.tenths += 1
            self.announcer.step()
            if self.announcer.is_due():
                ed25519.finish(self.announcer.renew_steps())
            sent += [(self.clock.tenths, conn, data) for conn, data in self.stack.sent]
            self.stack.sent = []
        return sent

    def link(self, conn):
        return self.links.by_conn[conn]


def fields(data):
    header = frame.Header()
    assert header.parse(data, len(data)) == len(data)
    return header, announce.parse(data[header.payload_at : header.payload_at + header.payload_len])


def check_keys_are_those_of_the_vectors():
    keys = Keys(SEED + SECRET, "ok")
    assert keys.is_due() and keys.on_air_id == bytes(8)
    ed25519.finish(keys.make_steps())
    assert keys.ready and not keys.is_due()
    assert keys.public_key == SIGNING_KEY and keys.on_air_id == ON_AIR_ID
    assert keys.peer_id == sha256(SIGNING_KEY).digest()
    assert not Keys(None, "damaged").is_due()


def check_an_announce_is_what_both_apps_accept():
    rig = Speaker()
    rig.link(1).owner[:] = b"neighbor"
    rig.link(1).owned = True
    rig.announcer.changed()
    sent = rig.pass_time(2)
    assert [conn for _, conn, _ in sent] == [0, 1, 2]
    data = sent[0][2]
    header, said = fields(data)
    assert (header.version, header.type, header.ttl) == (1, 1, 7)
    assert header.flags == frame.HAS_SIGNATURE
    assert header.payload_len < 100
    assert data[header.sender_at : header.sender_at + 8] == ON_AIR_ID == sha256(said["noise_key"]).digest()[:8]
    assert said["nickname"] == "relay" and said["signing_key"] == SIGNING_KEY
    assert said["neighbors"] == [b"neighbor"]
    assert abs(int.from_bytes(data[3:11], "big") - NOW) < 1000
    signature = data[header.signature_at : header.signature_at + 64]
    assert ed25519.finish(ed25519.verify_steps(SIGNING_KEY, frame.signing_preimage(data), signature))


def check_the_longest_name_and_all_neighbors_fit():
    for size in range(1, 30):
        rig = Speaker(name="n" * size)
        for conn in range(3):
            rig.link(conn).owner[:] = bytes((conn,)) * 8
            rig.link(conn).owned = True
        rig.announcer.changed()
        ((_, _, data), *_) = rig.pass_time(1)
        header, said = fields(data)
        assert header.payload_len < 100 and said["nickname"] == "n" * size


def check_without_time_or_identity_it_is_silent_and_says_why():
    rig = Speaker()
    rig.wall.source = ""
    rig.announcer.changed()
    rig.announcer.link_up(rig.link(0))
    assert rig.pass_time(100) == []
    assert "time" in rig.announcer.silence()
    rig.wall.set_by_host(NOW, 0)
    assert len(rig.pass_time(1)) == 3 and rig.announcer.silence() == ""
    rig = Speaker(keys=Keys(None, "damaged"))
    rig.announcer.changed()
    assert rig.pass_time(100) == [] and "damaged" in rig.announcer.silence()
    rig.announcer.pong(rig.link(0), b"somebody", b"nonce123")
    assert rig.pass_time(1) == []


def check_stamps_grow_but_do_not_stay_ahead_of_a_clock_that_was_put_right():
    rig = Speaker()
    first = rig.announcer.stamp()
    rig.wall.set_by_host(NOW - 5000, 0)
    assert rig.announcer.stamp() == first + 1
    rig.wall.set_by_host(NOW + 3600_000, 0)
    rig.announcer.changed()
    rig.pass_time(1)
    rig.wall.set_by_host(NOW, 0)
    # The announce at hand says the wrong time: it is not used, and made anew.
    rig.announcer.greet(rig.link(0))
    assert rig.stack.sent == [] and rig.announcer.is_due()
    rig.pass_time(1)
    stamp = int.from_bytes(rig.announcer._frame[3:11], "big")
    assert abs(stamp - NOW) < 1000


def check_a_new_link_gets_the_announce_at_hand_at_once_and_alone():
    rig = Speaker()
    rig.announcer.changed()
    rig.pass_time(200)
    for _ in range(30):
        rig.announcer.link_up(rig.link(2))
        sent = rig.pass_time(1)
        assert [conn for _, conn, _ in sent][0] == 2
        assert [conn for _, conn, data in rig.pass_time(1)] in ([], [0, 1, 2])


def check_a_link_that_is_not_ready_is_greeted_if_the_frame_fits():
    rig = Speaker()
    rig.announcer.changed()
    rig.pass_time(1)
    link = rig.link(0)
    link.state = l.OPENING
    link.mtu = 23
    rig.announcer.greet(link)
    assert rig.stack.sent == []
    link.mtu = 517
    rig.announcer.greet(link)
    assert [conn for conn, _ in rig.stack.sent] == [0]
    rig.stack.room = 0
    rig.announcer.greet(link)
    rig.check_books()


def check_what_is_owed_waits_for_the_frame_before_it():
    rig = Speaker()
    rig.announcer.changed()
    rig.pass_time(1)
    rig.stack.room = 0
    rig.announcer.link_up(rig.link(0))
    assert rig.pass_time(1) == []  # it waits in the queue, and so does whatever comes next
    rig.announcer.link_up(rig.link(1))
    assert rig.pass_time(5) == []
    rig.stack.room = 100
    rig.links.pump(1000)
    sent = rig.pass_time(1)
    assert sorted({conn for _, conn, _ in sent}) == [0, 1]
    rig.check_books()


def check_the_announce_at_hand_is_never_old():
    rig = Speaker(degree=1)
    rig.announcer.changed()
    rig.pass_time(1)
    rig.link(0).state = l.LOST
    rig.links.sweep()
    for _ in range(20):
        rig.pass_time(50)
        stamp = int.from_bytes(rig.announcer._frame[3:11], "big")
        assert NOW + rig.clock.uptime_ms() - stamp <= 45_000


def check_a_pong_goes_back_where_the_ping_came_from():
    rig = Speaker()
    rig.announcer.pong(rig.link(1), b"somebody", b"nonce123")
    ((conn, data),) = rig.stack.sent
    assert conn == 1
    header, _ = fields(data)
    assert header.type == frame.TYPE_PONG and header.ttl == 7
    assert data[header.sender_at : header.sender_at + 8] == ON_AIR_ID
    assert data[header.recipient_at : header.recipient_at + 8] == b"somebody"
    assert data[header.payload_at : header.payload_at + header.payload_len] == ping.encode(b"nonce123", 7)
    rig.check_books()


def check_a_version_2_packet_goes_out_at_every_change_and_every_45_s():
    rig = Speaker(degree=1)
    rig.announcer.hello = b"hello"
    rig.announcer.changed()
    moments = [at for at, _, data in rig.pass_time(1000) if data[0] == 2]
    assert moments == [2, 452, 902]
    sent = []
    for _ in range(25):
        rig.announcer.changed()
        sent += [data for _, _, data in rig.pass_time(10) if data[0] == 2]
    assert len(sent) == 3 and sent[0][1] == frame.TYPE_HELLO and sent[0][2] == 7
    assert sent[0].endswith(b"hello") and ON_AIR_ID in sent[0]
