"""The detector names identities that are one owner's, says why, and lets honest ones be."""

from dataclasses import replace
from math import log
from random import Random

import pytest

from bitrelay.defense.arrivals import Arrival, address_group, link_group
from bitrelay.defense.sybil import DAY_S, Alarms, Finding, Limits, Reason, View, detect

NOW = 1_786_000_000.0
SINCE = NOW - 7 * DAY_S
OWN_ID = bytes.fromhex("a5" * 32)


def arrival(random: Random, seen: float, age: float = 10.0, origin: str | None = None) -> Arrival:
    """A newcomer, seen so many seconds ago, whose proof of work was then `age` seconds old."""
    host = f"{random.randrange(1, 190)}.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(256)}"
    first_seen = NOW - seen
    made = first_seen - age
    return Arrival(
        random.randbytes(32),
        random.randbytes(32),
        16,
        made,
        made,
        first_seen,
        address_group(host) if origin is None else origin,
        (f"{host}:8765",) if origin is None or origin.startswith("ip") else (),
    )


def week(random: Random, per_day: int = 60) -> list[Arrival]:
    """Newcomers of a week, all over the place and of all ages up to a day."""
    return [arrival(random, random.uniform(400, 7 * DAY_S), random.uniform(0, DAY_S)) for _ in range(7 * per_day)]


def look(arrivals: list[Arrival], limits: Limits = Limits(), **view: object) -> list[Finding]:
    ordered = sorted(arrivals, key=lambda a: a.first_seen)
    return detect(replace(View(ordered, NOW, SINCE, OWN_ID), **view), limits)  # type: ignore[arg-type]


def named(findings: list[Finding], reason: Reason) -> set[bytes]:
    return {peer for finding in findings if finding.reason == reason for peer in finding.ids}


def ids(arrivals: list[Arrival]) -> set[bytes]:
    return {a.peer_id for a in arrivals}


@pytest.mark.parametrize("seed", range(5))
def test_a_usual_week_is_not_suspicious(seed: int) -> None:
    assert look(week(Random(seed))) == []


def test_nobody_is_not_suspicious() -> None:
    assert look([]) == []


@pytest.mark.requirement("POW-33")
def test_a_burst_is_named() -> None:
    random = Random(1)
    burst = [arrival(random, random.uniform(60, 120)) for _ in range(20)]
    findings = look(week(random) + burst)
    assert named(findings, Reason.BURST) == ids(burst)
    (finding,) = [finding for finding in findings if finding.reason == Reason.BURST]
    assert "20 new identities within 60 s" in finding.evidence
    assert finding.log_p < Limits().log_look
    assert finding.work_bits == pytest.approx(16 + log(20, 2))


def test_as_many_are_no_burst_where_as_many_are_usual() -> None:
    random = Random(1)
    steady = [arrival(random, random.uniform(0, 7 * DAY_S)) for _ in range(7 * 24 * 60)]
    assert named(look(steady), Reason.BURST) == set()


def test_a_mesh_that_comes_into_reach_is_no_burst() -> None:
    random = Random(2)
    mesh = [
        arrival(random, random.uniform(0, 290), random.uniform(3700, DAY_S), link_group("r", "l")) for _ in range(40)
    ]
    assert look(week(random) + mesh) == []


def test_a_node_that_has_just_started_takes_nobody_for_a_burst_but_what_no_rate_explains() -> None:
    random = Random(3)
    some = [arrival(random, random.uniform(0, 200)) for _ in range(5)]
    assert look(some, since=NOW - 300) == []
    many = [arrival(random, random.uniform(0, 200)) for _ in range(200)]
    assert named(look(many, since=NOW - 300), Reason.BURST) == ids(many)


def test_more_in_a_day_than_any_day_explains_are_a_burst_whatever_their_age() -> None:
    random = Random(4)
    flood = [arrival(random, random.uniform(0, DAY_S), random.uniform(3700, DAY_S)) for _ in range(600)]
    assert named(look(week(random) + flood), Reason.BURST) >= ids(flood)


def test_those_who_share_a_challenge_are_named_but_for_the_first() -> None:
    random = Random(5)
    first, *copies = (arrival(random, seen) for seen in (5000, 4000, 3000))
    copies = [replace(copy, challenge_data=first.challenge_data) for copy in copies]
    findings = look([*week(random), first, *copies])
    assert named(findings, Reason.SHARED_CHALLENGE) == ids(copies)
    assert first.peer_id.hex()[:16] in findings[0].evidence


def test_a_challenge_shared_at_a_refresh_is_seen_and_the_same_peer_twice_is_not() -> None:
    random = Random(6)
    peer = arrival(random, 5000)
    assert look([*week(random), peer, replace(peer, first_seen=NOW - 10, renewal=True)]) == []
    other = replace(arrival(random, 10), challenge_data=peer.challenge_data, renewal=True)
    assert named(look([*week(random), peer, other]), Reason.SHARED_CHALLENGE) == {other.peer_id}


@pytest.mark.parametrize("watched", [False, True])
def test_ids_ground_near_a_key_are_named(watched: bool) -> None:
    random = Random(7)
    key = random.randbytes(32)
    ground = [arrival(random, 3000 * i) for i in range(1, 9)]
    ground = [replace(a, peer_id=key[:2] + a.peer_id[2:]) for a in ground]
    findings = look(week(random) + ground, watched=(key,) if watched else ())
    assert named(findings, Reason.CROWDED_IDS) == ids(ground)
    (finding,) = [finding for finding in findings if finding.reason == Reason.CROWDED_IDS]
    assert ("watched key" in finding.evidence) is watched


def test_ids_ground_near_our_own_are_named_unless_the_network_is_that_large() -> None:
    random = Random(8)
    ground = [replace(a, peer_id=OWN_ID[:1] + a.peer_id[1:]) for a in (arrival(random, 3000 * i) for i in range(1, 13))]
    findings = look(week(random) + ground)
    assert named(findings, Reason.CROWDED_IDS) >= ids(ground)
    assert "our own id" in findings[0].evidence
    assert look(week(random) + ground, network_size=3000) == []


def test_many_from_one_network_are_named() -> None:
    random = Random(9)
    many = [arrival(random, 4000 * i, origin="ip4:203.0.113.0/24") for i in range(1, 17)]
    assert named(look(week(random) + many), Reason.ONE_NETWORK) == ids(many)


def test_a_network_that_brought_as_many_before_may_go_on() -> None:
    random = Random(10)
    provider = [arrival(random, random.uniform(0, 7 * DAY_S), origin="ip4:203.0.113.0/24") for _ in range(7 * 16)]
    assert named(look(week(random) + provider), Reason.ONE_NETWORK) == set()


def test_the_days_before_are_those_that_we_watched() -> None:
    random = Random(10)
    provider = [arrival(random, random.uniform(0, 2 * DAY_S), origin="ip4:203.0.113.0/24") for _ in range(2 * 16)]
    assert named(look(provider, since=NOW - 2 * DAY_S), Reason.ONE_NETWORK) == set()
    assert named(look(provider, since=NOW - DAY_S), Reason.ONE_NETWORK) != set()


def test_many_at_one_address_are_named() -> None:
    random = Random(11)
    many = [replace(arrival(random, 9000 * i), addresses=("203.0.113.9:8765",)) for i in range(1, 7)]
    findings = look(week(random) + many)
    assert named(findings, Reason.ONE_NETWORK) == ids(many)
    assert "the address 203.0.113.9:8765" in findings[0].evidence


def test_many_over_one_bluetooth_link_are_no_network() -> None:
    random = Random(12)
    mesh = [
        arrival(random, random.uniform(0, DAY_S), random.uniform(0, DAY_S), link_group("r", "l")) for _ in range(20)
    ]
    assert named(look(week(random) + mesh), Reason.ONE_NETWORK) == set()


class CountedOrigin(str):
    """An origin that knows how often origins were compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        CountedOrigin.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


def test_many_bluetooth_links_do_not_cost_a_pass_each() -> None:
    random = Random(16)
    links = [CountedOrigin(link_group("r", str(number))) for number in range(500)]
    arrivals = sorted(
        (arrival(random, random.uniform(1, 299), origin=link) for link in links), key=lambda a: -a.first_seen
    )
    look(arrivals)
    assert CountedOrigin.compared < 50 * len(links)


def test_proofs_that_were_made_together_long_before_are_named() -> None:
    random = Random(13)
    stock = []
    for i in range(20):
        newcomer = arrival(random, 2000 + 3000 * i)
        made = NOW - DAY_S + 20_000 - 20 * i
        stock.append(replace(newcomer, computed_at=made, created_at=made))
    held = [a for a in stock if a.lag_s > 3600]
    assert len(held) > 10
    assert named(look(week(random) + stock), Reason.MADE_TOGETHER) == ids(held)


def test_many_that_are_older_than_a_refresh_are_named() -> None:
    random = Random(14)
    old = [arrival(random, random.uniform(400, DAY_S), random.uniform(1.1, 6) * DAY_S) for _ in range(40)]
    assert named(look(week(random) + old), Reason.OVERDUE) == ids(old)


def test_fewer_than_matter_are_never_named() -> None:
    random = Random(15)
    few = [replace(arrival(random, 5, origin="ip4:203.0.113.0/24"), peer_id=OWN_ID[:8] + random.randbytes(24))] * 4
    assert look(week(random) + few) == []


def finding(*peers: bytes, reason: Reason = Reason.BURST) -> Finding:
    return Finding(reason, "all", peers, 0.0, -20.0, 16.0, "told")


def test_a_finding_is_news_once_a_day_unless_it_grows_by_half() -> None:
    alarms = Alarms()
    two = finding(b"a", b"b")
    assert alarms.fresh([two], NOW) == [two]
    assert alarms.fresh([two], NOW + 300) == []
    assert alarms.fresh([finding(b"a", b"b", b"c")], NOW + 300) != []
    assert alarms.fresh([finding(b"a", b"b", b"c", b"d")], NOW + 600) == []
    assert alarms.fresh([finding(b"a", b"b", reason=Reason.OVERDUE)], NOW + 600) != []
    assert alarms.fresh([two], NOW + 300 + DAY_S) == [two]


def test_alarms_remember_no_more_than_they_may() -> None:
    alarms = Alarms(most=10)
    for number in range(100):
        alarms.fresh([finding(number.to_bytes(2, "big"))], NOW)
    assert alarms.fresh([finding((99).to_bytes(2, "big"))], NOW) == []
    assert alarms.fresh([finding((1).to_bytes(2, "big"))], NOW) != []
