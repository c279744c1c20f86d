"""What crosses and to whom, and what a bridge remembers."""

from dataclasses import replace

import pytest

from bitrelay.gateway.bridge import Drop, Heard
from bitrelay.gateway.bridge_frame import BridgeFrame
from bitrelay.gateway.config import MeshConfig
from bitrelay.gateway.downlink_budget import MOST_GATEWAYS
from bitrelay.gateway.message import MeshOffer, Outcome
from bitrelay.lab.phone_identity import PhoneIdentity
from bitrelay.transports.fair_queue import Traffic
from shared_protocol.frame import TYPE_NOISE_ENCRYPTED

from .bridge_frames import (
    ALICE,
    BOB,
    CLOSED,
    EVE,
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
    ("offers", "targets"),
    [
        ([], ()),
        ([offer("X")], ("X",)),
        ([offer("X"), offer("Y", subscribe=("A", "B"))], ("X", "Y")),
        ([offer("X", subscribe=("B",)), offer("Y", subscribe=())], ()),
        ([offer("X", downlink=False)], ()),
        ([offer("X", subscribe=("geo:u4p",)), offer("Y", subscribe=("geo:9q",))], ("X",)),
    ],
    ids=str,
)
def test_what_is_for_everybody_goes_to_those_who_want_it(offers: list[MeshOffer], targets: tuple[str, ...]) -> None:
    found = bridge(mesh("A", geohash="u4pruy"), offers=offers)
    for _ in range(2):
        answer = heard(found, frame())
        assert answer == (Heard(targets) if targets else Heard(drop=Drop.NOT_SUBSCRIBED))


def test_meshes_of_our_own_are_among_them() -> None:
    meshes = (mesh("A"), mesh("B"), mesh("C", CLOSED), mesh("D", subscribe=("B",)))
    found = bridge(*meshes, offers=[offer("X")])
    assert set(heard(found, frame()).targets) == {"B", "X"}
    assert set(heard(found, frame(), "B").targets) == {"A", "D", "X"}
    assert set(heard(found, frame(), "C").targets) == {"A", "B", "X"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (frame(ttl=1), Drop.TTL),
        (frame(0x21), Drop.LOCAL_TYPE),
        (frame(rsr=True), Drop.SYNC_ANSWER),
        (frame(at=WALL - 130_000), Drop.STALE),
        (frame(0x01), Drop.ANNOUNCE_FORGED),
    ],
    ids=["ttl", "type", "sync answer", "stale", "forged"],
)
def test_what_does_not_cross_is_counted_and_may_come_again(said: BridgeFrame, reason: Drop) -> None:
    found = bridge(offers=[offer("X")])
    for _ in range(2):
        assert heard(found, said) == Heard(drop=reason)
    assert found.drops == {("up", said.traffic, reason): 2}


def test_a_frame_crosses_once_whatever_its_ttl_and_padding() -> None:
    found = bridge(offers=[offer("X")])
    first = frame(TYPE_NOISE_ENCRYPTED, ttl=5)
    assert heard(found, first).targets == ("X",)
    for value in (first.value[:2] + b"\x06" + first.value[3:], first.value + b"\x10" * 16):
        assert heard(found, made(value)).drop is Drop.DUPLICATE


def test_a_copy_that_came_too_far_does_not_keep_out_a_better_one() -> None:
    found = bridge(offers=[offer("X")])
    far = frame(ttl=1)
    assert heard(found, far).drop is Drop.TTL
    assert heard(found, made(far.value[:2] + b"\x03" + far.value[3:])).targets == ("X",)


def test_a_mesh_without_uplink_says_nothing_to_others() -> None:
    found = bridge(mesh("A", uplink=False), mesh("B"), offers=[offer("X")])
    assert heard(found, frame()).drop is Drop.UPLINK_OFF
    assert heard(found, frame(), "B").targets


def test_what_is_for_one_goes_to_where_he_is() -> None:
    found = bridge(mesh("A"), mesh("B"), offers=[offer("X"), offer("Y")])

    def to(recipient: bytes, name: str = "A") -> Heard:
        said = frame(TYPE_NOISE_ENCRYPTED, sender=author(99), recipient=recipient)
        return heard(found, said, name)

    assert set(to(ALICE.peer_id).targets) == {"B", "X", "Y"}  # nobody knows
    arrived(found, frame(sender=ALICE.peer_id), origin="Y")
    assert to(ALICE.peer_id).targets == ("Y",)
    heard(found, frame(sender=BOB.peer_id), "B")
    assert to(BOB.peer_id).targets == ("B",)
    assert to(BOB.peer_id, "B") == Heard(drop=Drop.RECIPIENT_HERE)
    # Where he is takes nothing; then nobody else gets it.
    found.offers = {"X": offer("X"), "Y": offer("Y", downlink=False)}
    assert to(ALICE.peer_id) == Heard(drop=Drop.NOT_SUBSCRIBED)
    # It is not there at all: maybe somebody else reaches him.
    found.offers = {"X": offer("X")}
    assert set(to(ALICE.peer_id).targets) == {"B", "X"}


def test_what_only_names_him_does_not_move_him_who_is_proved() -> None:
    found = bridge(offers=[offer("X"), offer("Y")])
    heard(found, announce(ALICE))
    arrived(found, frame(sender=ALICE.peer_id), origin="X", now=60)
    said = frame(TYPE_NOISE_ENCRYPTED, sender=BOB.peer_id, recipient=ALICE.peer_id)
    assert heard(found, said, now=61).drop is Drop.RECIPIENT_HERE


def test_an_announce_that_comes_from_two_places_leaves_its_author_in_doubt() -> None:
    found = bridge(offers=[offer("X"), offer("Y")])
    said = announce(ALICE)
    assert arrived(found, said, origin="X") is Outcome.QUEUED
    assert arrived(found, said, origin="Y", whence=gateway(2)) is Outcome.KNOWN
    answer = heard(found, frame(TYPE_NOISE_ENCRYPTED, sender=BOB.peer_id, recipient=ALICE.peer_id))
    assert set(answer.targets) == {"X", "Y"}


def test_what_came_from_the_internet_does_not_go_back_and_tells_nothing() -> None:
    found = bridge(offers=[offer("X"), offer("Y")])
    said = frame(sender=ALICE.peer_id)
    assert arrived(found, said, origin="X") is Outcome.QUEUED
    (down,) = downs(found)
    assert heard(found, made(down.value)) == Heard(drop=Drop.FROM_INTERNET)
    found.brought("A", [(other := frame(sender=BOB.peer_id)).key], 0)
    assert heard(found, other) == Heard(drop=Drop.FROM_INTERNET)
    assert arrived(found, other) is Outcome.KNOWN
    for recipient, targets in ((ALICE.peer_id, {"X"}), (BOB.peer_id, {"X", "Y"})):
        answer = heard(found, frame(TYPE_NOISE_ENCRYPTED, sender=EVE.peer_id, recipient=recipient))
        assert set(answer.targets) == targets


def test_what_a_sibling_brought_before_it_said_so_is_unlearned() -> None:
    found = bridge(offers=[offer("X")])
    said = announce(ALICE)
    heard(found, said)
    found.brought("A", [said.key], 0)
    answer = heard(found, frame(TYPE_NOISE_ENCRYPTED, sender=BOB.peer_id, recipient=ALICE.peer_id))
    assert answer.targets == ("X",)


def test_between_meshes_of_our_own_a_frame_crosses_once() -> None:
    found = bridge(mesh("A"), mesh("B"), offers=[offer("X")])
    said = frame()
    assert set(heard(found, said).targets) == {"B", "X"}
    assert arrived(found, said, "B", "A", OWN) is Outcome.QUEUED
    (down,) = downs(found, "B")
    assert (down.origin, down.gateway) == ("A", OWN)
    assert heard(found, made(down.value), "B") == Heard(drop=Drop.FROM_INTERNET)
    # Somebody carried it from A to B on foot before we did.
    twice = frame()
    heard(found, twice)
    assert heard(found, twice, "B") == Heard(drop=Drop.DUPLICATE)
    assert arrived(found, twice, "B", "A", OWN) is Outcome.KNOWN


def test_what_one_of_our_meshes_carried_another_does_not_carry_again() -> None:
    found = bridge(mesh("A"), mesh("B", CLOSED), offers=[offer("X", subscribe=("A",)), offer("Y", subscribe=("B",))])
    said = frame()
    assert heard(found, said).targets == ("X",)
    assert heard(found, said, "B").targets == ("Y",)
    came = frame()
    arrived(found, came, origin="Y")
    assert heard(found, came, "B").drop is Drop.DUPLICATE  # A knows it, Y has it


@pytest.mark.parametrize("is_late", [False, True])
def test_an_authors_announce_goes_before_what_he_says_where_none_went_lately(is_late: bool) -> None:
    found = bridge(offers=[offer("X")])
    told = announce(ALICE)
    assert heard(found, told).targets == ("X",)
    now, wall_ms = (61, WALL + 61_000) if is_late else (30, WALL + 30_000)
    again = heard(found, announce(ALICE, wall_ms - 2000), now=now - 2, wall_ms=wall_ms)
    assert again.drop is Drop.ANNOUNCE_RATE
    first, second = (heard(found, frame(at=wall_ms), now=now, wall_ms=wall_ms) for _ in range(2))
    assert first.before == ((told,) if is_late else ())
    assert second == Heard(("X",))
    found.offers = {"X": offer("X"), "Y": offer("Y")}
    assert heard(found, frame(at=wall_ms), now=now, wall_ms=wall_ms).before == (told,)
    assert heard(found, frame(at=wall_ms, sender=BOB.peer_id), now=now, wall_ms=wall_ms).before == ()


def test_budgets_and_subscriptions_change_and_what_waits_stays() -> None:
    found = bridge(mesh("A"), mesh("B"), offers=[offer("X")])
    said = frame()
    arrived(found, said)
    heard(found, known := frame())
    found.configure([mesh("A", subscribe=("Y",)), mesh("C")])
    assert arrived(found, frame()) is Outcome.REFUSED
    assert heard(found, known).drop is Drop.DUPLICATE
    assert [down.frame for down in downs(found)] == [said]
    assert set(heard(found, frame(), "C").targets) == {"X"}
    assert heard(found, frame(), "B").drop is Drop.UPLINK_OFF
    assert arrived(found, frame(), "B") is Outcome.REFUSED


@pytest.mark.parametrize("meshes", [[], [mesh("A", CLOSED)]], ids=["mesh taken out", "downlink off"])
def test_what_can_no_longer_go_down_is_told(meshes: list[MeshConfig]) -> None:
    found = bridge()
    went, waits = frame(), frame()
    arrived(found, went)
    (down,) = downs(found)
    arrived(found, waits)
    found.configure(meshes)
    found.not_sent("A", down, 0)
    assert [(gone.frame, gone.reason) for gone in found.dropped] == [
        (waits, Drop.DOWNLINK_OFF),
        (went, Drop.DOWNLINK_OFF),
    ]
    assert found.next_down("A", 0, WALL) is None
    assert found.waiting("A") == dict.fromkeys(Traffic, 0)
    assert found.load() == 0


def test_what_was_sent_before_a_restart_is_not_sent_again() -> None:
    found = bridge(offers=[offer("X")])
    said = frame()
    found.remember("A", [said.key], 0)
    assert arrived(found, said) is Outcome.KNOWN
    assert heard(found, said).drop is Drop.FROM_INTERNET


def test_what_is_too_old_to_matter_is_forgotten() -> None:
    found = bridge(mesh("A"), mesh("B"), offers=[offer("X")])
    found.forget(0)
    said = frame()
    heard(found, announce(ALICE))
    heard(found, said)
    for now in range(0, 300, 20):
        found.forget(now)
        assert heard(found, said).drop is Drop.DUPLICATE
    for now in range(300, 2000, 20):
        found.forget(now)
    assert heard(found, said, now=2000).targets
    to_alice = frame(TYPE_NOISE_ENCRYPTED, sender=BOB.peer_id, recipient=ALICE.peer_id)
    assert heard(found, to_alice, now=2700).targets == ("X", "B")


def test_after_a_while_nothing_is_left() -> None:
    found = bridge(offers=[offer("X")])
    found.forget(0)
    heard(found, announce(ALICE))
    heard(found, frame())
    arrived(found, announce(BOB))
    downs(found)
    here = found._meshes["A"]
    tables = (found._carried, found._whereabouts, here.known, here.announces, here.newest, here.down._announces)
    assert all(len(table) for table in tables)
    for now in range(0, 1000, 50):
        found.forget(now)
    assert not any(len(table) for table in tables)


def test_tables_stay_bounded_in_a_flood() -> None:
    found = bridge(mesh("A", replace(OPEN, gateway_per_minute=1)), offers=[offer("X")])
    for number in range(1500):
        heard(found, frame(sender=author(number)))
        for _ in range(2):
            arrived(found, frame(sender=author(number)), whence=gateway(number))
        found.dropped.clear()
    assert sum(found.waiting("A").values()) == OPEN.queue
    assert len(found.throttled) == MOST_GATEWAYS


def test_many_phones_announce_and_are_told_apart() -> None:
    found = bridge(offers=[offer("X")])
    phones = [PhoneIdentity(f"phone {number}") for number in range(20)]
    crossed = 0
    for second in range(0, 120, 15):
        for phone in phones:
            said = announce(phone, WALL + second * 1000)
            crossed += bool(heard(found, said, now=second, wall_ms=WALL + second * 1000).targets)
    assert crossed == 2 * len(phones)
    assert found.drops["up", Traffic.BACKGROUND, Drop.ANNOUNCE_RATE] == 6 * len(phones)


def test_an_announce_that_nobody_wanted_uses_up_nothing() -> None:
    found = bridge()
    assert heard(found, announce(ALICE)).drop is Drop.NOT_SUBSCRIBED
    found.offers = {"X": offer("X")}
    assert heard(found, announce(ALICE, WALL + 5000), now=5, wall_ms=WALL + 5000).targets == ("X",)
