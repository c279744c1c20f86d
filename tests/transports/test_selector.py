"""Which transport is selected, and what is measured of each: tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.transports.adaptive_timeout import TimeoutRange
from bitrelay.transports.link_state import LinkState
from bitrelay.transports.metrics import (
    HALF_LIFE_S,
    INITIAL,
    STALE_S,
    Metrics,
    drifted,
    failed,
    succeeded,
    with_bandwidth,
    with_latency,
)
from bitrelay.transports.selector import SMALL_BYTES, WIFI_BYTES, Candidate, Policy, TransportType, order

BLE = Candidate("ble", TransportType.BLUETOOTH, Metrics(latency_ms=80, bandwidth_kbps=100, reliability_score=0.8))
WIFI = Candidate("wifi", TransportType.WIFI_DIRECT, Metrics(latency_ms=20, bandwidth_kbps=9000, reliability_score=0.7))
NET = Candidate("tcp", TransportType.INTERNET, Metrics(latency_ms=50, bandwidth_kbps=4000, reliability_score=0.99))
MESH = Candidate("mesh", TransportType.MESH, Metrics(latency_ms=900, bandwidth_kbps=5, reliability_score=0.6))
ALL = (BLE, WIFI, NET, MESH)


def names(candidates: tuple[Candidate, ...]) -> str:
    return " ".join(each.name for each in candidates)


@pytest.mark.requirement("CRD-01", "CRD-05", "CRD-06", "CRD-10")
@pytest.mark.parametrize(
    ("policy", "ordered"),
    [
        (Policy.FASTEST_FIRST, "wifi ble tcp mesh"),
        (Policy.MOST_RELIABLE, "tcp ble wifi mesh"),
    ],
)
def test_a_policy_selects_the_first_and_the_others_follow_as_listed(policy: Policy, ordered: str) -> None:
    assert names(order(ALL, policy, 100)) == ordered


@pytest.mark.requirement("CRD-08", "CRD-09")
@pytest.mark.parametrize(
    ("size", "candidates", "first"),
    [
        (0, ALL, "ble"),
        (SMALL_BYTES - 1, ALL, "ble"),
        (SMALL_BYTES, ALL, "wifi"),
        (WIFI_BYTES, ALL, "wifi"),
        (WIFI_BYTES + 1, ALL, "tcp"),
        (SMALL_BYTES - 1, (MESH, NET, WIFI), "mesh"),
        (SMALL_BYTES, (NET, BLE), "tcp"),
        (WIFI_BYTES + 1, (MESH, WIFI), "mesh"),
    ],
)
def test_energy_is_saved_by_size_and_without_the_right_one_the_first_is_taken(
    size: int, candidates: tuple[Candidate, ...], first: str
) -> None:
    assert order(candidates, Policy.ENERGY_EFFICIENT, size)[0].name == first


def test_up_to_what_size_wifi_is_meant_can_be_set() -> None:
    assert order(ALL, Policy.ENERGY_EFFICIENT, 5000, wifi_bytes=4000)[0].name == "tcp"


@pytest.mark.requirement("CRD-07")
def test_load_is_balanced_by_bandwidth_and_reliability() -> None:
    sent = dict.fromkeys(("ble", "wifi", "tcp", "mesh"), 0)
    for _ in range(10_000):
        now = tuple(Candidate(each.name, each.type, each.metrics, sent[each.name]) for each in ALL)
        sent[order(now, Policy.LOAD_BALANCED, 100)[0].name] += 100
    weights = {each.name: each.metrics.bandwidth_kbps * each.metrics.reliability_score for each in ALL}
    for name, weight in weights.items():
        assert sent[name] / 1_000_000 == pytest.approx(weight / sum(weights.values()), abs=0.001)


@pytest.mark.requirement("CRD-07")
def test_of_equal_transports_each_takes_its_turn() -> None:
    sent, turns = {"a": 0, "b": 0, "c": 0}, ""
    for _ in range(6):
        now = tuple(Candidate(name, TransportType.INTERNET, INITIAL, count) for name, count in sent.items())
        turns += (name := order(now, Policy.LOAD_BALANCED, 10)[0].name)
        sent[name] += 10
    assert turns == "abcabc"


@pytest.mark.parametrize("policy", Policy)
def test_who_did_not_answer_in_time_comes_last(policy: Policy) -> None:
    suspects = tuple(Candidate(each.name, each.type, each.metrics, suspect=each is not MESH) for each in ALL)
    ordered = order(suspects, policy, 100)
    assert ordered[0].name == "mesh" and len(ordered) == len(ALL)


@given(st.permutations(ALL), st.sampled_from(Policy), st.integers(0, 200_000))
def test_everybody_is_in_the_order_once(candidates: list[Candidate], policy: Policy, size: int) -> None:
    ordered = order(candidates, policy, size)
    assert sorted(map(id, ordered)) == sorted(map(id, candidates))
    assert list(ordered[1:]) == [each for each in candidates if each is not ordered[0]]
    assert order((), policy, size) == ()


@pytest.mark.requirement("CRD-03", "CRD-04")
def test_of_a_new_transport_the_best_is_assumed() -> None:
    assert Metrics() == Metrics(100.0, 1000.0, 0.0, 1.0, 0.0)


@pytest.mark.requirement("CRD-11", "CRD-12", "CRD-13")
def test_success_and_failure_move_loss_and_reliability_both_ways() -> None:
    bad = failed(INITIAL, 1.0)
    assert (bad.reliability_score, bad.packet_loss, bad.last_updated) == (0.9, 0.1, 1.0)
    better = succeeded(bad, 2.0)
    assert better.reliability_score == pytest.approx(0.9 * 0.95 + 0.05)
    assert better.packet_loss == pytest.approx(0.09)
    for _ in range(200):
        bad, better = failed(bad, 3.0), succeeded(better, 3.0)
    assert bad.reliability_score < 0.01 and bad.packet_loss > 0.99
    assert better.reliability_score > 0.99 and better.packet_loss < 0.01


def test_what_is_stale_comes_back_to_what_is_assumed_and_asking_changes_nothing() -> None:
    bad = Metrics(500.0, 10.0, 0.8, 0.2, 0.0)
    assert drifted(bad, STALE_S) == bad
    half = drifted(bad, STALE_S + HALF_LIFE_S)
    assert (half.latency_ms, half.bandwidth_kbps) == (300.0, 505.0)
    assert (half.packet_loss, half.reliability_score) == pytest.approx((0.4, 0.6))
    assert drifted(bad, STALE_S + HALF_LIFE_S) == half
    gone = drifted(Metrics(5.0, 9e6, 0.0, 1.0), 1e6)
    assert gone.latency_ms == pytest.approx(100.0) and gone.bandwidth_kbps == pytest.approx(1000.0)


Happened = st.lists(st.tuples(st.sampled_from([succeeded, failed]), st.floats(0, 1000)))


@given(Happened)
def test_shares_stay_shares(happened: list[tuple[object, float]]) -> None:
    metrics, now = INITIAL, 0.0
    for what, wait in happened:
        now += wait
        metrics = what(metrics, now)  # type: ignore[operator]
        assert 0 <= metrics.packet_loss <= 1 and 0 <= metrics.reliability_score <= 1


@pytest.mark.requirement("CRD-13")
def test_latency_and_bandwidth_are_measured_by_what_is_acknowledged() -> None:
    link = LinkState("tcp", TransportType.INTERNET, TimeoutRange(), 0.0)
    now = 0.0
    # Two megabytes a second, with 5 ms from sending to acknowledgement.
    for _ in range(500):
        link.began(10_000, now)
        now += 0.005
        link.arrived(10_000, now, latency_ms=5.0, more=True)
    assert link.metrics(now).latency_ms == pytest.approx(5.0, rel=0.01)
    assert link.metrics(now).bandwidth_kbps == pytest.approx(16_000, rel=0.01)


def test_the_pauses_of_who_sends_little_do_not_count_as_slowness() -> None:
    link = LinkState("tcp", TransportType.INTERNET, TimeoutRange(), 0.0)
    for second in range(100):
        link.began(1_000, float(second))
        link.arrived(1_000, second + 0.01, latency_ms=None, more=False)
    assert link.metrics(100.0).bandwidth_kbps == INITIAL.bandwidth_kbps


def test_an_answer_may_take_two_round_trips_however_quick_the_timeout_has_become() -> None:
    link = LinkState("mesh", TransportType.MESH, TimeoutRange(0.5, 0.2, 10.0), 0.0)
    for _ in range(200):
        link.arrived(10, 1.0, latency_ms=900.0, more=False)
    assert link.wait_s(1.0) == pytest.approx(1.8, rel=0.01)


def test_measuring_moves_a_mean() -> None:
    assert with_latency(INITIAL, 20.0, 1.0).latency_ms == 90.0
    assert with_bandwidth(INITIAL, 5000.0, 1.0).bandwidth_kbps == 2000.0


def test_pings_do_not_keep_an_old_bandwidth_alive() -> None:
    metrics = Metrics(bandwidth_kbps=10.0)
    for second in range(0, 3000, 10):
        metrics = with_latency(succeeded(metrics, float(second)), 20.0, float(second))
    assert drifted(metrics, 3000.0).bandwidth_kbps == pytest.approx(1000.0, rel=0.01)
    assert drifted(metrics, 3000.0).latency_ms == pytest.approx(20.0)
