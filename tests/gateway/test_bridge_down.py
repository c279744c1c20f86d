"""What comes down into a mesh, in which order, and how much of it."""

from dataclasses import replace

import pytest

from bitrelay.gateway.bridge import OUTCOMES, Drop
from bitrelay.gateway.bridge_frame import BridgeFrame
from bitrelay.gateway.config import DownlinkConfig, MeshConfig
from bitrelay.gateway.message import Outcome
from bitrelay.transports.fair_queue import Traffic
from shared_protocol.frame import TTL, TYPE_FRAGMENT, TYPE_NOISE_ENCRYPTED, TYPE_VOICE

from .bridge_frames import (
    ALICE,
    BOB,
    CLOSED,
    EVE,
    FAR,
    OPEN,
    OWN,
    WALL,
    announce,
    arrived,
    author,
    bridge,
    downs,
    frame,
    gateway,
    heard,
    made,
    mesh,
    offer,
)


@pytest.mark.parametrize(
    ("config", "said", "fields", "outcome"),
    [
        (mesh("A"), frame(), {}, Outcome.QUEUED),
        (mesh("A"), announce(), {}, Outcome.QUEUED),
        (mesh("A", CLOSED), frame(), {}, Outcome.REFUSED),
        (mesh("B"), frame(), {}, Outcome.REFUSED),
        (mesh("A"), frame(ttl=1), {}, Outcome.REFUSED),
        (mesh("A"), frame(0x21), {}, Outcome.REFUSED),
        (mesh("A"), frame(rsr=True), {}, Outcome.REFUSED),
        (mesh("A"), frame(at=WALL - 120_001), {}, Outcome.STALE),
        (mesh("A"), frame(TYPE_VOICE, at=WALL - 30_001), {}, Outcome.STALE),
        (mesh("A"), frame(0x01, signature=bytes(64)), {}, Outcome.MALFORMED),
        (mesh("A"), frame(), {"origin": "A"}, Outcome.REFUSED),
        (mesh("A", subscribe=("Y",)), frame(), {}, Outcome.REFUSED),
        (mesh("A", subscribe=("Y",)), frame(recipient=BOB.peer_id), {}, Outcome.QUEUED),
        (mesh("A", subscribe=("geo:9q",)), frame(), {"origin": "Z"}, Outcome.QUEUED),
    ],
    ids=lambda each: getattr(each, "name", "") if isinstance(each, Outcome | MeshConfig) else "",
)
def test_what_comes_of_a_frame_for_us(
    config: MeshConfig, said: BridgeFrame, fields: dict[str, str], outcome: Outcome
) -> None:
    found = bridge(config, offers=[offer("Z", geohash="9q8yy")])
    assert arrived(found, said, **fields) is outcome
    assert found.drops.total() == (outcome is not Outcome.QUEUED)
    assert sum(found.waiting("A").values()) == (outcome is Outcome.QUEUED)
    if outcome is Outcome.QUEUED:
        assert arrived(found, said, **fields) is Outcome.KNOWN


def test_only_the_ttl_changes_and_it_is_always_lowered() -> None:
    for ttl, most, left in ((7, 6, 6), (5, 6, 4), (2, 6, 1), (7, 3, 3), (255, 6, 6)):
        found = bridge(mesh("A", DownlinkConfig(enabled=True, max_ttl=most)))
        said = made(frame(TYPE_NOISE_ENCRYPTED, ttl=ttl).value + b"\x10" * 16)
        arrived(found, said)
        (down,) = downs(found)
        assert down.value[TTL] == left
        assert down.value[:TTL] + down.value[TTL + 1 :] == said.value[:TTL] + said.value[TTL + 1 :]
        assert (down.frame, down.origin, down.gateway) == (said, "X", FAR)


def test_budgets_let_a_mesh_breathe_and_tell_when_to_come_back() -> None:
    found = bridge(mesh("A", DownlinkConfig(enabled=True)))
    for number in range(20):
        assert arrived(found, frame(sender=author(number))) is Outcome.QUEUED
    assert len(downs(found)) == 3
    wait = found.next_down("A", 0, WALL)
    assert wait == pytest.approx(2.0)
    assert len(downs(found, now=2.0)) == 1
    assert 0 < found.load() < 100
    assert found.next_down("elsewhere", 0, WALL) is None
    assert bridge().next_down("A", 0, WALL) is None


def test_an_author_has_half_of_the_budget() -> None:
    found = bridge(mesh("A", DownlinkConfig(enabled=True)))
    outcomes = [arrived(found, frame()) for _ in range(20)]
    assert outcomes == [Outcome.QUEUED] * 15 + [Outcome.OVER_BUDGET] * 5
    assert found.drops == {("down", Traffic.INTERACTIVE, Drop.AUTHOR_BUDGET): 5}
    assert found.throttled == {}


def test_a_flooding_gateway_is_throttled_and_named_and_others_get_through() -> None:
    found = bridge(mesh("A", DownlinkConfig(enabled=True)))
    honest, flooder = gateway(1), gateway(2)
    flood = [frame(sender=author(number), at=WALL + 30_000) for number in range(1000)]
    asked, went = [], []
    for second in range(60):
        for number in range(100):
            arrived(found, flood[10 * second + number % 10], "A", "Y", flooder, second, WALL + second * 1000)
        if second % 10 == 0:
            asked.append(frame(at=WALL + second * 1000))
            assert arrived(found, asked[-1], "A", "X", honest, second, WALL + second * 1000) is Outcome.QUEUED
        went += downs(found, now=second, wall_ms=WALL + second * 1000)
    assert [down.frame for down in went if down.gateway == honest] == asked
    assert len(went) <= 33
    assert list(found.throttled) == [flooder]
    assert found.throttled[flooder] == found.drops["down", Traffic.INTERACTIVE, Drop.GATEWAY_BUDGET]


def test_one_authors_flood_names_its_gateway_too() -> None:
    found = bridge(mesh("A", DownlinkConfig(enabled=True)))
    for _ in range(200):
        arrived(found, frame())
    assert found.throttled[FAR] > 100


def test_a_mesh_of_our_own_is_no_gateway() -> None:
    found = bridge(mesh("A", DownlinkConfig(enabled=True)), mesh("B"))
    outcomes = [arrived(found, frame(sender=author(number)), origin="B", whence=OWN) for number in range(50)]
    assert set(outcomes) == {Outcome.QUEUED}


@pytest.mark.requirement("GWY-14")
def test_a_games_moves_pass_the_pictures_that_wait() -> None:
    found = bridge(mesh("A", DownlinkConfig(enabled=True, frames_per_minute=60)))
    for number in range(30):
        arrived(found, frame(TYPE_FRAGMENT, sender=author(number), payload=b"%013d" % number))
    downs(found)
    move = frame(0x7E, sender=author(100))
    assert arrived(found, move) is Outcome.QUEUED
    waited = [down.frame for down in downs(found, now=1)]
    assert waited == [move]


def test_a_full_queue_drops_the_oldest_of_the_lowest_class_and_tells() -> None:
    found = bridge(mesh("A", DownlinkConfig(enabled=True, frames_per_minute=6000, queue=3)))
    picture = frame(TYPE_FRAGMENT, payload=b"picture 00000")
    talk = [frame() for _ in range(3)]
    for said in (picture, *talk):
        assert arrived(found, said) is Outcome.QUEUED
    (gone,) = found.dropped
    assert (gone.frame, gone.gateway, gone.mesh, gone.reason) == (picture, FAR, "A", Drop.QUEUE_FULL)
    assert arrived(found, frame(TYPE_FRAGMENT, payload=b"picture 00001")) is Outcome.OVER_BUDGET
    assert [down.frame for down in downs(found)] == talk
    # It may come again.
    assert arrived(found, picture) is Outcome.QUEUED


def test_what_waited_too_long_expires_and_costs_no_budget() -> None:
    found = bridge(mesh("A", DownlinkConfig(enabled=True)))
    old = [frame(sender=author(number), at=WALL - 60_000) for number in range(10)]
    for said in old:
        arrived(found, said)
    assert [down.frame for down in downs(found)] == old[:3]
    fresh = frame(at=WALL + 61_000)
    arrived(found, fresh, now=61, wall_ms=WALL + 61_000)
    assert [down.frame for down in downs(found, now=61, wall_ms=WALL + 61_000)] == [fresh]
    assert [(gone.frame, gone.reason) for gone in found.dropped] == [(said, Drop.EXPIRED) for said in old[3:]]
    assert found.drops["down", Traffic.INTERACTIVE, Drop.EXPIRED] == 7


@pytest.mark.parametrize("how", ["brought", "heard"])
def test_what_comes_into_the_mesh_by_another_way_need_not_wait(how: str) -> None:
    found = bridge(offers=[offer("X")])
    said = frame()
    arrived(found, said)
    if how == "brought":
        found.brought("A", [said.key], 0)
    else:
        assert heard(found, said).drop is Drop.FROM_INTERNET
    assert downs(found) == []
    (gone,) = found.dropped
    assert (gone.frame, gone.reason, OUTCOMES[gone.reason]) == (said, Drop.DUPLICATE, Outcome.KNOWN)


def test_what_the_relay_did_not_take_is_the_next_again() -> None:
    found = bridge(mesh("A", DownlinkConfig(enabled=True)))
    told, said, other = announce(ALICE), frame(), frame()
    for each in (told, said, other):
        arrived(found, each)
    batch = downs(found)
    assert [down.frame for down in batch] == [told, said, other]
    for down in reversed(batch):
        found.not_sent("A", down, 0)
    assert [down.frame for down in downs(found)] == [told, said, other]


def test_a_flood_of_forged_announces_is_cut_off_before_its_signatures_cost_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked = []
    monkeypatch.setattr("bitrelay.gateway.announce_filter.is_signed", lambda frame, signer: checked.append(frame))
    found = bridge(mesh("A", DownlinkConfig(enabled=True)))
    for number in range(100):
        said = announce(EVE, WALL + number)
        assert arrived(found, said) in (Outcome.MALFORMED, Outcome.OVER_BUDGET)
    assert len(checked) == 30
    assert found.throttled == {FAR: 70}


def test_an_announce_that_did_not_go_down_does_not_keep_out_the_next() -> None:
    found = bridge(mesh("A", DownlinkConfig(enabled=True)))
    for _ in range(15):
        arrived(found, frame(sender=ALICE.peer_id))
    assert arrived(found, announce(ALICE)) is Outcome.OVER_BUDGET
    assert arrived(found, announce(ALICE, WALL + 1), now=5) is Outcome.QUEUED
    assert arrived(found, announce(ALICE, WALL + 2), now=10) is Outcome.REFUSED
    found = bridge(mesh("A", replace(OPEN, queue=1)))
    arrived(found, announce(ALICE))
    arrived(found, frame())
    assert found.dropped[0].reason is Drop.QUEUE_FULL
    downs(found)
    assert arrived(found, announce(ALICE, WALL + 1)) is Outcome.QUEUED


@pytest.mark.requirement("GWY-15")
def test_a_full_relay_gets_less_and_an_idle_one_all_of_it() -> None:
    found = bridge(mesh("A", DownlinkConfig(enabled=True, frames_per_minute=600, author_per_minute=6000)))

    def within(start: int, seconds: int, pressure: float) -> int:
        went = 0
        for now in range(start, start + seconds):
            found.relay_pressure("A", pressure, now)
            for _ in range(10):
                arrived(found, frame(at=WALL + now * 1000), whence=OWN, now=now, wall_ms=WALL + now * 1000)
            went += len(downs(found, now=now, wall_ms=WALL + now * 1000))
        return went

    usual = within(0, 20, 0.0)
    assert usual >= 190
    within(20, 5, 1.0)
    assert within(25, 20, 1.0) <= usual / 10
    within(45, 25, 0.0)
    assert within(70, 20, 0.0) >= 190
