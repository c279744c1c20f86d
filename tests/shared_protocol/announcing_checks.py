# What a relay says in its own name and when, and what time it takes from others, on either interpreter.
from shared_protocol import announce, ping
from shared_protocol.announce_rate import AnnounceRate
from shared_protocol.cadence import Cadence
from shared_protocol.wall_time import HOST, MESH, WallTime

NOW = 1786000000000
MINUTE = 60_000


def middle(low, high):
    return (low + high) // 2


def author(n):
    return bytes((n,)) * 8


def check_an_announce_is_never_compressed():
    for size, most in ((1, 3), (3, 3), (4, 2), (11, 2), (12, 1), (19, 1), (20, 0), (29, 0)):
        assert announce.neighbors_beside(size) == most, size
        for neighbors in ([], [author(1)], [author(n) for n in range(12)]):
            payload = announce.encode(b"n" * size, b"x" * 32, b"e" * 32, neighbors)
            assert len(payload) <= 99
            said = announce.parse(payload)
            assert said["nickname"] == "n" * size and said["noise_key"] == b"x" * 32
            assert said["signing_key"] == b"e" * 32
            assert said.get("neighbors", []) == neighbors[: announce.neighbors_beside(size)]


def check_the_neighbors_that_fit_are_those_of_the_table():
    # 70 + nickname + (2 + 8 a neighbor) <= 99: section 1.8 of the protocol.
    for size in range(1, 30):
        fits = announce.neighbors_beside(size)
        assert 70 + size + 2 + 8 * fits <= 99 or fits == 0
        assert 70 + size + 2 + 8 * (fits + 1) > 99


def apart(moments):
    return [moments[i + 1] - moments[i] for i in range(len(moments) - 1)]


# Moments at which announces go out in `seconds`, with that many peers.
def sent(cadence, seconds, peers, busy=False, start=0):
    moments = []
    for now in range(start, start + 10 * seconds):
        if cadence.is_due(now, peers, busy):
            cadence.sent(now, peers)
            moments.append(now - start)
    return moments


def check_announces_start_close_and_grow_apart():
    cadence = Cadence(middle)
    cadence.changed(0)
    assert sent(cadence, 60, 1) == [0, 40, 120, 270, 420, 570]
    cadence.changed(600)
    assert sent(cadence, 60, 6, start=600) == [0, 40, 120, 280, 580]


def check_a_relay_without_links_is_silent_and_speaks_at_once_when_it_has_one():
    cadence = Cadence(middle)
    assert sent(cadence, 60, 0) == []
    cadence.changed(600)
    assert cadence.is_due(600, 1, False)


def check_who_comes_and_goes_all_the_time_does_not_make_it_shout():
    cadence = Cadence(middle)
    moments = []
    for now in range(600):
        cadence.changed(now)
        if cadence.is_due(now, 3, False):
            cadence.sent(now, 3)
            moments.append(now)
    assert moments[0] == 0 and min(apart(moments)) >= 40 and len(moments) <= 16, moments


def check_it_never_stays_silent_so_long_that_an_iphone_forgets_it():
    for peers in (1, 5, 6, 20):
        for randint in (min, max):
            cadence = Cadence(randint)
            moments = sent(cadence, 600, peers)
            gaps = apart(moments)
            assert max(gaps) <= 380 and min(gaps) >= 40
            if peers < 6:
                assert max(gaps) <= 190
    moments = sent(Cadence(middle), 600, 2, busy=True)
    assert max(apart(moments)) == 100


def check_pings():
    nonce = bytes(range(8))
    assert ping.encode(nonce, 7) == nonce + b"\x07"
    assert ping.encode(nonce + b"more", 3) == nonce + b"\x03"
    assert ping.hops(7, 7) == 1 and ping.hops(7, 5) == 3
    assert ping.hops(0, 7) is None and ping.hops(3, 4) is None
    budget = ping.PingBudget(3)
    answered = [now for now in range(400) if budget.take(1, now)]
    assert budget.take(0, 399) and budget.take(2, 399)
    assert answered == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104, 200, 201, 202, 203, 204, 300, 301, 302, 303, 304]


def check_a_link_brings_so_many_announces_and_no_more():
    for to_relay, burst, a_second in ((False, 12, 4), (True, 60, 20)):
        rate = AnnounceRate(3)
        admitted = 0
        for now in range(1000, 1600):
            for _ in range(10):
                admitted += rate.admit(1, to_relay, now)
        assert burst + 60 * a_second - 5 <= admitted <= burst + 60 * a_second, admitted
        assert rate.admit(0, to_relay, 1600) and rate.admit(2, to_relay, 1600)
        # After years.
        for now in (2**28 // 4 - 1, 2**30, 2**31):
            assert rate.admit(0, to_relay, now) and rate.admit(0, to_relay, now + 1)
        rate = AnnounceRate(1)
        # Sixty phones in the rhythm of iPhones are never cut.
        for turn in range(4):
            for phone in range(60):
                assert rate.admit(0, to_relay, 150 * turn + phone * 5 // 2)


# The time that the announces of (author, link, offset in ms) tell, as an offset from NOW; None without.
def told(votes, wall=None, uptime=1000):
    wall = wall or WallTime()
    for name, link, offset in votes:
        wall.heard(author(name), link, NOW + offset, uptime)
    now = wall.now_ms(uptime)
    return None if now is None else now - NOW


def check_nobody_is_believed_alone():
    assert told([]) is None
    assert told([(1, 0, 0)]) is None
    assert told([(1, 0, 0), (1, 1, 0), (1, 2, 0), (1, 3, 0)]) is None
    assert told([(1, 0, 0), (2, 0, 5)]) is None
    assert told([(1, 0, 0), (2, 1, 5)]) == 0
    assert told([(1, 0, 0), (2, 1, MINUTE)]) is None
    # Of the only neighbor three authors.
    assert told([(1, 0, 0), (2, 0, 5), (3, 0, 9)]) == 5
    assert told([(1, 0, 0), (2, 0, 5 * MINUTE), (3, 0, 99 * MINUTE)]) is None


def check_one_of_five_neighbors_does_not_move_the_clock():
    right = [(n, n, 10 * n) for n in range(4)]
    for offset in (-3600_000, -MINUTE, MINUTE, 3600_000, 10**11):
        assert told(right + [(9, 4, offset)]) == 10
        assert told([(9, 4, offset)] + right) == 10
    # Nor with a hundred names, which would be the majority of authors.
    assert told(right + [(100 + n, 4, 3600_000) for n in range(100)]) in (0, 10, 20)
    # Nor one name on all links.
    assert told(right + [(9, link, 3600_000) for link in range(5)]) in (0, 10, 20)
    wall = WallTime()
    assert told(right, wall) == 10
    for step in range(1, 200):
        # Bit by bit, with new announces all the time: no further than the others are apart.
        told([(9, 4, 500 * step)], wall)
        assert 0 <= wall.now_ms(1000) - NOW <= 30


def check_the_clock_follows_the_majority():
    wall = WallTime()
    assert told([(n, n, 0) for n in range(4)], wall) == 0
    assert wall.source == MESH
    assert told([(n, n, 20_000) for n in range(4)], wall) == 20_000


def check_the_host_is_believed_and_contradicted():
    wall = WallTime()
    wall.set_by_host(NOW, 1000)
    assert wall.source == HOST and wall.now_ms(1000) == NOW and wall.now_ms(61_000) == NOW + MINUTE
    assert told([(1, 1, 5000), (2, 2, 5000)], wall) == 0 and not wall.disputed
    assert told([(1, 1, 5 * MINUTE), (2, 2, 5 * MINUTE)], wall) == 0 and wall.disputed
    wall.set_by_host(NOW + 5 * MINUTE, 1000)
    assert not wall.disputed
    # After half a day the oscillator of a board is not as good as those around.
    later = 1000 + 13 * 3600_000
    for n in (1, 2):
        wall.heard(author(n), n, NOW + 13 * 3600_000 + 7000, later)
    assert wall.source == MESH and wall.now_ms(later) == NOW + 13 * 3600_000 + 7000
    for absurd in (0, 10**12, 10**13, 2**62):
        try:
            wall.set_by_host(absurd, 0)
        except ValueError:
            continue
        raise AssertionError(absurd)


def check_an_author_votes_where_he_is_once_he_is_heard_directly():
    # Somebody who was alone has set the clock with three names, and has passed on what two others announced.
    wall = WallTime()
    assert told([(101, 0, 3600_000), (102, 0, 3600_000), (103, 0, 3600_000)], wall) == 3600_000
    told([(1, 0, 0), (2, 0, 0)], wall)
    for n in (1, 2, 3):
        wall.heard(author(n), n, NOW, 1000, True)
    assert wall.now_ms(1000) == NOW and wall.jumps == 1


def check_a_clock_of_the_mesh_that_loses_its_majority_is_disputed():
    wall = WallTime()
    assert told([(1, 0, 3600_000), (2, 1, 3600_000)], wall) == 3600_000
    assert told([(3, 2, 0), (4, 3, 0)], wall) == 3600_000 and wall.disputed
    wall.link_gone(0, 1000)
    assert wall.now_ms(1000) == NOW and not wall.disputed


def check_a_dispute_ends_with_those_who_began_it():
    wall = WallTime()
    wall.set_by_host(NOW, 1000)
    assert told([(n, 0, 3600_000) for n in (1, 2, 3)], wall) == 0 and wall.disputed
    wall.link_gone(0, 1000)
    assert not wall.disputed


def check_votes_are_bounded_and_grow_old():
    wall = WallTime()
    for n in range(200):
        wall.heard(author(n), n % 7, NOW + n, 1000)
    assert wall.now_ms(1000) is not None
    for offset in (-(10**12), 10**13):
        assert told([(1, 0, offset), (2, 1, offset)]) is None
    wall = WallTime()
    told([(1, 0, 0)], wall)
    assert told([(2, 1, 0)], wall, uptime=1000 + 301_000) is None
    wall.link_gone(1, 1000 + 301_000)
    assert told([(3, 2, 0)], wall, uptime=1000 + 301_000) is None


CHECKS = [name for name in globals() if name.startswith("check_")]
CHECKS.sort()
