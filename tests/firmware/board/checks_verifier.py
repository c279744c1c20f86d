# What the relay makes of the announces of others: whom it knows, who is at the end of which link, and what time it is.
from checks_announcer import NOW, Speaker

from firmware import links as l
from firmware.keys import Keys
from firmware.verifier import OWNED_S, Verifier
from shared_protocol import announce, ed25519, frame


class Author:
    def __init__(self, number):
        self.keys = Keys(bytes((number,)) * 32 + bytes((number + 100,)) * 32, "ok")
        ed25519.finish(self.keys.make_steps())
        self.id = bytes(self.keys.on_air_id)

    def announce(self, ms=0, ttl=7, signed_by=None, sender=None, noise_key=None):
        keys = signed_by or self.keys
        payload = announce.encode(b"phone", noise_key or self.keys.noise_key, keys.public_key, [])
        data = bytearray(frame.encode(1, ttl, NOW + ms, sender or self.id, payload))
        signature = ed25519.finish(keys.sign_steps(frame.signing_preimage(data)))
        data[11] |= frame.HAS_SIGNATURE
        return bytes(data) + signature


ALICE = Author(1)
BOB = Author(2)


class Listener(Speaker):
    def __init__(self, degree=3):
        super().__init__(degree)
        self.authors = self.forwarder.authors
        self.verifier = Verifier(self.announcer.keys, self.links, self.authors, self.wall, self.clock, self.announcer)

    # An announce comes on a link, and is checked.
    def hear_announce(self, conn, data, check=True):
        header = frame.Header()
        assert header.parse(data, len(data)) > 0
        self.verifier.take(self.link(conn), data, header)
        while check and self.verifier.is_due():
            ed25519.finish(self.verifier.check_steps())

    def owner(self, conn):
        link = self.link(conn)
        return bytes(link.owner) if link.owned else None

    def later(self, seconds):
        self.clock.tenths += 10 * seconds
        self.clock.now_s += seconds


def check_who_announces_himself_directly_owns_the_link():
    rig = Listener()
    rig.hear_announce(0, ALICE.announce())
    assert rig.owner(0) == ALICE.id and rig.authors.verified(ALICE.id, 0) >= 0
    assert rig.announcer.neighbors() == [ALICE.id]
    # Over others he is known, and no link is his.
    rig.hear_announce(1, BOB.announce(ttl=6))
    assert rig.owner(1) is None and rig.authors.verified(BOB.id, 0) >= 0
    assert rig.announcer.neighbors() == [ALICE.id]


def check_what_is_false_changes_nothing():
    rig = Listener()
    rig.hear_announce(0, ALICE.announce())
    good = BOB.announce(1000)
    for data in (
        good[:-1] + bytes((good[-1] ^ 1,)),  # a bad signature
        good[:30] + bytes((good[30] ^ 1,)) + good[31:],  # another name
        BOB.announce(1000, sender=ALICE.id),  # somebody else's id
        BOB.announce(1000, sender=ALICE.id, noise_key=ALICE.keys.noise_key),  # and key
        BOB.announce(1000, noise_key=bytes(32)),
        BOB.announce(-121_000),
        BOB.announce(121_000),
        good[:11] + bytes((good[11] & ~2,)) + good[12:-64],  # not signed
    ):
        refused = rig.count("announces_refused")
        rig.hear_announce(1, data)
        assert rig.owner(1) is None and rig.owner(0) == ALICE.id, data
        assert rig.authors.verified(BOB.id, 0) < 0
        assert rig.count("announces_refused") == refused + (len(data) == len(good))
    rig.hear_announce(1, good)
    assert rig.owner(1) == BOB.id


def check_nobody_else_can_speak_for_an_author_with_another_key():
    rig = Listener()
    rig.hear_announce(0, ALICE.announce())
    # The noise key is public: anybody can make this one, and it is right in itself.
    mallory = Author(3)
    forged = ALICE.announce(5000, signed_by=mallory.keys)
    rig.later(OWNED_S + 1)
    rig.hear_announce(1, forged)
    assert rig.owner(1) is None and rig.count("announces_refused") == 1


def check_an_announce_heard_before_or_older_binds_nothing():
    rig = Listener()
    first = ALICE.announce(0)
    rig.hear_announce(0, first)
    rig.later(30)
    rig.hear_announce(0, ALICE.announce(30_000))
    rig.later(OWNED_S + 1)
    rig.hear_announce(1, first)
    rig.hear_announce(1, ALICE.announce(30_000))
    assert rig.owner(1) is None


def check_a_good_peer_is_not_displaced():
    rig = Listener()
    rig.hear_announce(0, ALICE.announce())
    # A copy of a new announce with the TTL set to 7 again, sooner than its author's own.
    for second in range(10, 60, 10):
        rig.later(10)
        rig.hear_announce(1, ALICE.announce(1000 * second))
        assert rig.owner(0) == ALICE.id and rig.owner(1) is None
    # Once nothing has come of her directly for a minute, whoever brings it is the way to her.
    rig.later(OWNED_S + 1)
    rig.hear_announce(1, ALICE.announce(120_000))
    assert rig.owner(0) is None and rig.owner(1) == ALICE.id


def check_a_link_is_not_taken_from_its_owner():
    rig = Listener()
    rig.hear_announce(0, ALICE.announce())
    rig.hear_announce(0, BOB.announce())
    assert rig.owner(0) == ALICE.id
    rig.later(OWNED_S + 1)
    rig.hear_announce(0, BOB.announce(62_000))
    assert rig.owner(0) == BOB.id


# Another peer gets the record and the handle of one that has just gone.
def _replace(rig, conn):
    link = rig.link(conn)
    rig.links.closed(conn)
    rig.announcer.link_down(link)
    link.state = l.GONE
    rig.links.sweep()
    assert rig.links.opened(conn, l.INBOUND, 1, bytes(6), 0) is link
    link.mtu = 517
    link.state = l.READY
    rig.links.sweep()


def check_a_link_that_is_another_one_by_now_is_neither_bound_nor_heard():
    for steps_before in (0, 5, 1000):
        rig = Listener()
        rig.wall.source = ""
        rig.hear_announce(1, ALICE.announce(), check=False)
        steps = rig.verifier.check_steps()
        try:
            for _ in range(steps_before):
                next(steps)
        except StopIteration:
            continue
        _replace(rig, 1)
        ed25519.finish(steps)
        assert all(not link.owned for link in rig.links.all)
        # No vote is left that would count as the new peer's.
        rig.hear_announce(0, BOB.announce())
        assert rig.wall.source == ""


def check_an_author_who_put_his_clock_right_or_was_impersonated_is_known_again():
    rig = Listener()
    rig.wall.source = ""
    year = 365 * 86400_000
    rig.hear_announce(0, ALICE.announce(year))
    mallory = Author(3)
    rig.hear_announce(1, BOB.announce(signed_by=mallory.keys))
    rig.hear_announce(0, ALICE.announce())
    rig.hear_announce(2, BOB.announce(1))
    assert rig.owner(2) is None
    rig.later(700)
    rig.hear_announce(0, ALICE.announce(700_000))
    rig.hear_announce(2, BOB.announce(700_000))
    assert rig.owner(0) == ALICE.id and rig.owner(2) == BOB.id


def check_a_flood_on_one_link_takes_only_its_own_turns():
    rig = Listener()
    bad = BOB.announce(1000)
    bad = bad[:-1] + bytes((bad[-1] ^ 1,))
    for _ in range(100):
        rig.hear_announce(0, bad, check=False)
    rig.hear_announce(1, ALICE.announce(), check=False)
    for _ in range(2):
        ed25519.finish(rig.verifier.check_steps())
    assert rig.owner(1) == ALICE.id and not rig.verifier.is_due()


def check_a_direct_announce_goes_before_one_that_was_passed_on():
    rig = Listener()
    rig.hear_announce(0, BOB.announce(ttl=5), check=False)
    rig.hear_announce(0, ALICE.announce(), check=False)
    rig.hear_announce(0, BOB.announce(1, ttl=5), check=False)
    rig.hear_announce(0, BOB.announce(2), check=False)
    ed25519.finish(rig.verifier.check_steps())
    assert rig.owner(0) == ALICE.id


def check_who_is_known_is_not_checked_each_time():
    rig = Listener()
    rig.hear_announce(0, ALICE.announce())
    steps = []
    for seconds in (5, 5, 20):
        rig.later(seconds)
        rig.hear_announce(0, ALICE.announce(rig.clock.uptime_ms()), check=False)
        steps.append(len(list(rig.verifier.check_steps())))
    assert steps[0] == steps[1] == 0 and steps[2] > 10
    assert rig.owner(0) == ALICE.id


def check_the_time_is_that_of_two_neighbors():
    rig = Listener()
    rig.wall.source = ""
    rig.hear_announce(0, ALICE.announce(7000))
    assert rig.wall.source == ""
    rig.hear_announce(1, BOB.announce(7000))
    assert rig.wall.source == "mesh" and abs(rig.wall.now_ms(0) - NOW - 7000) < 100


def check_a_wrong_time_of_the_host_is_noticed_and_cuts_nobody_off():
    rig = Listener()
    rig.wall.set_by_host(NOW + 600_000, 0)
    rig.hear_announce(0, ALICE.announce())
    assert rig.owner(0) is None and not rig.wall.disputed
    rig.hear_announce(1, BOB.announce())
    assert rig.wall.disputed and rig.owner(1) == BOB.id
    rig.hear_announce(0, ALICE.announce(1))
    assert rig.owner(0) == ALICE.id
