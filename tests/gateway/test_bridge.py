"""What crosses, to whom, and what of it goes down."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bitrelay.gateway.bridge import OUTCOMES, Bridge, Down, Drop, Heard
from bitrelay.gateway.bridge_frame import BridgeFrame
from bitrelay.gateway.config import DownlinkConfig, MeshConfig
from bitrelay.gateway.downlink_budget import MOST_GATEWAYS
from bitrelay.gateway.message import MeshOffer, Outcome
from bitrelay.lab.phone_identity import PhoneIdentity
from bitrelay.transports.fair_queue import Traffic
from shared_protocol.frame import TTL, TYPE_FRAGMENT, TYPE_NOISE_ENCRYPTED, TYPE_VOICE

from .bridge_frames import ALICE, BOB, EVE, OPEN, OWN, WALL, announce, author, frame, gateway, made, mesh

FAR = gateway(1)
CLOSED = DownlinkConfig()


def bridge(*meshes: MeshConfig, offers: Sequence[MeshOffer] = ()) -> Bridge:
    found = Bridge(OWN, meshes or (mesh("A"),))
    found.offers = {offer.name: offer for offer in offers}
    return found


def offer(name: str, **fields: object) -> MeshOffer:
    return MeshOffer(name, **{"downlink": True, **fields})  # type: ignore[arg-type]


def downs(found: Bridge, name: str = "A", now: float = 0, wall_ms: int = WALL) -> list[Down]:
    """All that goes down at once."""
    result = []
    while isinstance(down := found.next_down(name, now, wall_ms), Down):
        result.append(down)
    return result


def heard(found: Bridge, said: BridgeFrame, name: str = "A", now: float = 0, wall_ms: int = WALL) -> Heard:
    return found.heard(name, said, now, wall_ms)


def arrived(
    found: Bridge,
    said: BridgeFrame,
    name: str = "A",
    origin: str = "X",
    whence: bytes = FAR,
    now: float = 0,
    wall_ms: int = WALL,
) -> Outcome:
    return found.arrived(name, said, origin, whence, now, wall_ms)


# --- up ---


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


# --- down ---


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


# --- the life of a bridge ---


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
