"""What the UDP network decides by: rates, cookies, paths, where others see us, answers sent before."""

import pytest

from bitrelay.dht import upkeep
from bitrelay.dht.answer_cache import MOST_REPEATS, AnswerCache
from bitrelay.dht.cookies import PERIOD_S, Cookies
from bitrelay.dht.flood import Buckets, Rate
from bitrelay.dht.observed import MOST_TELLERS, ObservedAddress, version_of
from bitrelay.dht.paths import FIRST_RTO_S, LEAST_RTO_S, MOST_RTO_S, Path, Paths
from bitrelay.dht.proofs import ProvenNodes
from bitrelay.dht.upkeep import REFRESH_S
from bitrelay.errors import IdentityRefused
from bitrelay.transports.address import Udp
from bitrelay.transports.sockets import source_of_host
from shared_protocol.pow import IDENTITY_S
from tests.identity.mined import BITS, NOW, keys_of, local_identity, record_of

HERE, THERE = Udp("192.0.2.1", 8766), Udp("192.0.2.2", 8766)


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    buckets = Buckets(Rate(2, 5))
    assert sum(buckets.take("ada", 0.0) for _ in range(20)) == 5
    assert sum(buckets.take("ada", 1.0) for _ in range(20)) == 2
    assert sum(buckets.take("ada", 0.5) for _ in range(20)) == 0, "a clock that goes back brings nothing"
    assert sum(buckets.take("bob", 1.0) for _ in range(20)) == 5
    assert sum(buckets.take("ada", 100.0) for _ in range(20)) == 5


def test_who_is_over_its_own_rate_takes_nothing_from_the_common_bucket() -> None:
    buckets = Buckets(Rate(1, 2), Rate(1, 6))
    assert [sum(buckets.take(name, 0.0) for _ in range(100)) for name in "abcd"] == [2, 2, 2, 0]


def test_forgotten_buckets_do_not_raise_what_all_may_do() -> None:
    buckets = Buckets(Rate(1, 2), Rate(1, 50), most=10)
    assert sum(buckets.take(number, 0.0) for number in range(1000)) == 50
    assert len(buckets) == 10


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
    ],
)
def test_an_ipv6_household_is_one_source(one: str, other: str, same: bool) -> None:
    assert (source_of_host(one) == source_of_host(other)) == same


@pytest.mark.parametrize(("host", "version"), [("192.0.2.1", 4), ("2001:db8::1", 6), ("relay.example", 0), ("a1", 0)])
def test_version_of(host: str, version: int) -> None:
    assert version_of(Udp(host, 1)) == version


def test_a_cookie_is_for_one_node_at_one_place_and_of_one_run() -> None:
    now = 3.5 * PERIOD_S
    cookies, others = (Cookies(bytes([number]) * 32, lambda: now) for number in (1, 2))
    cookie = cookies.make(HERE, bytes(32))
    assert cookies.holds(cookie, HERE, bytes(32))
    assert not cookies.holds(cookie, THERE, bytes(32))
    assert not cookies.holds(cookie, Udp(HERE.host, 1), bytes(32))
    assert not cookies.holds(cookie, HERE, bytes(31) + b"\1")
    assert not others.holds(cookie, HERE, bytes(32))
    now += PERIOD_S
    assert cookies.holds(cookie, HERE, bytes(32))
    now += PERIOD_S / 2
    assert not cookies.holds(cookie, HERE, bytes(32))


@pytest.mark.parametrize("made_at", [3 * PERIOD_S, 3.5 * PERIOD_S, 4 * PERIOD_S - 0.001])
def test_a_cookie_still_holds_when_a_quiet_peer_is_pinged(made_at: float) -> None:
    now = made_at
    cookies = Cookies(bytes(32), lambda: now)
    cookie = cookies.make(HERE, bytes(32))
    now += REFRESH_S + 2 * upkeep._LOOK_S  # a round is at most one and a half of these
    assert cookies.holds(cookie, HERE, bytes(32))


def test_a_question_is_repeated_after_what_answers_have_taken() -> None:
    path = Path()
    assert path.rto == FIRST_RTO_S
    path.measured(0.2)
    assert path.rto == pytest.approx(0.6)
    for _ in range(100):
        path.measured(0.2)
    assert path.rto == pytest.approx(0.2, abs=0.01)
    for _ in range(100):
        path.measured(0.001)
    assert path.rto == LEAST_RTO_S
    for _ in range(100):
        path.measured(30.0)
    assert path.rto == MOST_RTO_S


def test_an_address_is_proved_for_40_minutes_after_an_answer() -> None:
    now = 0.0
    paths = Paths(lambda: now, most=2)
    assert not paths.proved(bytes(32), HERE)
    paths.to(bytes(32), HERE).heard_at = now
    now = 2399.0
    assert paths.proved(bytes(32), HERE)
    assert not paths.proved(bytes(32), THERE)
    assert paths.proved_of(bytes(32), (THERE, HERE)) == (HERE,)
    now = 2400.0
    assert not paths.proved(bytes(32), HERE)
    for number in range(5):
        paths.to(bytes([number]) * 32, THERE)
    assert len(paths) == 2


def test_where_others_see_us_is_what_most_say_and_never_one_alone() -> None:
    observed = ObservedAddress()
    observed.tell(b"a", HERE)
    assert observed.addresses == ()
    observed.tell(b"b", HERE)
    observed.tell(b"b", Udp("2001:db8::1", 1))
    observed.tell(b"c", HERE)
    assert observed.addresses == (HERE,)
    observed.tell(b"d", THERE)
    observed.tell(b"e", THERE)
    assert observed.addresses == (), "two against two"
    for number in range(MOST_TELLERS):
        observed.tell(b"f%d" % number, Udp("0.0.0.0", 1))
    observed.tell(b"g", HERE)
    assert observed.addresses == (HERE,), "what is no address does not count"
    for number in range(MOST_TELLERS):
        observed.tell(b"f%d" % number, THERE)
    assert observed.addresses == (THERE,)


def test_an_answer_is_sent_again_to_where_it_went_and_not_for_ever() -> None:
    cache = AnswerCache(most=2)
    answered = cache.begin(b"ada", b"1", HERE, b"signature")
    assert cache.again(b"ada", b"1", HERE, b"signature") is None, "it is being worked on"
    answered.datagram = b"answer"
    assert cache.again(b"ada", b"1", THERE, b"signature") is None
    assert cache.again(b"ada", b"1", HERE, b"another") is None
    again = [cache.again(b"ada", b"1", HERE, b"signature") for _ in range(10)]
    assert again == [b"answer"] * MOST_REPEATS + [None] * (10 - MOST_REPEATS)
    cache.begin(b"ada", b"2", HERE, b"signature")
    cache.begin(b"ada", b"3", HERE, b"signature")
    assert not cache.came_before(b"ada", b"1")
    assert len(cache) == 2


def test_work_is_known_until_it_expires_and_only_that_of_the_node_itself() -> None:
    now = float(NOW)
    proofs = ProvenNodes(BITS, clock=lambda: now, most=2)
    records = [record_of(local_identity(number)) for number in range(3)]
    ids = [keys_of(number).peer_id for number in range(3)]
    with pytest.raises(IdentityRefused):
        proofs.admit(records[0], ids[1], HERE)
    assert not any(map(proofs.knows, ids))
    for record, node_id in zip(records, ids, strict=True):
        proofs.admit(record, node_id, HERE)
    assert list(map(proofs.knows, ids)) == [False, True, True]
    now += IDENTITY_S + 1
    assert not any(map(proofs.knows, ids))
    with pytest.raises(IdentityRefused):
        proofs.admit(records[0], ids[0], HERE)
