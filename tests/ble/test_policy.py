"""Whom to connect to: tables of situations."""

from dataclasses import replace

import pytest
from bleak.backends.device import BLEDevice

from bitrelay.ble.peers import DiscoveredPeer
from bitrelay.ble.policy import HeldLink, Limits, Plan, backoff_s, is_candidate, plan
from bitrelay.ble.ranging import distance
from bitrelay.ble.sighting import Beacon, Services

NOW = 1000.0


def peer(number: int, level: float = -60.0, **changes: object) -> DiscoveredPeer:
    made = DiscoveredPeer(
        number,
        number.to_bytes(8, "big"),
        f"F0:{number}",
        "",
        Services.BITCRAPS,
        round(level),
        level,
        distance(level),
        first_seen=0.0,
        last_seen=NOW,
        beacon=Beacon((1, 4), 2, 0, 3),
        device=BLEDevice(f"F0:{number}", None, None),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def dialled(peers: list[DiscoveredPeer], held: list[HeldLink], limits: Limits | None = None) -> list[int]:
    todo = plan(peers, held, limits or Limits(), NOW)
    assert todo.handover is None
    return [peer.number for peer in todo.dial]


@pytest.mark.requirement("DSC-05")
def test_the_near_ones_are_dialled_the_best_first() -> None:
    peers = [peer(1, -78), peer(2, -50), peer(3, -79), peer(4, -85)]
    held = [HeldLink(98, 0.0), HeldLink(99, 0.0)]
    # -79 dBm is 10 m: not below.
    assert dialled(peers, held) == [2, 1]


@pytest.mark.requirement("DSC-05")
def test_farther_ones_are_dialled_only_while_there_are_too_few_links() -> None:
    far = [peer(1, -90), peer(2, -85), peer(3, -95)]
    assert dialled(far, []) == [2, 1]
    assert dialled(far, [HeldLink(99, 0.0)]) == [2]
    assert dialled(far, [HeldLink(98, 0.0), HeldLink(99, 0.0)]) == []
    assert dialled([*far, peer(4, -50)], []) == [4, 2]


def test_there_are_never_more_links_than_the_maximum() -> None:
    peers = [peer(number) for number in range(1, 10)]
    assert len(dialled(peers, [])) == 4
    assert len(dialled(peers, [HeldLink(97, 0.0), HeldLink(98, 0.0), HeldLink(99, 0.0)])) == 1
    assert dialled(peers, [HeldLink(number, 0.0) for number in range(96, 100)]) == []
    with pytest.raises(ValueError):
        Limits(3, 2)
    with pytest.raises(ValueError):
        Limits(0, 2)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"services": Services.BITCHAT}, False),
        ({"services": Services.BITCHAT | Services.BITCRAPS}, True),
        ({"on_air_id": None}, False),
        ({"device": None}, False),
        ({"is_connected": True}, False),
        ({"beacon": Beacon((1, 4), 2, 0, 0)}, False),
        ({"beacon": Beacon((1, 4), 2, 0, None)}, True),
        ({"retry_at": NOW + 0.1}, False),
        ({"retry_at": NOW}, True),
        ({"last_seen": NOW - 15}, True),
        ({"last_seen": NOW - 15.1}, False),
    ],
)
def test_who_can_be_dialled_at_all(changes: dict[str, object], expected: bool) -> None:
    assert is_candidate(peer(1, **changes), NOW) is expected


def test_a_loaded_relay_comes_after_an_idle_one_that_is_a_little_farther() -> None:
    busy, idle = peer(1, -60, beacon=Beacon((1, 4), 2, 90, 3)), peer(2, -66)
    assert dialled([busy, idle], []) == [2, 1]
    assert dialled([busy, peer(2, -70)], []) == [1, 2]


@pytest.mark.parametrize(("attempts", "longest"), [(1, 10), (2, 20), (3, 40), (5, 160), (6, 300), (1000, 300)])
def test_each_failure_doubles_the_wait_up_to_five_minutes(attempts: int, longest: float) -> None:
    assert (backoff_s(attempts, 0.0), backoff_s(attempts, 1.0)) == (longest / 2, longest)


OLD = [HeldLink(1, NOW - 30)]
ONE = Limits(1, 1)


def changed(peers: list[DiscoveredPeer], held: list[HeldLink] = OLD) -> tuple[int, int] | None:
    todo = plan(peers, held, ONE, NOW)
    assert not todo.dial
    return todo.handover and (todo.handover[0].number, todo.handover[1].number)


@pytest.mark.requirement("DSC-23")
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"level": -80.0}, {"level": -72.0}, (2, 1)),
        # Not better by enough, not fading, not fresh, not there, not free.
        ({"level": -80.0}, {"level": -72.1}, None),
        ({"level": -79.0}, {"level": -40.0}, None),
        ({"level": -80.0, "last_seen": NOW - 16}, {"level": -60.0}, None),
        ({"level": -80.0}, {"level": -60.0, "last_seen": NOW - 16}, None),
        ({"level": -80.0}, {"level": -60.0, "beacon": Beacon((1, 4), 2, 0, 0)}, None),
        ({"level": -80.0}, {"level": -60.0, "retry_at": NOW + 1}, None),
    ],
)
def test_a_fading_link_gives_way_to_a_clearly_better_peer(
    old: dict[str, object], new: dict[str, object], expected: tuple[int, int] | None
) -> None:
    assert changed([peer(1, is_connected=True, **old), peer(2, **new)]) == expected  # type: ignore[arg-type]


@pytest.mark.requirement("DSC-23")
def test_a_link_is_kept_for_its_minimum_stay() -> None:
    peers = [peer(1, -85, is_connected=True), peer(2, -60)]
    assert changed(peers, [HeldLink(1, NOW - 29.9)]) is None
    assert changed(peers, [HeldLink(1, NOW - 30.0)]) == (2, 1)


@pytest.mark.requirement("DSC-23")
def test_while_there_is_room_a_better_peer_is_added_and_nobody_dropped() -> None:
    peers = [peer(1, -85, is_connected=True), peer(2, -60)]
    assert plan(peers, OLD, Limits(1, 2), NOW) == Plan(dial=(peers[1],))
