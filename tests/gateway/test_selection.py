"""Which gateway is taken, and which share the work."""

import pytest

from bitrelay.gateway.config import Preference
from bitrelay.gateway.selection import Candidate, Criteria, Selection, acceptable, alike, best, order, select

CRITERIA = Criteria(max_load=0.8, min_uptime=0.95, max_fee=10)


def gateway(name: str, **known: object) -> Candidate:
    return Candidate(name.encode(), **known)  # type: ignore[arg-type]


def names(candidates: list[Candidate] | tuple[Candidate, ...]) -> str:
    return "".join(each.peer_id.decode() for each in candidates)


@pytest.mark.requirement("GWY-08")
@pytest.mark.parametrize(("percent", "taken"), [(0, True), (79, True), (80, False), (100, False)])
def test_a_gateway_is_taken_only_while_its_load_is_below_the_limit(percent: int, taken: bool) -> None:
    assert acceptable(gateway("a", load=percent / 100), CRITERIA) is taken


@pytest.mark.requirement("GWY-09")
@pytest.mark.parametrize(("share", "taken"), [(9499, False), (9500, False), (9501, True), (10_000, True)])
def test_a_gateway_is_taken_only_if_it_could_be_reached_for_more_than_the_least_share(share: int, taken: bool) -> None:
    assert acceptable(gateway("a", uptime=share / 10_000), CRITERIA) is taken


@pytest.mark.requirement("GWY-10")
@pytest.mark.parametrize(("fee", "taken"), [(0, True), (10, True), (11, False)])
def test_a_gateway_is_taken_only_if_it_asks_no_more_than_the_limit(fee: int, taken: bool) -> None:
    assert acceptable(gateway("a", fee=fee), CRITERIA) is taken


@pytest.mark.requirement("GWY-10", "GWY-11")
@pytest.mark.parametrize(
    ("preference", "wanted"),
    [
        (Preference.LOWEST_LATENCY, "bcda"),
        (Preference.LOWEST_COST, "abdc"),
        (Preference.HIGHEST_BANDWIDTH, "cdab"),
        (Preference.MOST_RELIABLE, "dcab"),
    ],
)
def test_the_order_is_by_preference(preference: Preference, wanted: str) -> None:
    known = [
        gateway("a", fee=0, capacity=600, load=0.5, uptime=0.97, latency_ms=None),
        gateway("b", fee=1, capacity=100, load=0.0, uptime=0.96, latency_ms=5.0),
        gateway("c", fee=3, capacity=900, load=0.1, uptime=0.98, latency_ms=50.0),
        gateway("d", fee=2, capacity=600, load=0.3, uptime=0.99, latency_ms=80.0),
    ]
    assert names(order(known, preference)) == names(order(reversed(known), preference)) == wanted


@pytest.mark.requirement("GWY-11")
def test_a_gateway_whose_latency_nobody_has_measured_is_not_taken_for_the_nearest() -> None:
    known = [gateway("a"), gateway("b", latency_ms=900.0), gateway("c", latency_ms=30.0)]
    chosen = best(known, CRITERIA, Preference.LOWEST_LATENCY)
    assert chosen is not None and chosen.peer_id == b"c"


@pytest.mark.requirement("GWY-07")
def test_the_best_gateway_is_the_best_of_those_that_are_good_enough() -> None:
    known = [gateway("a", uptime=1.0, load=0.9), gateway("b", uptime=0.97), gateway("c", uptime=0.99)]
    chosen = best(known, CRITERIA, Preference.MOST_RELIABLE)
    assert chosen is not None and chosen.peer_id == b"c"
    assert best((), CRITERIA, Preference.MOST_RELIABLE) is None


@pytest.mark.parametrize(
    ("known", "wanted", "degraded"),
    [
        ([], "", False),
        ([gateway("a"), gateway("b", load=0.9)], "a", False),
        ([gateway("a", load=0.9), gateway("b", load=0.85)], "ba", True),
        ([gateway("a"), gateway("b", trusted=True)], "b", False),
        ([gateway("a"), gateway("b", trusted=True, load=0.9)], "b", True),
        ([gateway("a", trusted=True, load=0.9), gateway("b", trusted=True)], "b", False),
    ],
    ids=["nobody", "good enough", "the best there is", "trusted first", "trusted though busy", "of trusted the good"],
)
def test_who_is_selected(known: list[Candidate], wanted: str, degraded: bool) -> None:
    assert select(known, CRITERIA, Preference.MOST_RELIABLE) == Selection(
        tuple(next(each for each in known if each.peer_id == name.encode()) for name in wanted), degraded
    )


@pytest.mark.parametrize(
    ("preference", "known", "wanted"),
    [
        (Preference.LOWEST_LATENCY, [gateway("a", latency_ms=5), gateway("b", latency_ms=25)], "ab"),
        (Preference.LOWEST_LATENCY, [gateway("a", latency_ms=5), gateway("b", latency_ms=26)], "a"),
        (Preference.LOWEST_LATENCY, [gateway("a", latency_ms=100), gateway("b", latency_ms=200)], "ab"),
        (Preference.LOWEST_LATENCY, [gateway("a", latency_ms=100), gateway("b")], "a"),
        (Preference.LOWEST_LATENCY, [gateway("a"), gateway("b")], "ab"),
        (Preference.LOWEST_COST, [gateway("a", fee=1), gateway("b", fee=1), gateway("c", fee=2)], "ab"),
        (Preference.HIGHEST_BANDWIDTH, [gateway("a", capacity=100), gateway("b", capacity=50)], "ab"),
        (Preference.HIGHEST_BANDWIDTH, [gateway("a", capacity=100), gateway("b", capacity=49)], "a"),
        (Preference.MOST_RELIABLE, [gateway("a"), gateway("b", uptime=0.96)], "ab"),
        (Preference.MOST_RELIABLE, [gateway("a"), gateway("b", uptime=0.5)], "a"),
        (Preference.MOST_RELIABLE, [], ""),
    ],
)
def test_those_that_are_about_as_good_as_the_best_share_the_work(
    preference: Preference, known: list[Candidate], wanted: str
) -> None:
    assert names(alike(order(known, preference), preference)) == wanted
