"""The demonstration proves what it says, and ends without a trace however it is ended."""

import io
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lab_command import DEADLINE_S, Command, are_gone
from rich.console import Console

from bitrelay.lab.demo import MAX_BOARDS, DemoResult, chain, run_demo
from bitrelay.lab.demo_show import Picture, RelayFigures
from bitrelay.lab.demo_view import DemoView, draw, in_words, summary
from bitrelay.lab.lab import Lab
from bitrelay.lab.ledger import Report

REPORT = Report(200, 200, 0, 0, 0, True, 90.04, 150.06)
GOOD = DemoResult(3, REPORT, 4.0, (RelayFigures("relay1", "running", 200, 0),), True)
PICTURE = Picture(
    "sending",
    ("alice", "relay1", "bob"),
    (RelayFigures("relay1", "running", 12, 0),),
    frozenset((("alice", "relay1"),)),
    {"alice": 7, "bob": 6},
    {"alice": 5, "bob": 4},
    10,
    1.5,
)


async def test_frames_cross_and_the_result_says_how() -> None:
    pictures: list[Picture] = []
    result = await run_demo(1, 12, on_progress=pictures.append)
    assert result.passed
    assert (result.boards, result.report.sent, result.report.delivered) == (1, 24, 24)
    assert result.relays == (RelayFigures("relay1", "running", 24, 0),)
    phases = list(dict.fromkeys(picture.phase for picture in pictures))
    assert phases == ["flashing", "starting", "sending", "done"]
    assert len(pictures[-1].links) == 2
    assert pictures[-1].arrived == {"alice": 12, "bob": 12}


async def test_phones_of_a_kept_demo_come_to_know_each_other() -> None:
    async def look(result: DemoResult, lab: Lab) -> None:
        alice, bob = lab.phones["alice"], lab.phones["bob"]
        await alice.wait_peer(bob.identity.peer_id, DEADLINE_S, direct=False)
        await bob.wait_peer(alice.identity.peer_id, DEADLINE_S, direct=False)

    assert (await run_demo(1, 4, while_up=look)).passed


def test_json_has_the_names_scripts_rely_on() -> None:
    values = GOOD.as_json()
    assert (
        values | {"boards": 3, "sent": 200, "delivered": 200, "duplicates": 0, "altered": 0, "ttl_ok": True} == values
    )
    assert values["latency_ms"] == {"p50": 90.0, "p95": 150.1}
    assert json.loads(json.dumps(values)) == values


def test_line_lets_everybody_hear_only_the_next_and_sends_both_ways() -> None:
    scenario = chain(2, 50)
    assert [(edge.a, edge.b) for edge in scenario.edges] == [
        ("alice", "relay1"),
        ("relay1", "relay2"),
        ("relay2", "bob"),
    ]
    assert [(flow.sender, flow.to, flow.count, flow.hops) for flow in scenario.traffic] == [
        ("alice", ("bob",), 50, 2),
        ("bob", ("alice",), 50, 2),
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "200 of 200 frames crossed 3 relays exactly once"),
        ({"delivered": 198}, "FAILED: 2 of 200 frames did not arrive."),
        ({"duplicates": 3}, "3 arrived more than once"),
        ({"altered": 1, "ttl_ok": False}, "1 were altered, some had a wrong TTL"),
        ({"delivered": 0, "p50_ms": None, "p95_ms": None}, "200 of 200 frames did not arrive"),
    ],
)
def test_summary_names_what_went_wrong(change: dict[str, object], says: str) -> None:
    report = replace(REPORT, **change)  # type: ignore[arg-type]
    assert says in summary(replace(GOOD, report=report, passed=not change))


def test_summary_says_from_when_the_relays_counted() -> None:
    *_, since, relay = summary(GOOD).splitlines()
    assert since.startswith("Counted from the first frame on")
    assert relay == "relay1: 200 frames forwarded, 0 dropped."


def test_picture_shows_chain_and_counters() -> None:
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as capture:
        console.print(draw(PICTURE))
    drawn = capture.get()
    for text in ("alice━━━relay1", "12 fwd", "4 of 10 arrived, 3 underway", "sending · 1.5 s"):
        assert text in drawn
    assert in_words(PICTURE) == "sending: alice to bob 4 of 10, bob to alice 5 of 10 (2 s)"


def test_without_a_terminal_there_are_few_plain_lines() -> None:
    stream = io.StringIO()
    with DemoView(Console(file=stream)) as view:
        for tenth in range(60):
            view.show(replace(PICTURE, seconds=tenth / 10))
    assert stream.getvalue().count("\n") == 3
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("boards", ["0", str(MAX_BOARDS + 1)])
def test_more_relays_than_a_frame_can_cross_are_refused_with_the_reason(
    command: Callable[..., Command], boards: str
) -> None:
    demo = command("lab", "demo", "--boards", boards)
    _, error = demo.end()
    assert demo.process.returncode == 2
    assert "TTL" in error


def test_last_line_is_the_result_and_progress_goes_elsewhere(command: Callable[..., Command]) -> None:
    demo = command("lab", "demo", "--boards", "1", "--frames", "8", "--json")
    output, progress = demo.end()
    assert demo.process.returncode == 0, progress
    result = json.loads(output)
    assert (result["boards"], result["sent"], result["delivered"]) == (1, 16, 16)
    assert "sending" in progress
    assert demo.left_behind() == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_kept_demo_ends_without_a_trace(command: Callable[..., Command], how: signal.Signals) -> None:
    demo = command("lab", "demo", "--boards", "1", "--frames", "6", "--keep")
    shown = demo.read_until("Ctrl-C ends the lab")
    assert "rfc2217://127.0.0.1:" in shown
    assert "bitrelay info -p relay1" in shown
    pids = demo.boards()
    assert len(pids) == 1
    _, error = demo.end(how)
    assert demo.process.returncode == 130
    assert "Traceback" not in error
    assert are_gone(pids)
    assert demo.left_behind() == []


@pytest.mark.parametrize("moment", ["flashing: .*write", "starting"])
def test_ctrl_c_while_it_comes_up_leaves_no_trace(command: Callable[..., Command], moment: str) -> None:
    demo = command("lab", "demo", "--boards", "2")
    demo.read_until(moment)
    pids = demo.boards()
    _, error = demo.end(signal.SIGINT)
    assert demo.process.returncode == 130
    assert "Traceback" not in error
    assert are_gone(pids)
    assert demo.left_behind() == []


def test_boards_do_not_outlive_a_lab_that_is_killed(command: Callable[..., Command]) -> None:
    demo = command("lab", "demo", "--boards", "1", "--frames", "6", "--keep")
    demo.read_until("Ctrl-C ends the lab")
    pids = demo.boards()
    demo.end(signal.SIGKILL)
    assert are_gone(pids)


async def test_failing_to_draw_ends_the_demo() -> None:
    def show(picture: Picture) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await run_demo(1, 100_000, on_progress=show)


def test_reader_that_goes_ends_the_demo_quietly(command: Callable[..., Command]) -> None:
    demo = command("lab", "demo", "--boards", "1", "--frames", "20000")
    assert demo.process.stdout and demo.process.stderr
    demo.process.stdout.readline()
    demo.process.stdout.close()
    assert demo.process.stderr.read() == ""
    assert demo.process.wait(DEADLINE_S) == 141
    assert demo.left_behind() == []


def test_board_that_dies_is_told(command: Callable[..., Command]) -> None:
    demo = command("lab", "demo", "--boards", "1", "--frames", "6", "--keep", "--json")
    demo.read_until("rfc2217")
    (pid,) = demo.boards()
    os.kill(pid, signal.SIGKILL)
    told = json.loads(demo.read_until("restarted").splitlines()[-1])
    why = "restarted: its interpreter was killed by SIGKILL"
    assert told == {"event": "restarted", "node": "relay1", "what": why}
    _, error = demo.end(signal.SIGINT)
    assert f"relay1: {why}" in error


def test_scenario_with_a_mistake_ends_with_its_line_and_65(command: Callable[..., Command], tmp_path: Path) -> None:
    scenario = tmp_path / "wrong.toml"
    scenario.write_text('[[board]]\nname = "relay1"\npositon = [0, 0]\n')
    up = command("lab", "up", str(scenario))
    _, error = up.end()
    assert up.process.returncode == 65
    assert f"{scenario}:3: unknown key 'positon' in [[board]]. Did you mean 'position'?" in error
    assert up.left_behind() == []


def test_scenario_is_played_and_reported(command: Callable[..., Command], tmp_path: Path) -> None:
    scenario = tmp_path / "one.toml"
    scenario.write_text(
        '[[board]]\nname = "relay1"\n[[phone]]\nname = "a"\n[[phone]]\nname = "b"\n'
        '[[edge]]\nbetween = ["a", "relay1"]\n[[edge]]\nbetween = ["relay1", "b"]\n'
        '[[traffic]]\nfrom = "a"\nto = "all"\ncount = 5\n'
    )
    up = command("lab", "up", str(scenario), "--once", "--json")
    output, error = up.end()
    assert up.process.returncode == 0, error
    boards, report = (json.loads(line) for line in output.splitlines())
    assert boards[0]["name"] == "relay1"
    assert (report["sent"], report["delivered"]) == (5, 5)
    assert report["latency_ms"].keys() == {"p50", "p95"}
    assert up.left_behind() == []


def test_faults_are_told_as_they_happen(command: Callable[..., Command], tmp_path: Path) -> None:
    scenario = tmp_path / "one.toml"
    scenario.write_text(
        '[[board]]\nname = "relay1"\n[[fault]]\nat = 0.1\nkind = "kill"\nnode = "relay1"\n'
        '[[fault]]\nat = 1\nkind = "loss"\nloss = 0.5\n'
    )
    up = command("lab", "up", str(scenario), "--once")
    output, error = up.end()
    assert up.process.returncode == 0, error
    assert "Playing, for about 1 s." in output
    assert "Ctrl-C" not in output
    assert error.splitlines() == ["bitrelay: relay1: switched off", "bitrelay: 50% of advertisements are lost"]
