"""Two meshes become one: the demonstration of gateways proves it, and ends without a trace."""

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lab_command import Command, are_gone

from bitrelay.lab.demo_show import Picture, RelayFigures
from bitrelay.lab.demo_view import in_words, summary
from bitrelay.lab.gateway_demo import GatewayDemoResult, hops, two_lines
from bitrelay.lab.gateway_plan import plan_gateways
from bitrelay.lab.ledger import Report

PLANS = plan_gateways(("relay1", "relay2"), ("relay3", "relay4"), 1)
REPORT = Report(200, 200, 0, 0, 0, True, 190.0, 250.0)
RELAYS = (RelayFigures("relay1", "running", 200, 0), RelayFigures("relay2", "running", 100))
GOOD = GatewayDemoResult(2, REPORT, 10.0, RELAYS, True, PLANS, (Path("/a"), Path("/b")), 80.04, 130.06)


def children(pid: int) -> list[int]:
    found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [below for each in found for below in children(each)]


def is_gateway(pid: int, name: str) -> bool:
    program, *arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return program == sys.executable and any(f"/{name}/" in argument for argument in arguments)


@pytest.mark.requirement("OPS-04", "GWY-02")
def test_frames_cross_from_mesh_to_mesh_once_and_nothing_is_left(command: Callable[..., Command]) -> None:
    demo = command("lab", "demo", "--meshes", "2", "--boards", "2", "--frames", "30", "--keep", "--json")
    result = json.loads(demo.read_until('"passed"').splitlines()[-1])
    pids = children(demo.process.pid)
    assert [sum(is_gateway(pid, name) for pid in pids) for name in ("west1", "east1")] == [1, 1]
    _, error = demo.end(signal.SIGINT)
    assert result["passed"], error
    assert (result["boards"], result["gateways"]) == (2, 2)
    assert (result["sent"], result["delivered"]) == (60, 60)
    assert (result["duplicates"], result["altered"], result["unexpected"], result["ttl_ok"]) == (0, 0, 0, True)
    assert [relay["name"] for relay in result["relays"]] == ["relay1", "relay2", "relay3", "relay4"]
    # Frames of one mesh are said in the other by the gateway's relay, and by nobody before it.
    assert [relay["forwarded"] for relay in result["relays"]][1:3] == [30, 30]
    assert 0 < result["added_latency_ms"]["p50"] <= result["added_latency_ms"]["p95"]
    assert demo.process.returncode == 130
    assert are_gone(pids)
    assert demo.left_behind() == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--meshes", "2", "--boards", "4"), "the gateway between two meshes lowers it, too"),
        (("--meshes", "2", "--boards", "1", "--gateways-per-mesh", "2"), "a relay of its own"),
        (("--engine", "mqtt"), "go with --meshes 2"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    command: Callable[..., Command], arguments: tuple[str, ...], why: str
) -> None:
    demo = command("lab", "demo", *arguments)
    _, error = demo.end()
    assert demo.process.returncode == 2
    assert why in " ".join(error.replace("│", " ").split())


def test_meshes_do_not_hear_each_other_and_each_has_a_phone() -> None:
    scenario = two_lines(2, 50, 20.0, 3)
    assert [(edge.a, edge.b) for edge in scenario.edges] == [
        ("alice", "relay1"),
        ("relay1", "relay2"),
        ("relay3", "relay4"),
        ("relay4", "bob"),
    ]
    assert [(flow.sender, flow.to, flow.count, flow.rate, flow.hops) for flow in scenario.traffic] == [
        ("alice", ("bob",), 50, 10.0, 3),
        ("bob", ("alice",), 50, 10.0, 3),
    ]


def test_ttl_is_known_where_there_is_one_way() -> None:
    assert [hops(boards, 1) for boards in (1, 2, 3)] == [1, 3, 5]
    assert hops(3, 2) is None


def test_json_adds_gateways_and_what_they_add() -> None:
    values = GOOD.as_json()
    assert values["gateways"] == 2
    assert values["added_latency_ms"] == {"p50": 80.0, "p95": 130.1}
    assert values["relays"] == [
        {"name": "relay1", "forwarded": 200, "dropped": 0},
        {"name": "relay2", "forwarded": 100, "dropped": None},
    ]
    assert json.loads(json.dumps(values)) == values


def test_summary_tells_what_gateways_added() -> None:
    told = summary(GOOD)
    assert "200 of 200 frames crossed from one mesh of 2 relays to the other, over 2 gateways, exactly once" in told
    assert "unaltered but for a TTL lowered by 3" in told
    assert "over the gateways: median 80 ms, 95 % below 130 ms" in told
    assert "relay2: 100 frames forwarded." in told
    assert "a lower TTL" in summary(replace(GOOD, gateways=PLANS * 2))


def test_picture_tells_how_far_the_gateways_are() -> None:
    picture = Picture(
        "starting", ("alice", "relay1", "relay2", "bob"), RELAYS, frozenset(), {}, {}, 10, 2.0,
        internet=("relay1", "relay2"), note="1 of 2 gateways linked",
    )  # fmt: skip
    assert in_words(picture) == "starting: 0 of 3 links up, 1 of 2 gateways linked (2 s)"
