"""How often each app announces itself, and when it stops to."""

import random

import pytest

from bitrelay.lab.phone_cadence import AndroidCadence, IosCadence, SubscriptionLimit
from bitrelay.lab.phone_profile import ANDROID_RULES, IOS_RULES

PEER = b"relay..."
START = 100.0


@pytest.mark.parametrize(("direct", "least", "most"), [(0, 4, 4), (1, 11, 19), (5, 11, 19), (6, 22, 38), (20, 22, 38)])
def test_ios_announces_less_often_the_more_peers_it_has(direct: int, least: float, most: float) -> None:
    cadence = IosCadence(IOS_RULES, random.Random(1), START)
    waits = []
    for number in range(200):
        now = START + 100 * number
        cadence.announced(now, [PEER] * direct)
        due = cadence.due(now, direct, None)
        assert due is not None
        waits.append(due - now)
    assert least <= min(waits) <= least + 0.3 and most - 0.3 <= max(waits) <= most


@pytest.mark.parametrize(
    ("direct", "quiet_s", "most"),
    [(1, 1, 10), (1, 4.9, 10), (1, 5.1, None), (6, 1, 10), (0, 1, 4), (0, 9, 4)],
)
def test_traffic_makes_ios_announce_after_ten_seconds(direct: int, quiet_s: float, most: float | None) -> None:
    cadence = IosCadence(IOS_RULES, random.Random(1), START)
    cadence.announced(START, [PEER] * direct)
    now = START + 10
    due, calm = cadence.due(now, direct, now - quiet_s), cadence.due(now, direct, None)
    assert due is not None and calm is not None
    assert due == (calm if most is None else START + most)


def test_android_announces_every_half_minute_if_it_knew_its_peer_when_it_announced_first() -> None:
    cadence = AndroidCadence(ANDROID_RULES)
    assert cadence.due(START, 1, START) is None
    cadence.announced(START, [PEER])
    assert cadence.due(START, 1, None) == START + 30
    # An announce in between that something else calls for does not shift it.
    cadence.announced(START + 10, [PEER])
    assert cadence.due(START + 10, 1, None) == START + 30
    cadence.announced(START + 30, [PEER])
    assert cadence.due(START + 30, 1, None) == START + 60


def test_android_that_learned_of_its_peer_too_late_falls_silent_until_something_else_makes_it_announce() -> None:
    cadence = AndroidCadence(ANDROID_RULES)
    cadence.announced(START, [])
    assert cadence.due(START + 1, 1, START + 1) is None
    assert cadence.due(START + 1000, 1, START + 1000) is None
    cadence.announced(START + 1000, [PEER])
    assert cadence.due(START + 1000, 1, None) == START + 1030


def test_android_stops_when_it_finds_its_peer_gone() -> None:
    cadence = AndroidCadence(ANDROID_RULES)
    cadence.announced(START, [PEER])
    cadence.announced(START + 30, [])
    assert cadence.due(START + 30, 0, None) is None


def test_ios_tells_a_central_that_subscribes_over_and_over_less_and_less() -> None:
    limit = SubscriptionLimit()
    assert [limit.allows("relay", START + at) for at in (0, 1, 2, 3.9, 7.9, 8, 9)] == [True] + [False] * 4 + [False] * 2
    assert limit.allows("another", START)
    assert limit.allows("relay", START + 30)
    assert not limit.allows("relay", START + 31.9)
    assert limit.allows("relay", START + 34)
