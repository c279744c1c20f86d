# Directed delivery, source routes, budgets, time and the relay's own frames: what the forwarder does with each.
from rig import NOW_MS, SENDER, Rig

from shared_protocol import budget, frame

ME = b"relay-id"
BOB = b"bob-----"
CAROL = b"carol---"
KEY = bytes(range(32))


def stamp(ms):
    return ms.to_bytes(8, "big")


# A relay with its keys and five links: 0 brings what is heard, Bob has 1, Carol 2.
def placed():
    rig = Rig(degree=5)
    rig.forwarder.own_id[:] = ME
    rig.bind(1, BOB)
    rig.bind(2, CAROL)
    return rig


def check_a_directed_frame_goes_to_its_recipient_alone():
    rig = placed()
    rig.hear(rig.frame(type=0x11, recipient=BOB), conn=0)
    rig.run()
    assert rig.sent_on() == [1] and rig.stack.sent[0][1][2] == 6
    rig.check_books()


def check_a_peer_with_two_links_gets_it_on_both():
    rig = placed()
    rig.bind(3, BOB)
    rig.hear(rig.frame(type=0x11, recipient=BOB), conn=0)
    rig.run()
    assert rig.sent_on() == [1, 3]


def check_a_frame_for_nobody_here_goes_to_all_others():
    rig = placed()
    rig.hear(rig.frame(type=0x11, recipient=b"faraway!"), conn=0)
    rig.hear(rig.frame(type=0x02, recipient=frame.BROADCAST), conn=1)
    rig.run()
    assert rig.sent_on() == [0, 1, 2, 2, 3, 3, 4, 4]


def check_a_frame_from_its_own_recipients_link_goes_nowhere():
    rig = placed()
    rig.hear(rig.frame(type=0x11, recipient=BOB), conn=1)
    rig.run()
    assert not rig.stack.sent and rig.count("drop_no_link") == 1
    rig.check_books()


def check_nothing_goes_back_to_its_author():
    rig = placed()
    rig.bind(3, CAROL)
    rig.hear(rig.frame(sender=CAROL), conn=0)
    rig.run()
    assert rig.sent_on() == [1, 4]


def check_a_link_that_is_gone_or_changed_hands_is_nobodys():
    rig = placed()
    rig.radio._irq(2, (1, 1, b""))
    rig.links.sweep()
    rig.hear(rig.frame(type=0x11, recipient=BOB), conn=0)
    rig.run()
    assert rig.sent_on() == [2, 3, 4]
    link = rig.links.opened(1, 0, 1, bytes(6), 0)
    assert not link.owned and link.owner == bytes(8)


def check_zeros_are_nobody():
    rig = Rig(degree=3)
    rig.hear(rig.frame(sender=bytes(8), recipient=bytes(8)), conn=0)
    rig.run()
    assert rig.sent_on() == [1, 2] and rig.count("forwarded") == 1


def routed(rig, route, recipient=BOB, ttl=7, **more):
    return rig.frame(type=0x11, ttl=ttl, version=2, recipient=recipient, route=route, **more)


def check_routes():
    for route, conns in (
        ([ME], [1]),  # we are last, and Bob is here
        ([CAROL], [2]),  # not for us: to the beginning of the route
        ([CAROL, ME], [1]),
        ([ME, CAROL], [2]),
        ([ME, b"unknown!"], [1]),  # as without a route: Bob is here
        ([b"unknown!"], [1]),
    ):
        rig = placed()
        rig.hear(routed(rig, route), conn=0)
        rig.run()
        assert rig.sent_on() == conns, (route, rig.sent_on())
        rig.check_books()
    rig = placed()
    rig.hear(routed(rig, [ME, b"unknown!"], recipient=b"faraway!"), conn=0)
    rig.run()
    assert rig.sent_on() == [1, 2, 3, 4]


def check_a_routed_frame_goes_at_once_with_its_ttl_lowered_by_one():
    for ttl, out in ((7, 6), (200, 6), (5, 4), (2, 1)):
        rig = placed()
        value = routed(rig, [ME, CAROL], ttl=ttl)
        rig.hear(value, conn=0)
        rig.forwarder.step(0)
        assert rig.stack.sent == [(2, value[:2] + bytes((out,)) + value[3:])]
        assert rig.delays == [(0, 0)]


def check_a_route_does_not_lead_back():
    rig = placed()
    rig.hear(routed(rig, [CAROL], recipient=b"faraway!"), conn=2)
    rig.run()
    assert rig.sent_on() == [0, 1, 3, 4]


def check_routes_that_end():
    rig = placed()
    rig.hear(routed(rig, [CAROL, ME, CAROL]), conn=0)
    rig.hear(routed(rig, [CAROL], ttl=1), conn=0)
    rig.hear(rig.frame(type=0x21, version=2, recipient=BOB, route=[ME]), conn=0)
    rig.run()
    assert not rig.stack.sent
    assert rig.count("drop_route") == 1 and rig.count("not_relayed_ttl") == 1 and rig.count("not_relayed_type") == 1
    rig.check_books()


def check_frames_of_ours_and_for_us_end_here():
    rig = placed()
    heard = []
    rig.forwarder.on_own = lambda link, data, header: heard.append((link.conn, bytes(data[: header.frame_len])))
    for_us = rig.frame(type=0x26, recipient=ME)
    asked = rig.frame(type=0x21, ttl=0, recipient=ME)
    by_route = routed(rig, [CAROL], recipient=ME)
    rig.hear(rig.frame(sender=ME), conn=0)
    for value in (for_us, for_us, asked, by_route):
        rig.hear(value, conn=3)
    rig.run()
    assert not rig.stack.sent
    assert heard == [(3, for_us), (3, asked), (3, by_route)]
    assert rig.count("not_relayed_ours") == 4 and rig.count("duplicates") == 1
    rig.check_books()


def check_announces_are_told_once_before_their_ttl_changes():
    rig = placed()
    heard = []
    rig.forwarder.on_announce = lambda link, data, header: heard.append((link.conn, data[2], header.ttl))
    value = rig.frame(type=1)
    rig.hear(value, conn=3)
    rig.hear(value, conn=4)
    rig.hear(rig.frame(type=1, ttl=1), conn=0)
    rig.hear(rig.frame(type=2), conn=0)
    rig.run()
    assert heard == [(3, 7, 7), (0, 1, 1)]
    rig.check_books()


def check_frames_of_another_time_are_dropped_and_may_come_again():
    rig = placed()
    rig.forwarder.window[:] = stamp(NOW_MS - 120000) + stamp(NOW_MS + 120000)
    told = []
    rig.forwarder.on_announce = lambda link, data, header: told.append(header.type)
    at = frame.encode
    for ms, passes in ((-120001, 0), (-120000, 1), (0, 1), (120000, 1), (120001, 0), (-NOW_MS, 0), (2**63 - NOW_MS, 0)):
        before = rig.count("forwarded")
        rig.hear(at(2, 7, stamp(NOW_MS + ms), SENDER, b"x"), conn=0)
        rig.run()
        assert rig.count("forwarded") - before == passes, ms
    assert rig.count("drop_skew") == 4
    # A sync answer is of any time; it ends here for its own reason.
    rig.hear(at(2, 7, stamp(1), SENDER, b"x", rsr=True), conn=0)
    # An announce tells the time to a relay whose own is wrong.
    late = at(1, 7, stamp(NOW_MS + 500000), SENDER, b"x")
    rig.hear(late, conn=0)
    rig.run()
    assert rig.count("not_relayed_rsr") == 1 and told == [1] and rig.count("drop_skew") == 5
    rig.links.roster.any_time()
    rig.hear(late, conn=0)
    rig.run()
    assert rig.count("forwarded") == 4 and told == [1, 1]
    rig.check_books()


def check_a_flood_is_cut_and_its_neighbour_is_not():
    rig = placed()
    rig.stack.room = 100000
    rig.forwarder.authors.note(BOB, KEY, bytes(8), 0)
    kept = 0
    for turn in range(100):
        for _ in range(4):
            rig.hear(rig.frame(payload=b"spam" * 20), conn=0)
        if turn % 20 == 0:
            kept += 1
            rig.hear(rig.frame(sender=BOB, signature=bytes(64)), conn=1)
        rig.run(5)
    rig.run()
    assert sum(1 for conn, value in rig.stack.sent if value[14:22] == BOB and conn == 0) == kept
    assert rig.count("drop_sender_budget") > 200
    rig.check_books()


# Which budgets cut something of what make(rig, i) sends on link 0, one frame every pace_ms.
def cut(make, pace_ms=5, relay=False):
    rig = placed()
    rig.stack.room = 100000
    if relay:
        rig.links.all[0].kind |= budget.RELAY
    for i in range(200):
        rig.hear(make(rig, i), conn=0)
        rig.run(pace_ms)
    rig.run()
    rig.check_books()
    return [rig.count("drop_" + name + "_budget") > 0 for name in ("link", "sender", "unsigned")]


def said(rig, i):
    return rig.frame(payload=bytes(200), signature=bytes(64))


def said_by_many(rig, i):
    return rig.frame(sender=b"many-%03d" % i, payload=bytes(200), signature=bytes(64))


def piece(rig, i):
    return rig.frame(type=0x20, payload=b"%08d" % i + bytes(460))


def piece_of_many(rig, i):
    return rig.frame(type=0x20, sender=b"many-%03d" % i, payload=b"%08d" % i + bytes(460))


def check_each_budget_has_its_counter():
    assert cut(said_by_many) == [True, False, False]
    assert cut(said, relay=True) == [False, True, False]
    assert cut(piece_of_many) == [False, False, True]


def check_two_files_at_once_and_talk_pass_whole():
    assert cut(piece, pace_ms=15) == [False, False, False]
    assert cut(said, pace_ms=50) == [False, False, False]


def check_what_was_over_a_budget_may_come_again():
    rig = placed()
    values = [rig.frame(payload=bytes(400)) for _ in range(300)]
    for i in range(0, 300, 4):
        for value in values[i : i + 4]:
            rig.hear(value, conn=0)
        rig.run(5)
    assert rig.count("drop_sender_budget") > 100 and not rig.count("duplicates")
    rig.run(2000)
    forwarded = rig.count("forwarded")
    for value in values[-1:]:
        rig.hear(value, conn=3)
    rig.run()
    assert rig.count("forwarded") == forwarded + 1
    rig.check_books()


def check_a_verified_author_outranks_a_stranger_in_a_full_queue():
    rig = Rig(degree=2, slots=40)
    rig.forwarder.authors.note(BOB, KEY, bytes(8), 0)
    rig.stack.room = 0
    rig.hear(rig.frame(signature=bytes(64)), conn=0)
    rig.run(50)
    for _ in range(15):
        rig.hear(rig.frame(sender=BOB, signature=bytes(64)), conn=0)
        rig.run(100)
    assert rig.links.all[1].queued == 16
    rig.hear(rig.frame(sender=BOB, signature=bytes(64)), conn=0)
    rig.run(100)
    assert rig.count("drop_queue_full") == 1
    rig.stack.room = 100
    rig.run()
    assert [value[14:22] for _, value in rig.stack.sent] == [BOB] * 16
    rig.check_books()


def check_authors_are_known_by_their_first_key():
    authors = Rig().forwarder.authors
    data = b"__" + BOB
    assert authors.verified(data, 2) == -1
    index = authors.note(BOB, KEY, stamp(5000), 10)
    assert index >= 0 and authors.verified(data, 2) == index and authors.key(index) == KEY
    for ms, newer in ((4999, False), (5000, False), (5001, True), (2**40, True)):
        assert authors.is_newer(index, b"??" + stamp(ms), 2) == newer
    assert authors.note(BOB, bytes(32), stamp(6000), 11) == -1
    assert authors.note(BOB, KEY, stamp(7000), 12) == index and not authors.is_newer(index, stamp(7000), 0)
    assert authors.note(BOB, KEY, stamp(1), 13) == index and not authors.is_newer(index, stamp(7000), 0)
    assert authors.verified(bytes(8), 0) == -1


def check_newcomers_displace_nobody_who_is_here():
    rig = Rig()
    authors = rig.forwarder.authors
    for i in range(32):
        assert authors.note(b"old-%04d" % i, KEY, bytes(8), 100 + i) >= 0
    assert authors.note(BOB, KEY, bytes(8), 160) == -1
    # The first is gone for a minute by now, the others are not.
    assert authors.note(BOB, KEY, bytes(8), 161) >= 0
    assert authors.verified(b"old-0000", 0) == -1 and authors.verified(b"old-0001", 0) >= 0
    assert authors.note(CAROL, KEY, bytes(8), 161) == -1
    assert authors.note(b"old-0001", KEY, bytes(8), 162) >= 0
    assert authors.note(CAROL, KEY, bytes(8), 163) >= 0
    assert authors.verified(b"old-0001", 0) >= 0 and authors.verified(b"old-0002", 0) == -1
