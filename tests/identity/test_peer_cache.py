"""Peers are remembered over restarts, within bounds, and nothing is emptied without a word."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitrelay.defense.sybil import MEMORY_S
from bitrelay.errors import BadData, NotPrivate, PortBusy, PortError, TooNew
from bitrelay.identity.challenge import Challenge
from bitrelay.identity.local import LocalIdentity
from bitrelay.identity.peer_cache import NEUTRAL_REPUTATION, PeerCache
from tests.identity.mined import BITS, NOW, local_identity, record_of, redated

DAY = 86_400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identity" / "peers.sqlite"


@pytest.fixture
def cache(path: Path) -> Iterator[PeerCache]:
    cache = PeerCache(path)
    yield cache
    cache.close()


def remember(cache: PeerCache, local: LocalIdentity, now: float = NOW, origin: str = "ip4:192.0.2.0/24") -> bool:
    return cache.remember(local.proof, record_of(local), now, origin, ("192.0.2.1:8765",))


@pytest.fixture(scope="module")
def peers() -> list[LocalIdentity]:
    return [local_identity(number) for number in range(8)]


@pytest.mark.requirement("POW-36")
def test_peers_survive_a_restart(path: Path, peers: list[LocalIdentity]) -> None:
    cache = PeerCache(path)
    assert remember(cache, peers[0])
    cache.set_reputation(peers[0].proof.peer_id, 0.7)
    cache.seen(peers[0].proof.peer_id, NOW + 60)
    cache.close()
    cache = PeerCache(path)
    known = cache.get(peers[0].proof.peer_id)
    assert known is not None
    assert known.identity == peers[0].proof
    assert (known.reputation, known.first_seen, known.last_seen) == (0.7, NOW, NOW + 60)
    assert (known.origin, known.addresses) == ("ip4:192.0.2.0/24", ("192.0.2.1:8765",))
    assert [arrival.peer_id for arrival in cache.arrivals(NOW + 60)] == [peers[0].proof.peer_id]
    assert len(cache) == 1
    cache.close()


@pytest.mark.requirement("POW-34")
def test_a_peer_that_is_not_known_counts_for_nothing(cache: PeerCache) -> None:
    assert cache.score(bytes(32), NOW) == 0.0
    assert not cache.may_connect(bytes(32), NOW)


@pytest.mark.requirement("POW-39")
def test_a_peer_connects_while_its_score_is_above_the_rule(cache: PeerCache, peers: list[LocalIdentity]) -> None:
    # 8 bits: 0.125 + 0.3 * exp(-age / day) is 0.3 at 0.539 days.
    peer = peers[0].proof.peer_id
    remember(cache, peers[0])
    known = cache.get(peer)
    assert known is not None
    for age, admitted in ((0, True), (0.53 * DAY, True), (0.55 * DAY, False), (8 * DAY, False)):
        assert cache.may_connect(peer, NOW + age) is admitted
        assert known.may_connect(NOW + age) is admitted
    assert cache.score(peer, NOW) == pytest.approx(0.425)
    assert cache.score(peer, NOW + 8 * DAY) == 0.0


@pytest.mark.requirement("SEC-08")
def test_reputation_is_apart_from_the_score_and_within_0_and_1(cache: PeerCache, peers: list[LocalIdentity]) -> None:
    peer = peers[0].proof.peer_id
    remember(cache, peers[0])
    score = cache.score(peer, NOW)
    for given, kept, routes, trusted in (
        (None, NEUTRAL_REPUTATION, True, False),
        (0.49, 0.49, False, False),
        (0.59, 0.59, True, False),
        (0.6, 0.6, True, True),
        (7.0, 1.0, True, True),
        (-1.0, 0.0, False, False),
    ):
        if given is not None:
            cache.set_reputation(peer, given)
        known = cache.get(peer)
        assert known is not None
        assert (known.reputation, known.routes, known.trusted) == (kept, routes, trusted)
    assert cache.score(peer, NOW) == score
    with pytest.raises(ValueError, match="NaN"):
        cache.set_reputation(peer, float("nan"))


def test_a_renewed_proof_takes_the_place_of_the_old_one_and_not_the_reverse(cache: PeerCache) -> None:
    old, new = local_identity(1), local_identity(1, NOW + DAY, refresh_count=1)
    remember(cache, old)
    cache.set_reputation(old.proof.peer_id, 0.9)
    assert not remember(cache, new, NOW + DAY)
    assert not remember(cache, old, NOW + DAY + 1)
    known = cache.get(old.proof.peer_id)
    assert known is not None
    assert (known.identity, known.reputation, known.first_seen) == (new.proof, 0.9, NOW)
    assert [arrival.renewal for arrival in cache.arrivals(NOW + 2 * DAY)] == [False, True]


@pytest.mark.requirement("SEC-05")
def test_a_record_that_somebody_else_brings_again_changes_nothing(cache: PeerCache, peers: list[LocalIdentity]) -> None:
    remember(cache, peers[0])
    before = cache.get(peers[0].proof.peer_id)
    record = record_of(peers[0])
    assert not cache.remember(peers[0].proof, record, NOW + 60, "ip4:203.0.113.0/24", ("203.0.113.66:8765",))
    assert cache.get(peers[0].proof.peer_id) == before
    assert len(cache.arrivals(NOW + 60)) == 1
    cache.seen(peers[0].proof.peer_id, NOW + 90, ("192.0.2.2:8765",))
    known = cache.get(peers[0].proof.peer_id)
    assert known is not None
    assert (known.last_seen, known.addresses) == (NOW + 90, ("192.0.2.2:8765",))


def test_work_with_other_dates_is_the_same_work(cache: PeerCache, peers: list[LocalIdentity]) -> None:
    remember(cache, peers[0])
    for later_s in range(1, 60):
        again = redated(peers[0], later_s)
        assert not cache.is_new_work(again.proof)
        assert not remember(cache, again, NOW + later_s)
    known = cache.get(peers[0].proof.peer_id)
    assert known is not None
    assert known.identity == peers[0].proof
    assert len(cache.arrivals(NOW + 60)) == 1


def test_neither_do_two_proofs_in_turn_count_more_than_twice(cache: PeerCache) -> None:
    challenges = [Challenge.fresh(BITS, NOW - 5 + number, bytes([number] * 32)) for number in range(2)]
    first, second = (local_identity(1, challenge=challenge) for challenge in challenges)
    for later_s in range(0, 20, 2):
        remember(cache, redated(first, later_s), NOW + later_s)
        remember(cache, redated(second, later_s + 1), NOW + later_s)
    assert [arrival.renewal for arrival in cache.arrivals(NOW + 20)] == [False, True]


def test_a_proof_that_was_let_expire_does_not_come_anew(cache: PeerCache, peers: list[LocalIdentity]) -> None:
    # The end of an identity is its owner's to choose, too.
    for later_s in range(0, 60, 10):
        again = redated(peers[0], later_s, lives_s=5)
        assert cache.is_new_work(again.proof) is (later_s == 0)
        assert remember(cache, again, NOW + later_s)
        assert cache.prune(NOW + later_s + 6) == 1
    assert len(cache.arrivals(NOW + 60)) == 1


@pytest.mark.requirement("POW-36")
def test_what_has_expired_is_pruned(cache: PeerCache, peers: list[LocalIdentity]) -> None:
    remember(cache, peers[0])
    assert cache.prune(NOW + 7 * DAY) == 0
    assert cache.prune(NOW + 7 * DAY + 1) == 1
    assert len(cache) == 0
    assert cache.arrivals(NOW + 7 * DAY) == []


def test_a_full_cache_loses_newcomers_before_those_it_has_known_longer(path: Path, peers: list[LocalIdentity]) -> None:
    cache = PeerCache(path, most_peers=4)
    ids = [local.proof.peer_id for local in peers]
    for local in peers[:3]:
        remember(cache, local)
        cache.seen(local.proof.peer_id, NOW + DAY)
    cache.set_reputation(ids[1], 0.2)
    for number, local in enumerate(peers[3:]):
        remember(cache, local, NOW + DAY + number)
    # The one of ill repute went first, then newcomers pushed out one another.
    assert set(cache.peer_ids()) == {ids[0], ids[2], ids[6], ids[7]}
    assert len(cache) == 4
    cache.close()


def test_a_full_cache_loses_what_has_expired_first(path: Path, peers: list[LocalIdentity]) -> None:
    cache = PeerCache(path, most_peers=2)
    old = local_identity(99, NOW - 8 * DAY)
    remember(cache, old, NOW - 8 * DAY)
    cache.set_reputation(old.proof.peer_id, 1.0)
    remember(cache, peers[0])
    remember(cache, peers[1])
    assert cache.get(old.proof.peer_id) is None
    assert len(cache) == 2
    cache.close()


def test_arrivals_are_bounded_and_no_older_than_a_week(path: Path, peers: list[LocalIdentity]) -> None:
    cache = PeerCache(path, most_arrivals=5)
    for number, local in enumerate(peers):
        remember(cache, local, NOW + number)
    times = [arrival.first_seen for arrival in cache.arrivals(NOW + 100)]
    assert times == [NOW + number for number in range(3, 8)]
    assert len(cache.arrivals(NOW + 5)) == 3
    assert len(cache.arrivals(NOW + MEMORY_S + 5)) == 2
    cache.close()


def test_renewals_push_out_renewals_alone(path: Path, peers: list[LocalIdentity]) -> None:
    cache = PeerCache(path, most_arrivals=5)
    for local in peers[:4]:
        remember(cache, local)
    renewed = [local_identity(0, NOW + number * DAY, refresh_count=number) for number in range(1, 5)]
    for number, local in enumerate(renewed, 1):
        assert cache.is_new_work(local.proof)
        remember(cache, local, NOW + number * DAY)
    came = cache.arrivals(NOW + 5 * DAY)
    assert {arrival.peer_id for arrival in came if not arrival.renewal} == {local.proof.peer_id for local in peers[:4]}
    assert [arrival.first_seen for arrival in came if arrival.renewal] == [NOW + 4 * DAY]
    # Newcomers push out whoever came first.
    for local in peers[4:]:
        remember(cache, local, NOW + 5 * DAY)
    ids = [arrival.peer_id for arrival in cache.arrivals(NOW + 5 * DAY)]
    assert ids == [renewed[-1].proof.peer_id, *(local.proof.peer_id for local in peers[4:])]
    cache.close()


def test_watching_begins_anew_after_a_gap(cache: PeerCache) -> None:
    assert cache.watching_since(NOW) == NOW
    assert cache.watching_since(NOW + 3600) == NOW
    assert cache.watching_since(NOW + 7201) == NOW + 7201
    # A clock that was set back.
    assert cache.watching_since(NOW) == NOW


def test_a_row_that_somebody_altered_is_removed(cache: PeerCache, path: Path, peers: list[LocalIdentity]) -> None:
    remember(cache, peers[0])
    record = bytearray(record_of(peers[0]))
    record[3] ^= 1
    with sqlite3.connect(path) as other:
        other.execute("UPDATE peers SET record = ?", (bytes(record),))
    other.close()
    assert cache.get(peers[0].proof.peer_id) is None
    assert len(cache) == 0


@pytest.mark.parametrize(
    "harm",
    [
        "addresses = '[\"192.0.2'",
        "addresses = '7'",
        "addresses = '[[1]]'",
        f"addresses = '{'[' * 100_000}'",
        "addresses = CAST(X'FF' AS TEXT)",
        "peer_id = X'00'",
        "challenge_data = 'text'",
        "difficulty = 100000",
        "computed_at = 'noon'",
        "created_at = 9e999",
        "origin = X'FF'",
    ],
)
def test_an_arrival_that_cannot_be_read_is_removed(
    cache: PeerCache, path: Path, peers: list[LocalIdentity], harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number, local in enumerate(peers[:3]):
        remember(cache, local, NOW + number)
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE arrivals SET {harm} WHERE number = 2")
    other.close()
    whole = [peers[0].proof.peer_id, peers[2].proof.peer_id]
    for _ in range(2):
        assert [arrival.peer_id for arrival in cache.arrivals(NOW + 10)] == whole
    assert caplog.text.count("1 arrivals in") == 1
    assert len(cache) == 3


@pytest.mark.parametrize("harm", ["'[\"192.0.2'", "'7'", f"'{'[' * 100_000}'", "CAST(X'FF' AS TEXT)"])
def test_a_peer_with_unreadable_addresses_is_removed(
    cache: PeerCache, path: Path, peers: list[LocalIdentity], harm: str
) -> None:
    remember(cache, peers[0])
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE peers SET addresses = {harm}")
    other.close()
    assert cache.get(peers[0].proof.peer_id) is None
    assert len(cache) == 0


# The file


def test_a_database_of_before_gets_the_indexes_that_came_later(path: Path, peers: list[LocalIdentity]) -> None:
    cache = PeerCache(path)
    remember(cache, peers[0])
    cache._do("DROP INDEX arrivals_by_proof")
    cache._do("DROP INDEX arrivals_of_renewals")
    cache.close()
    cache = PeerCache(path)
    for question in ("WHERE peer_id = x'00' AND challenge_data = x'00'", "WHERE renewal"):
        plan = cache._all(f"EXPLAIN QUERY PLAN SELECT min(number) FROM arrivals {question}")
        assert "INDEX arrivals_" in plan[0][3], question
    assert len(cache) == 1
    cache.close()


def test_the_file_is_its_owners_alone(cache: PeerCache, path: Path, peers: list[LocalIdentity]) -> None:
    remember(cache, peers[0])
    files = list(path.parent.iterdir())
    assert {file.name for file in files} == {"peers.sqlite", "peers.sqlite-wal", "peers.sqlite-shm"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["noise", "cut", "page"])
def test_a_damaged_database_is_set_aside_whole(path: Path, peers: list[LocalIdentity], damage: str) -> None:
    cache = PeerCache(path)
    for local in peers:
        remember(cache, local)
    cache.close()
    content = path.read_bytes()
    harmed = {
        "noise": b"\xa5" * 5000,
        "cut": content[: len(content) // 2],
        "page": content[:4096] + bytes(len(content) - 4096),
    }[damage]
    path.write_bytes(harmed)
    cache = PeerCache(path, clock=lambda: float(NOW))
    assert cache.set_aside == path.with_name(f"peers.sqlite.damaged-{NOW}")
    assert cache.set_aside.read_bytes() == harmed
    assert len(cache) == 0
    assert remember(cache, peers[0])
    cache.close()


def test_a_sound_one_is_not_set_aside(path: Path) -> None:
    for _ in range(2):
        cache = PeerCache(path)
        assert cache.set_aside is None
        cache.close()


def test_several_damaged_ones_are_all_kept(path: Path) -> None:
    aside = []
    for number in range(3):
        path.parent.mkdir(exist_ok=True, mode=0o700)
        path.write_bytes(b"damaged %d" % number * 1000)
        cache = PeerCache(path, clock=lambda: float(NOW))
        assert cache.set_aside is not None
        aside.append(cache.set_aside.read_bytes()[:9])
        cache.close()
    assert aside == [b"damaged 0", b"damaged 1", b"damaged 2"]


def test_a_newer_release_s_and_another_program_s_are_left_alone(path: Path) -> None:
    PeerCache(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 2")
    other.close()
    with pytest.raises(TooNew):
        PeerCache(path)
    foreign = path.with_name("foreign.sqlite")
    with sqlite3.connect(foreign) as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    other.close()
    before = foreign.read_bytes()
    with pytest.raises(BadData, match="another program"):
        PeerCache(foreign)
    assert foreign.read_bytes() == before


def test_a_link_is_not_followed_and_a_folder_is_no_database(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PortError):
        PeerCache(path)
    with pytest.raises(PortError):
        PeerCache(tmp_path)


def test_somebody_else_s_file_is_not_believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PeerCache(path).close()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(NotPrivate):
        PeerCache(path)


def test_one_that_another_process_writes_is_in_use(cache: PeerCache, path: Path, peers: list[LocalIdentity]) -> None:
    cache._database.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(PortBusy):
        remember(cache, peers[0])
    other.execute("ROLLBACK")
    other.close()
    assert remember(cache, peers[0])
