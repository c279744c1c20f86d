"""For which share of the time a gateway could be reached."""

import pytest

from bitrelay.gateway.presence import Presence

BOB, EVE = b"B" * 32, b"E" * 32


@pytest.mark.parametrize(
    ("comings_and_goings", "now", "share"),
    [
        ([10], 10, 1.0),
        ([10], 1000, 1.0),
        ([10, 20], 20, 1.0),
        ([10, 20], 30, 0.5),
        ([10, 20, 40], 50, 0.5),
        ([10, 20, 40], 110, 0.8),
        ([10, 10], 1000, 0.0),
    ],
)
def test_the_share_counts_from_when_it_came_first(comings_and_goings: list[float], now: float, share: float) -> None:
    presence = Presence()
    for index, moment in enumerate(comings_and_goings):
        (presence.went if index % 2 else presence.came)(BOB, moment)
    assert presence.share(BOB, now) == pytest.approx(share)
    assert presence.share(EVE, now) is None


def test_what_is_told_twice_counts_once() -> None:
    presence = Presence()
    presence.went(BOB, 0)
    for moment in (10, 20):
        presence.came(BOB, moment)
    for moment in (30, 40):
        presence.went(BOB, moment)
    assert presence.share(BOB, 50) == pytest.approx(0.5)


def test_of_too_many_the_one_that_has_not_come_for_longest_is_forgotten() -> None:
    presence = Presence(most=2)
    for moment, peer in enumerate((BOB, EVE, BOB, b"C" * 32)):
        presence.came(peer, moment)
    assert len(presence) == 2
    assert presence.share(EVE, 10) is None and presence.share(BOB, 10) == 1.0
