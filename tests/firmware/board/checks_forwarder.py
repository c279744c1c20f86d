from rig import HANDLE, Rig

from firmware import links as l
from shared_protocol import frame


def check_a_frame_goes_to_every_other_link_with_its_ttl_lowered_and_nothing_else_changed():
    rig = Rig(degree=4)
    value = rig.frame()
    rig.hear(value, conn=1)
    rig.run()
    assert sorted(conn for conn, _ in rig.stack.sent) == [0, 2, 3]
    for _, sent in rig.stack.sent:
        assert sent[2] == 5 and sent[:2] == value[:2] and sent[3:] == value[3:]
    rig.check_books()


def check_padding_behind_the_frame_travels_along():
    rig = Rig()
    value = frame.pad(rig.frame(type=0x11, recipient=b"\x01" * 8, payload=b"x" * 48))
    assert len(value) == 256
    rig.hear(value)
    rig.run()
    for _, sent in rig.stack.sent:
        assert sent == value[:2] + b"\x06" + value[3:]
    assert len(rig.stack.sent) == 2


def check_the_longest_value_passes_and_a_longer_one_is_counted():
    rig = Rig()
    rig.hear(rig.frame(payload=b"x" * (512 - 22)))
    rig.hear(rig.frame(payload=b"x" * (513 - 22)))
    rig.run()
    assert [len(sent) for _, sent in rig.stack.sent] == [512, 512]
    assert rig.count("drop_oversize") == 1
    rig.check_books()


def check_a_notified_value_is_a_frame_too():
    rig = Rig()
    value = rig.frame()
    rig.radio._irq(18, (2, HANDLE, memoryview(value)))
    rig.radio._irq(18, (2, HANDLE + 1, memoryview(value)))
    rig.radio._irq(18, (9, HANDLE, memoryview(value)))
    rig.run()
    assert sorted(conn for conn, _ in rig.stack.sent) == [0, 1]


def check_jitter_is_what_the_decision_says():
    rig = Rig(degree=2)
    rig.hear(rig.frame())
    rig.run()
    assert rig.delays == [(10, 40)]


def check_nothing_leaves_before_its_time():
    rig = Rig(degree=2)
    rig.hear(rig.frame())
    rig.forwarder.step(0)
    rig.forwarder.step(9)
    assert not rig.stack.sent
    rig.forwarder.step(10)
    assert len(rig.stack.sent) == 1


def check_duplicates_go_no_further():
    rig = Rig()
    value = rig.frame()
    for _ in range(3):
        rig.hear(value, conn=0)
    rig.run()
    assert len(rig.stack.sent) == 2
    rig.hear(value, conn=1)
    rig.run()
    assert len(rig.stack.sent) == 2
    assert rig.count("duplicates") == 3
    rig.check_books()


def check_a_copy_with_another_ttl_is_a_duplicate():
    rig = Rig()
    value = rig.frame()
    rig.hear(value)
    rig.run()
    rig.hear(value[:2] + b"\x03" + value[3:], conn=1)
    rig.run()
    assert rig.count("duplicates") == 1 and rig.count("forwarded") == 1


def check_a_link_that_sent_the_frame_itself_is_not_sent_it():
    rig = Rig(degree=4)
    value = rig.frame()
    rig.hear(value, conn=0)
    rig.forwarder.step(0)
    rig.hear(value, conn=1)
    rig.run()
    assert sorted(conn for conn, _ in rig.stack.sent) == [2, 3]
    assert rig.count("cancelled") == 0 and rig.count("forwarded") == 1
    rig.check_books()


def check_a_frame_that_all_links_sent_is_cancelled():
    rig = Rig(degree=3)
    value = rig.frame()
    other = rig.frame()
    rig.hear(value, conn=0)
    rig.hear(other, conn=0)
    rig.forwarder.step(0)
    rig.hear(value, conn=1)
    rig.hear(value, conn=2)
    rig.run()
    assert rig.count("cancelled") == 1
    assert [sent[10] for _, sent in rig.stack.sent] == [other[10]] * 2
    rig.check_books()


def check_a_repeat_on_the_same_link_cancels_nothing():
    rig = Rig(degree=4)
    value = rig.frame()
    rig.hear(value, conn=0)
    rig.forwarder.step(0)
    rig.hear(value, conn=0)
    rig.run()
    assert len(rig.stack.sent) == 3 and rig.count("cancelled") == 0


def check_what_must_not_be_relayed_is_not_and_each_reason_is_counted():
    rig = Rig()
    rig.hear(rig.frame(ttl=1))
    rig.hear(rig.frame(ttl=0))
    rig.hear(rig.frame(type=0x21, ttl=7))
    rig.hear(rig.frame(ttl=5, rsr=True))
    rig.run()
    assert not rig.stack.sent
    assert rig.count("not_relayed_ttl") == 2
    assert rig.count("not_relayed_type") == 1
    assert rig.count("not_relayed_rsr") == 1
    rig.check_books()


def check_unknown_types_are_relayed():
    rig = Rig()
    for kind in (0x7F, 0xB5, 0xFF, 0x00):
        rig.hear(rig.frame(type=kind))
    rig.run()
    assert rig.count("forwarded") == 4


def check_no_frame_leaves_with_ttl_7_whatever_came_in():
    rig = Rig(degree=2)
    for ttl in (2, 6, 7, 8, 200, 255):
        rig.hear(rig.frame(ttl=ttl))
    rig.run()
    assert [sent[2] for _, sent in rig.stack.sent] == [1, 5, 6, 6, 6, 6]


def check_broken_values_are_counted_and_stop_nothing():
    rig = Rig()
    good = rig.frame()
    for value in (
        b"",
        b"\x01",
        good[:13],
        good[:-1],
        b"\x09" + good[1:],
        b"\x02" + good[1:11] + b"\x00" + b"\xff" * 40,
    ):
        rig.hear(value)
    rig.hear(good)
    rig.run()
    assert rig.count("forwarded") == 1
    assert rig.count("drop_partial") == 4 and rig.count("drop_malformed") == 2
    rig.check_books()


def check_a_relay_with_one_link_has_nowhere_to_send():
    rig = Rig(degree=1)
    rig.hear(rig.frame())
    rig.run()
    assert rig.count("drop_no_link") == 1 and rig.count("forwarded") == 0
    rig.check_books()


def check_a_console_frame_goes_verbatim_to_all_and_is_not_sent_again_when_it_comes_back():
    rig = Rig()
    value = rig.frame()
    assert rig.forwarder.originate(value, 0) == 3
    assert [sent for _, sent in rig.stack.sent] == [value] * 3
    rig.hear(value[:2] + b"\x05" + value[3:])
    rig.run()
    assert len(rig.stack.sent) == 3 and rig.count("duplicates") == 1


def check_console_frames_come_one_at_a_time():
    rig = Rig()
    rig.stack.room = 0
    assert rig.forwarder.originate(rig.frame(), 0) == 3
    assert rig.forwarder.originate(rig.frame(), 0) == -1
    rig.stack.room = 100
    rig.run()
    assert rig.forwarder.originate(rig.frame(), rig.now) == 3


def check_a_flood_on_one_link_leaves_room_for_the_others():
    rig = Rig(degree=3, slots=24)
    for _ in range(24):
        rig.hear(rig.frame(), conn=0)
    assert rig.count("drop_no_slot") == 24 - (24 - rig.pool.reserve)
    for _ in range(8):
        rig.hear(rig.frame(), conn=1)
    assert rig.count("drop_no_slot") == 8 + 2 and len(rig.pool.free) == 2
    rig.hear(rig.frame(), conn=2)
    assert rig.count("drop_no_slot") == 10
    # Also while its frames wait for their time or in queues.
    rig.stack.room = 0
    rig.run(200)
    rig.hear(rig.frame(), conn=0)
    rig.hear(rig.frame(), conn=2)
    assert rig.count("drop_no_slot") == 11
    rig.stack.room = 1000
    rig.run()
    rig.hear(rig.frame(), conn=0)
    rig.run()
    assert rig.count("forwarded") == 16 + 6 + 3
    rig.check_books()


def check_a_listener_hears_every_frame_that_parses():
    rig = Rig()
    heard = []
    rig.forwarder.on_frame = lambda conn, data, verdict: heard.append((conn, bytes(data), verdict))
    value = rig.frame()
    last = rig.frame(ttl=1)
    rig.hear(value)
    rig.hear(value, conn=1)
    rig.hear(last)
    rig.hear(b"junk")
    rig.run()
    assert heard == [(0, value, "relayed"), (1, value, "duplicate"), (0, last, "not relayed")]


def check_a_dead_link_gives_its_frames_back():
    rig = Rig(degree=3)
    rig.stack.room = 0
    for _ in range(5):
        rig.hear(rig.frame())
    rig.run(100)
    assert rig.links.waiting == 10
    link = rig.links.by_conn[1]
    rig.radio._irq(2, (1, 1, b""))
    rig.links.sweep()
    assert link.state == l.LOST  # until upkeep has seen it
    link.state = l.GONE
    rig.links.sweep()
    assert rig.links.waiting == 5 and rig.count("drop_link_lost") == 5
    assert rig.links.all[1].state == l.FREE
    rig.stack.room = 1000
    rig.run()
    assert rig.links.waiting == 0
    rig.check_books()


def check_a_copy_with_a_spoilt_ttl_does_not_keep_the_good_one_out():
    rig = Rig()
    value = rig.frame()
    rig.hear(value[:2] + b"\x00" + value[3:], conn=1)
    rig.hear(value, conn=0)
    rig.run()
    assert rig.count("forwarded") == 1 and rig.count("not_relayed_ttl") == 1
    rig.check_books()


def check_a_listener_never_ends_the_loop():
    rig = Rig()
    commands_told = []

    def listen(conn, data, verdict):
        commands_told.append(conn)
        raise ValueError

    rig.forwarder.on_frame = listen
    for _ in range(6):
        rig.hear(rig.frame())
    rig.radio._irq(2, (0, 1, b""))
    rig.links.sweep()
    rig.run()
    assert len(commands_told) == 1 and rig.count("forwarded") == 6


def check_our_own_announce_that_comes_back_is_not_checked():
    rig = Rig()
    heard = []
    rig.forwarder.on_announce = lambda link, data, header: heard.append(
        bytes(data[header.sender_at : header.sender_at + 8])
    )
    rig.hear(rig.frame(type=1))
    rig.run()
    rig.forwarder.own_id[:] = b"\x11\x22\x33\x44\x55\x66\x77\x88"
    rig.hear(rig.frame(type=1))
    rig.run()
    assert len(heard) == 1


def check_a_record_is_not_used_again_while_frames_of_its_link_are_in_memory():
    rig = Rig()
    for _ in range(3):
        rig.hear(rig.frame(), conn=1)
    link = rig.links.by_conn[1]
    rig.links.closed(1)
    link.state = l.GONE
    rig.links.sweep()
    assert link.state == l.GONE
    rig.run(400)
    rig.links.sweep()
    assert link.state == l.FREE
