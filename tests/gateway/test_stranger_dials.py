"""Strangers are dialled within bounds, and only where they can be."""

import pytest

from bitrelay.gateway.stranger_dials import (
    AT_ONCE,
    HOST_FIRST_S,
    HOST_MOST_S,
    MISSES,
    MOST,
    StrangerDials,
    within_reach,
)
from bitrelay.transports.address import Tcp, WebSocket

BOB = b"B" * 32


def test_pauses_of_a_host_double_whatever_the_port_and_end_when_the_right_one_answers() -> None:
    dials, now, pauses = StrangerDials(), 0.0, []
    for port in range(1, 10):
        address = Tcp("198.51.100.7", port)
        pauses.append(dials.wait_s(address, now))
        now += pauses[-1]
        dials.dialled(address, now)
    assert pauses == [0, 10, 20, 40, 80, 160, 320, HOST_MOST_S, HOST_MOST_S]
    dials.answered(BOB, Tcp("198.51.100.7", 3))
    assert dials.wait_s(Tcp("198.51.100.7", 9), now) == 0


def test_all_hosts_together_have_a_bound() -> None:
    dials = StrangerDials()
    for number in range(AT_ONCE):
        assert dials.wait_s(Tcp(f"198.51.100.{number}", 1), 0.0) == 0
        dials.dialled(Tcp(f"198.51.100.{number}", 1), 0.0)
    assert dials.wait_s(Tcp("203.0.113.1", 1), 0.0) == pytest.approx(3.0)


def test_what_is_remembered_is_bounded_and_who_was_missed_often_is_silent_until_it_answers() -> None:
    dials = StrangerDials()
    for number in range(2 * MOST):
        dials.dialled(Tcp(f"10.0.{number >> 8}.{number & 255}", 1), 60.0 * number)
        dials.missed(number.to_bytes(32, "big"), 0.0)
    assert len(dials._hosts) == len(dials._missed) == MOST
    for times in range(MISSES):
        assert not dials.is_silent(BOB, 0.0)
        dials.missed(BOB, float(times))
    assert dials.is_silent(BOB, 3.0)
    dials.answered(BOB, Tcp("10.0.0.1", 1))
    assert not dials.is_silent(BOB, 3.0)
    assert HOST_FIRST_S < HOST_MOST_S


WORLD, PRIVATE, LOOPBACK = Tcp("8.8.8.8", 1), Tcp("192.168.1.1", 1), Tcp("127.0.0.1", 1)
ALL = (WORLD, PRIVATE, LOOPBACK, WebSocket("::ffff:10.0.0.1", 1), Tcp("169.254.169.254", 80), Tcp("gw.example", 1))


@pytest.mark.parametrize(
    ("own", "dialled"),
    [
        ((), {WORLD}),
        ((Tcp("9.9.9.9", 1), Tcp("our.example", 1)), {WORLD}),
        ((PRIVATE,), {WORLD, PRIVATE, ALL[3], ALL[4]}),
        ((LOOPBACK,), {*ALL[:5]}),
    ],
)
def test_strangers_do_not_have_us_dial_into_our_own_network(own: tuple[Tcp, ...], dialled: set[Tcp]) -> None:
    assert set(within_reach(ALL, own)) == dialled
