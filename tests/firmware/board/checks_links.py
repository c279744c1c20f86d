from rig import Rig

from firmware import links as l


def _fill(rig, n, **more):
    for _ in range(n):
        rig.hear(rig.frame(**more))
        rig.run(200)


def check_no_buffers_is_back_pressure_and_nothing_is_lost():
    rig = Rig(degree=3)
    rig.stack.room = 1
    _fill(rig, 4)
    assert len(rig.stack.sent) == 1 and rig.links.waiting == 7
    assert rig.count("backpressure") > 0
    rig.stack.room = 100
    rig.run(100)
    assert len(rig.stack.sent) == 8 and rig.links.waiting == 0
    rig.check_books()


def check_frames_keep_their_order_through_back_pressure():
    rig = Rig(degree=2)
    rig.stack.room = 0
    _fill(rig, 5)
    rig.stack.room = 100
    _fill(rig, 2)
    assert [sent[10] for _, sent in rig.stack.sent] == sorted(sent[10] for _, sent in rig.stack.sent)
    assert len(rig.stack.sent) == 7


def check_a_full_queue_drops_the_oldest_of_the_lowest_rank():
    rig = Rig(degree=2)
    rig.pool.reserve = 0
    rig.stack.room = 0
    _fill(rig, 1, type=0x10)
    _fill(rig, 1, type=0x20)
    _fill(rig, l.QUEUE_SLOTS - 2)
    assert rig.count("drop_queue_full") == 0
    _fill(rig, 1)  # pushes the fragment out
    _fill(rig, 1)  # pushes the oldest message out
    _fill(rig, 1, type=0x20)  # ranks below all: not taken
    assert rig.count("drop_queue_full") == 3
    rig.stack.room = 100
    rig.run()
    kinds = [sent[1] for _, sent in rig.stack.sent]
    assert kinds == [0x10] + [2] * (l.QUEUE_SLOTS - 1), kinds
    rig.check_books()


def check_a_failing_link_does_not_hold_up_the_others():
    rig = Rig(degree=3)
    rig.stack.broken = (1,)
    _fill(rig, 3)
    assert [conn for conn, _ in rig.stack.sent] == [2, 2, 2]
    assert rig.count("drop_send_failed") == 3 and rig.count("backpressure") == 0
    rig.check_books()


def check_a_frame_too_long_for_a_link_is_counted_there_and_goes_elsewhere():
    rig = Rig(degree=3)
    rig.links.all[1].mtu = 100
    rig.links.sweep()
    _fill(rig, 1, payload=b"x" * 200)
    assert [conn for conn, _ in rig.stack.sent] == [2]
    assert rig.count("drop_mtu") == 1
    rig.check_books()


def check_links_take_turns():
    rig = Rig(degree=4)
    rig.stack.room = 0
    _fill(rig, 6)
    rig.stack.room = 12
    rig.run(10)
    per_conn = [len([1 for conn, _ in rig.stack.sent if conn == n]) for n in (1, 2, 3)]
    assert per_conn == [4, 4, 4], per_conn


def check_there_are_records_for_a_connection_that_comes_before_the_old_one_is_swept():
    rig = Rig(degree=4)
    rig.radio._irq(2, (3, 1, b""))
    rig.radio._irq(1, (3, 1, b"\x09" * 6))
    link = rig.links.by_conn[3]
    assert link.state == l.OPENING and bytes(link.address) == b"\x09" * 6
    rig.links.sweep()
    assert rig.links.used() == 4


def check_hostile_connection_events_run_out_of_records_without_harm():
    rig = Rig(degree=1)
    for conn in range(5, 12):
        rig.radio._irq(1, (conn, 1, b"\x09" * 6))
    assert rig.links.used() == 3
    for conn in range(12):
        rig.radio._irq(2, (conn, 1, b""))
    rig.links.sweep()
    assert rig.links.used() == 0
