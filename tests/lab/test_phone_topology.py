"""A phone takes a relay for a hop only by the rules of its app."""

import pytest

from bitrelay.lab.phone_profile import ANDROID_RULES, IOS_RULES
from bitrelay.lab.phone_topology import Topology

ME, TARGET = b"me......", b"target.."
RELAY = b"relay..."
NOW = 500.0


def line(hops: int) -> list[bytes]:
    return [ME, *(b"relay%03d" % number for number in range(hops)), TARGET]


def topology_of(nodes: list[bytes], at: float = NOW, v2: bool = True, rules: object = IOS_RULES) -> Topology:
    topology = Topology(rules)  # type: ignore[arg-type]
    for number, node in enumerate(nodes[1:], 1):
        topology.claim(node, (nodes[number - 1], *nodes[number + 1 : number + 2]), at)
        if v2:
            topology.sent_v2(node, at)
    return topology


@pytest.mark.parametrize("hops", [0, 1, 2, 3, 4])
def test_the_hops_of_a_line(hops: int) -> None:
    nodes = line(hops)
    assert topology_of(nodes).route(ME, nodes[1:2], TARGET, NOW) == tuple(nodes[1:-1])


def test_more_than_four_hops_are_no_way() -> None:
    nodes = line(5)
    assert topology_of(nodes).route(ME, nodes[1:2], TARGET, NOW) is None


def test_both_ends_of_an_edge_have_to_say_so() -> None:
    topology = Topology(ANDROID_RULES)
    topology.claim(RELAY, (ME,), NOW)
    topology.claim(TARGET, (RELAY,), NOW)
    assert topology.route(ME, (RELAY,), TARGET, NOW) is None
    topology.claim(RELAY, (ME, TARGET), NOW)
    assert topology.route(ME, (RELAY,), TARGET, NOW) == (RELAY,)
    assert topology.route(ME, (), TARGET, NOW) is None
    topology.claim(TARGET, (), NOW)
    assert topology.route(ME, (RELAY,), TARGET, NOW) is None


@pytest.mark.parametrize(("age", "found"), [(59.0, True), (60.0, False)])
def test_what_was_said_a_minute_ago_no_longer_counts(age: float, found: bool) -> None:
    topology = topology_of([ME, RELAY, TARGET], NOW - age)
    assert (topology.route(ME, (RELAY,), TARGET, NOW) is not None) == found


def test_ios_wants_a_hop_that_sends_version_2() -> None:
    nodes = [ME, RELAY, TARGET]
    topology = topology_of(nodes, v2=False)
    assert topology.route(ME, (RELAY,), TARGET, NOW) is None
    topology.sent_v2(RELAY, NOW - 60)
    assert topology.route(ME, (RELAY,), TARGET, NOW) is None
    topology.sent_v2(RELAY, NOW - 59)
    assert topology.route(ME, (RELAY,), TARGET, NOW) == (RELAY,)
    assert topology_of(nodes, v2=False, rules=ANDROID_RULES).route(ME, (RELAY,), TARGET, NOW) == (RELAY,)


def test_the_shorter_of_two_ways() -> None:
    topology = Topology(ANDROID_RULES)
    a, b, c = b"a.......", b"b.......", b"c......."
    topology.claim(a, (ME, b), NOW)
    topology.claim(b, (a, TARGET), NOW)
    topology.claim(c, (ME, TARGET), NOW)
    topology.claim(TARGET, (b, c), NOW)
    assert topology.route(ME, (a, c), TARGET, NOW) == (c,)
