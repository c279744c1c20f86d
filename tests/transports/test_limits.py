"""Who may connect: strangers within limits, known peers in spite of any number of strangers."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bitrelay.errors import LimitReached
from bitrelay.identity.peer_cache import PeerCache
from bitrelay.transports.address import Address, Bluetooth, Mesh, Quic, Tcp, Udp, WebSocket
from bitrelay.transports.limits import (
    CLEAN_S,
    HISTORY_S,
    KNOWN_AFTER_S,
    Admission,
    ConnectionLimits,
    Limit,
    Pressure,
    is_known_good,
    known_addresses,
    source_of,
)
from tests.identity.mined import NOW, local_identity, record_of

FRIEND = b"F" * 32
HOME = Tcp("198.51.100.7", 8765)


def stranger(number: int) -> Tcp:
    return Tcp(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 1024 + number % 60_000)


def refusal(call: Callable[[], object]) -> LimitReached:
    with pytest.raises(LimitReached) as refused:
        call()
    return refused.value


def full_of_strangers(admission: Admission, now: float = 0.0) -> float:
    """Let in strangers as fast as the limits allow, until there is no more room for them; when that was."""
    number = 0
    while admission.pressure is Pressure.NONE:
        try:
            admission.admit(stranger(number), now)
            number += 1
        except LimitReached as refused:
            assert refused.retry_s is not None
            now += refused.retry_s
    return now


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Tcp("192.0.2.1", 1), Tcp("192.0.2.1", 2)),
        (Tcp("192.0.2.1", 1), Udp("192.0.2.1", 1)),
        (Tcp("192.0.2.1", 1), Tcp("::ffff:192.0.2.1", 1)),
        (Tcp("2001:db8::1", 1), Quic("2001:db8::ffff:0:0:1", 1)),
        (Tcp("relay.example", 1), WebSocket("relay.example", 80)),
    ],
)
def test_connections_count_together_that_come_from_one_host(one: Address, other: Address) -> None:
    assert source_of(one) == source_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Tcp("192.0.2.1", 1), Tcp("192.0.2.2", 1)),
        (Tcp("2001:db8:0:1::1", 1), Tcp("2001:db8:0:2::1", 1)),
        (Bluetooth("AA:BB:CC:DD:EE:FF"), Bluetooth("AA:BB:CC:DD:EE:FE")),
        (Mesh(bytes(32)), Mesh(b"1" * 32)),
    ],
)
def test_connections_count_apart_that_come_from_two(one: Address, other: Address) -> None:
    assert source_of(one) != source_of(other)


@pytest.mark.requirement("LIM-01", "LIM-02", "LIM-03", "LIM-04")
def test_the_limits_are_those_of_the_founding_documents() -> None:
    admission = Admission()
    now = full_of_strangers(admission)
    for number in range(admission.limits.kept_for_outbound):
        admission.admit(stranger(1000 + number), now, outbound=True)
    for number in range(admission.limits.kept_for_known):
        admission.admit(Tcp(f"203.0.113.{number}", 1), now, peer=bytes([number]) * 32)
    assert len(admission) == 100
    assert refusal(lambda: admission.admit(HOME, now, peer=FRIEND)).limit == Limit.TOTAL

    admission = Admission(ConnectionLimits(cooldown_s=0.0))
    for _ in range(3):
        admission.admit(HOME, 0.0)
    assert refusal(lambda: admission.admit(HOME, 0.0)).limit == Limit.PER_ADDRESS

    admission = Admission()
    for number in range(10):
        admission.admit(stranger(number), float(number))
    refused = refusal(lambda: admission.admit(stranger(10), 59.0))
    assert (refused.limit, refused.retry_s) == (Limit.PER_MINUTE, 1.0)
    admission.admit(stranger(10), 60.0)

    admission = Admission()
    admission.admit(HOME, 0.0)
    refused = refusal(lambda: admission.admit(HOME, 18.0))
    assert (refused.limit, refused.retry_s) == (Limit.COOLDOWN, 42.0)
    assert "cooldown" in str(refused) and "42 s" in str(refused)
    admission.admit(HOME, 60.0)


@pytest.mark.requirement("LIM-05")
def test_of_several_limits_that_are_reached_the_first_is_named() -> None:
    tight = ConnectionLimits(max_total=1, kept_for_known=0, kept_for_outbound=0, max_per_address=1, max_per_minute=1)
    admission = Admission(tight)
    place = admission.admit(HOME, 0.0)
    assert refusal(lambda: admission.admit(HOME, 0.0)).limit == Limit.TOTAL

    admission = Admission(ConnectionLimits(max_per_address=1, max_per_minute=1))
    place = admission.admit(HOME, 0.0)
    assert refusal(lambda: admission.admit(HOME, 0.0)).limit == Limit.PER_ADDRESS
    admission.release(place)
    assert refusal(lambda: admission.admit(HOME, 0.0)).limit == Limit.PER_MINUTE

    admission = Admission(ConnectionLimits(max_per_minute=2))
    admission.release(admission.admit(HOME, 0.0))
    assert refusal(lambda: admission.admit(HOME, 0.0)).limit == Limit.COOLDOWN


@pytest.mark.requirement("LIM-06")
def test_an_attempt_that_failed_counts_and_one_that_was_refused_does_not() -> None:
    admission = Admission()
    admission.release(admission.admit(HOME, 0.0))
    assert refusal(lambda: admission.admit(HOME, 1.0)).limit == Limit.COOLDOWN
    # Had the refusals counted, its cooldown would begin anew with each.
    for second in range(2, 60):
        refusal(lambda second=second: admission.admit(HOME, float(second)))  # type: ignore[misc]
    admission.admit(HOME, 60.0)
    assert admission.statistics(60.0).recent_attempts == 1


@pytest.mark.requirement("LIM-07")
def test_the_history_goes_back_five_minutes_and_is_cleaned_every_minute() -> None:
    admission = Admission()
    for number in range(10):
        admission.release(admission.admit(stranger(number), 0.0))
    before = admission.entries
    admission.release(admission.admit(HOME, HISTORY_S))
    assert admission.entries > before
    admission.release(admission.admit(stranger(99), HISTORY_S + CLEAN_S))
    # What is left: this attempt and the one before, in each of the tables, and the ten of the minute's ring.
    assert admission.entries == 2 + 2 + 10


@pytest.mark.requirement("LIM-09")
def test_a_place_is_free_again_when_its_connection_ends_and_only_once() -> None:
    admission = Admission(ConnectionLimits(cooldown_s=0.0))
    places = [admission.admit(HOME, 0.0) for _ in range(3)]
    admission.release(places[0])
    admission.release(places[0])
    assert admission.statistics(0.0).connections_by_address == {"198.51.100.7": 2}
    admission.admit(HOME, 0.0)
    refusal(lambda: admission.admit(HOME, 0.0))


@pytest.mark.requirement("LIM-11")
def test_the_statistics_tell_of_connections_and_attempts() -> None:
    admission = Admission()
    admission.admit(stranger(1), 0.0)
    admission.admit(stranger(2), 30.0)
    admission.admit(HOME, 50.0, peer=FRIEND)
    refusal(lambda: admission.admit(stranger(2), 50.0))
    found = admission.statistics(61.0)
    assert (found.total_connections, found.known_connections, found.connection_limit) == (3, 1, 100)
    assert found.connections_by_address == {"10.0.0.1": 1, "10.0.0.2": 1, "198.51.100.7": 1}
    assert found.recent_attempts == 2
    assert found.refused == {"cooldown": 1}


def test_a_known_peer_is_held_to_a_backoff_that_doubles_and_ends_when_it_proves_itself() -> None:
    admission = Admission()
    now, waits = 0.0, []
    for _ in range(8):
        admission.release(admission.admit(HOME, now, peer=FRIEND))
        refused = refusal(lambda now=now: admission.admit(HOME, now, peer=FRIEND))  # type: ignore[misc]
        assert refused.limit == Limit.COOLDOWN and refused.retry_s is not None
        waits.append(refused.retry_s)
        now += refused.retry_s
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    place = admission.admit(HOME, now, peer=FRIEND)
    admission.proven(place, True)
    admission.release(place)
    assert refusal(lambda: admission.admit(HOME, now, peer=FRIEND)).retry_s == 1.0


def test_where_a_known_peer_proved_itself_its_next_connection_is_no_strangers() -> None:
    admission = Admission()
    place = admission.admit(HOME, 0.0)
    admission.proven(place, True)
    admission.release(place)
    full_of_strangers(admission, 1.0)
    assert admission.is_known_source(HOME)
    assert admission.admit(HOME, 2.0).known


def test_who_only_shares_the_address_of_a_known_peer_becomes_a_stranger_or_goes() -> None:
    admission = Admission(ConnectionLimits(max_total=4, kept_for_known=2, kept_for_outbound=0))
    friend = admission.admit(HOME, 0.0)
    admission.proven(friend, True)
    neighbour = admission.admit(HOME, 10.0)
    admission.proven(neighbour, False)
    assert not neighbour.known and neighbour.held
    admission.admit(stranger(1), 10.0)
    another = admission.admit(HOME, 100.0)
    assert refusal(lambda: admission.proven(another, False)).limit == Limit.TOTAL
    assert not another.held and len(admission) == 3


@pytest.mark.requirement("LIM-23")
def test_near_its_limit_a_node_has_room_for_known_peers_only() -> None:
    admission = Admission()
    now = full_of_strangers(admission)
    assert admission.pressure is Pressure.STRAINED
    assert refusal(lambda: admission.admit(HOME, now)).limit == Limit.TOTAL
    admission.admit(HOME, now, peer=FRIEND)


@pytest.mark.parametrize("full", [False, True], ids=["idle", "full of strangers"])
@pytest.mark.parametrize("addresses", [1, 1_000, 100_000])
def test_a_flood_leaves_room_for_a_known_peer_and_no_trace_in_memory(addresses: int, full: bool) -> None:
    admission = Admission()
    begin = full_of_strangers(admission) if full else 0.0
    most = 0
    # 1,000 attempts a second.
    for attempt in range(max(30_000, addresses)):
        now = begin + attempt / 1000
        try:
            admission.admit(stranger(1_000_000 + attempt % addresses), now)
        except LimitReached:
            pass
        most = max(most, admission.entries)
        if attempt % 10_000 == 9_999:
            place = admission.admit(HOME, now, peer=FRIEND)
            admission.proven(place, True)
            admission.release(place)
    assert len(admission) <= 100 - admission.limits.kept_for_known
    assert admission.refused.total() >= max(30_000, addresses) - 20
    # A few entries for each attempt that was let in, and none for those that were not.
    assert most < 4 * admission.limits.max_total


class Peer:
    def __init__(self, reputation: float, seconds: float) -> None:
        self.routes = reputation >= 0.5
        self.first_seen, self.last_seen = 1_000_000.0, 1_000_000.0 + seconds


@pytest.mark.parametrize(
    ("peer", "known"),
    [
        (None, False),
        (Peer(0.5, KNOWN_AFTER_S), True),
        (Peer(0.4, KNOWN_AFTER_S), False),
        (Peer(1.0, KNOWN_AFTER_S - 1), False),
        (Peer(1.0, 0.0), False),
    ],
)
def test_known_is_who_behaved_for_longer_than_a_flood_takes(peer: Peer | None, known: bool) -> None:
    assert is_known_good(peer) is known  # type: ignore[arg-type]


@pytest.mark.parametrize(("for_known", "for_outbound"), [(10, 0), (0, 10), (5, 5), (-1, 0), (0, -1)])
def test_limits_that_let_in_nobody_are_none(for_known: int, for_outbound: int) -> None:
    with pytest.raises(ValueError):
        ConnectionLimits(max_total=10, kept_for_known=for_known, kept_for_outbound=for_outbound)


@pytest.mark.requirement("LIM-03", "LIM-04")
def test_who_comes_in_uses_up_nothing_of_what_we_dial() -> None:
    admission = Admission()
    for number in range(10):
        admission.release(admission.admit(stranger(number), 0.0))
    assert refusal(lambda: admission.admit(HOME, 0.0)).limit == Limit.PER_MINUTE
    # Nor does it matter that they came from where we dial.
    for number in range(10):
        admission.release(admission.admit(stranger(number), 0.0, outbound=True))
    assert refusal(lambda: admission.admit(HOME, 59.0, outbound=True)).limit == Limit.PER_MINUTE
    admission.admit(HOME, 60.0)
    assert refusal(lambda: admission.admit(HOME, 61.0)).limit == Limit.COOLDOWN
    admission.admit(HOME, 61.0, outbound=True)
    assert refusal(lambda: admission.admit(HOME, 62.0, outbound=True)).limit == Limit.COOLDOWN


@pytest.mark.requirement("LIM-02")
@pytest.mark.parametrize("peer", [None, FRIEND])
def test_who_holds_all_places_of_an_address_does_not_stop_us_from_dialling_it(peer: bytes | None) -> None:
    admission = Admission(ConnectionLimits(cooldown_s=0.0), known_sources=[] if peer is None else [HOME])
    for _ in range(3):
        admission.admit(HOME, 0.0)
    assert refusal(lambda: admission.admit(HOME, 0.0)).limit == Limit.PER_ADDRESS
    for _ in range(3):
        admission.admit(HOME, 0.0, peer=peer, outbound=True)
    assert refusal(lambda: admission.admit(HOME, 0.0, peer=peer, outbound=True)).limit == Limit.PER_ADDRESS


@pytest.mark.requirement("LIM-01")
def test_strangers_that_come_in_leave_places_for_what_we_dial() -> None:
    admission = Admission()
    now = full_of_strangers(admission)
    assert refusal(lambda: admission.admit(HOME, now)).limit == Limit.TOTAL
    for number in range(10):
        admission.admit(stranger(1000 + number), now, outbound=True)
    assert refusal(lambda: admission.admit(HOME, now + 60, outbound=True)).limit == Limit.TOTAL
    newest = admission.newest_stranger
    assert newest is not None and not newest.outbound
    admission.release(newest)
    admission.admit(HOME, now + 60, outbound=True)


@pytest.mark.requirement("LIM-04")
@pytest.mark.parametrize("per_s", [1, 10])
def test_a_neighbour_that_dials_and_hangs_up_does_not_lock_a_known_peer_out(per_s: int) -> None:
    admission = Admission(known_sources=[HOME], chance=random.Random(1).random)
    let_in = {"neighbour": 0, "known": 0}

    def attempt(who: str, now: float) -> None:
        try:
            place = admission.admit(HOME, now)
        except LimitReached as refused:
            assert refused.limit == Limit.COOLDOWN
            return
        if who == "known":
            admission.proven(place, True)
        admission.release(place)
        let_in[who] += 1

    for number in range(3600 * per_s):
        attempt("neighbour", number / per_s)
        # Always a moment too late for what a bucket gets in.
        if number % (5 * per_s) == 0:
            attempt("known", number / per_s + 0.01)
    # 720 attempts, each as likely to be let in as one of the neighbour's.
    assert let_in["known"] > 720 / per_s / 2
    assert sum(let_in.values()) <= 3600 * admission.limits.known_per_s + 2 * admission.limits.known_at_once + 1
    admission.admit(HOME, 3600.0, peer=FRIEND, outbound=True)


def test_a_flood_from_where_a_known_peer_is_takes_no_strangers_places_and_is_bounded() -> None:
    admission = Admission(known_sources=[HOME])
    let_in = 0
    for attempt in range(10_000):
        try:
            admission.release(admission.admit(HOME, attempt / 1000))
            let_in += 1
        except LimitReached:
            pass
    assert 6 <= let_in <= 12 + 1 + 10
    assert admission.entries < 100
    # Strangers from elsewhere are as well off as ever, and the address itself is after a few seconds' quiet.
    admission.admit(stranger(1), 10.0)
    assert admission.admit(HOME, 17.0).known


def test_where_known_peers_were_before_a_restart_they_are_no_strangers_after_it(tmp_path: Path) -> None:
    cache = PeerCache(tmp_path / "peers.sqlite")
    good, newcomer, bad = (local_identity(number) for number in range(3))
    where = {
        good: ("tcp://198.51.100.7:8765", "no address", "192.0.2.1:8765", "udp://[2001:db8::1]:8766"),
        newcomer: ("tcp://203.0.113.1:8765",),
        bad: ("tcp://203.0.113.2:8765",),
    }
    for local, addresses in where.items():
        cache.remember(local.proof, record_of(local), NOW, "ip4:192.0.2.0/24", addresses)
        cache.seen(local.proof.peer_id, NOW + (0 if local is newcomer else KNOWN_AFTER_S))
    cache.set_reputation(bad.proof.peer_id, 0.1)
    found = known_addresses(cache)
    cache.close()
    assert found == [HOME, Udp("2001:db8::1", 8766)]

    admission = Admission(known_sources=found)
    full_of_strangers(admission)
    assert admission.admit(HOME, 0.0).known and admission.admit(Quic("2001:db8::2", 1), 0.0).known
    assert not admission.is_known_source(Tcp("203.0.113.1", 1)) and not admission.is_known_source(Tcp("203.0.113.2", 1))


def test_of_remembered_sources_the_oldest_goes_first() -> None:
    admission = Admission(ConnectionLimits(most_known=2))
    for number in range(3):
        admission.remember(stranger(number))
    assert [admission.is_known_source(stranger(number)) for number in range(3)] == [False, True, True]
