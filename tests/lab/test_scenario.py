"""Scenario files say what a lab is, and what is wrong in them is told with its line."""

from pathlib import Path

import pytest

from bitrelay.errors import ExitCode
from bitrelay.lab.frame_maker import Kind
from bitrelay.lab.reach import hops, neighbors
from bitrelay.lab.scenario import Edge, Fault, FaultKind, Scenario
from bitrelay.lab.scenario_file import find_scenario, load_scenario
from bitrelay.lab.traffic import Flow
from bitrelay.toml_source import TomlError

GOOD = """\
title = "all there is"
seed = 7
loss = 0.1

[[board]]
name = "relay1"
position = [1, 2.5]
board = "esp32_generic_c3"
heap = "160k"
settings = { dial_max = 1, log_level = 4 }

[[phone]]
name = "alice"
platform = "android"
announce = false
pace = 0.1

[[phone]]
name = "bob"

[[edge]]
between = ["alice", "relay1"]
rssi = -72

[[traffic]]
from = "alice"
to = "all"
kinds = ["public", "file"]
count = 5
rate = 2.5
ttl = 3

[[fault]]
at = 1.5
kind = "move"
node = "bob"
position = [3, 4]
over = 2

[[fault]]
at = 2
kind = "jam"
between = ["alice", "relay1"]

[[phone]]
name = "carol"
announce_pace = 0.5
clock_offset_s = -90.5
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "s.toml"
    path.write_text(text)
    return path


def test_everything_is_read(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, GOOD))
    (board,) = scenario.boards
    assert (board.name, board.position, board.max_links, board.heap) == ("relay1", (1.0, 2.5), 4, "160k")
    assert (board.board, board.chip) == ("esp32_generic_c3", "esp32c3")
    assert dict(board.settings) == {"dial_max": 1, "log_level": 4}
    alice, bob, carol = scenario.phones
    assert (alice.platform, alice.announce, alice.pace) == ("android", False, 0.1)
    assert (bob.platform, bob.announce, bob.announce_pace, bob.clock_offset_s) == ("ios", True, 1.0, 0.0)
    assert (carol.announce_pace, carol.clock_offset_s) == (0.5, -90.5)
    assert scenario.edges == (Edge("alice", "relay1", -72.0),)
    (flow,) = scenario.traffic
    assert (flow.sender, flow.to, flow.kinds) == ("alice", ("bob", "carol"), (Kind.PUBLIC, Kind.FILE))
    assert (flow.count, flow.rate, flow.ttl, flow.hops) == (5, 2.5, 3, None)
    assert scenario.faults == (
        Fault(1.5, FaultKind.MOVE, "bob", position=(3.0, 4.0), over=2.0),
        Fault(2.0, FaultKind.JAM, between=("alice", "relay1")),
    )


@pytest.mark.parametrize(
    ("before", "after", "line", "says"),
    [
        ("seed = 7", "sead = 7", 2, "unknown key 'sead'. Did you mean 'seed'?"),
        ("seed = 7", "seed = 'x'", 2, "seed must be a whole number"),
        ("seed = 7", "seed = true", 2, "seed must be a whole number"),
        ("seed = 7", "seed = ", 2, "Invalid value"),
        ("loss = 0.1", "loss = 1", 3, "loss must be a number from 0 to 0.99"),
        ("[[board]]", "[board]", 5, r"board must be written as \[\[board\]\]"),
        ('name = "relay1"', 'name = "../x"', 6, "name must be a name"),
        ('name = "relay1"', "", 5, "'name' is missing"),
        ("position = [1, 2.5]", "position = [1]", 7, "position must be two numbers"),
        ("position = [1, 2.5]", "position = [1, nan]", 7, "position must be two numbers"),
        ("esp32_generic_c3", "esp8266", 8, "no board 'esp8266' in .*esp32_generic, "),
        ("esp32_generic_c3", "esp32_generic_c6", 8, "no virtual board has an ESP32-C6"),
        ('heap = "160k"', "heap = 160", 9, "heap must be a size"),
        ("settings = { dial_max = 1", "settings = { dial_max = [1]", 10, "settings must be a table"),
        ("dial_max = 1", "dial_mox = 1", 10, "no setting 'dial_mox' in .*Did you mean 'dial_max'?"),
        ("dial_max = 1", "dial_max = 9", 10, "setting dial_max must be a whole number from 0 to 8 .links., not 9"),
        ("dial_max = 1", "dial_max = true", 10, "setting dial_max must be a whole number"),
        ("dial_max = 1", 'dial_max = "1"', 10, "setting dial_max must be a whole number"),
        ("dial_max = 1", 'name = ""', 10, "setting name must be text of 1 to 29 bytes"),
        ('"android"', '"nokia"', 14, "platform must be one of ios, android"),
        ("announce = false", "announce = 0", 15, "announce must be true or false"),
        ('name = "bob"', 'name = "alice"', 19, "a second node named 'alice'"),
        (
            '"alice", "relay1"]\nrssi',
            '"alice", "relay9"]\nrssi',
            22,
            "no node named 'relay9' in .*There are: relay1, alice",
        ),
        ('"alice", "relay1"]\nrssi', '"alice"]\nrssi', 22, "between must be the names of two nodes"),
        ('from = "alice"', 'from = "relay1"', 26, "no phone named 'relay1'"),
        ('to = "all"', 'to = "alice"', 27, "another phone than its sender"),
        ('"public", "file"', '"postcard"', 28, "kinds must be a list of public, directed"),
        ("ttl = 3", "ttl = 8", 31, "ttl must be a whole number from 1 to 7"),
        ("at = 1.5", "", 33, "'at' is missing"),
        ('kind = "move"', 'kind = "teleport"', 35, "kind must be one of kill, start"),
        ('kind = "move"', 'kind = "kill"', 37, "kill takes no 'position'"),
        ('kind = "jam"\nbetween = ["alice", "relay1"]', 'kind = "jam"', 42, "jam needs 'between'"),
        ('node = "bob"\nposition = [3, 4]\nover = 2', 'node = "bob"', 35, "move needs 'position'"),
        (
            'kind = "move"\nnode = "bob"\nposition = [3, 4]\nover = 2',
            'kind = "freeze"\nnode = "bob"',
            36,
            "no board named",
        ),
        ("[[fault]]\nat = 2", "[[fauld]]\nat = 2", 40, r"unknown table \[\[fauld\]\]"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, before: str, after: str, line: int, says: str) -> None:
    assert GOOD.count(before) >= 1
    path = write(tmp_path, GOOD.replace(before, after, 1))
    with pytest.raises(TomlError, match=says) as error:
        load_scenario(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert error.value.exit_code is ExitCode.BAD_DATA


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no .*board"),
        ("title = 'x'\nboard = 3\n", "board must be written"),
        ("\xff", "."),
        ("".join(f'[[phone]]\nname = "p{n}"\n' for n in range(65)), "more than 64"),
    ],
)
def test_files_that_are_no_scenario(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(TomlError, match=says):
        load_scenario(write(tmp_path, text))


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "binary.toml", tmp_path / "missing.toml", tmp_path):
        with pytest.raises(TomlError):
            load_scenario(path)


@pytest.mark.parametrize("name", ["line3", "star", "walk"])
def test_scenarios_that_come_along_can_be_read(name: str) -> None:
    assert isinstance(load_scenario(find_scenario(name)), Scenario)


@pytest.mark.parametrize(
    ("traffic", "faults", "seconds"),
    [
        ((), (), 0.0),
        ((Flow("a", ("b",), count=10, rate=2.0),), (), 5.0),
        ((Flow("a", ("b",), count=10, rate=2.0),), (Fault(4.0, FaultKind.MOVE, "b", over=3.0),), 7.0),
        ((Flow("a", ("b",), count=10),), (Fault(4.0, FaultKind.KILL, "b"),), None),
    ],
)
def test_how_long_it_lasts_is_known_unless_frames_decide(
    traffic: tuple[Flow, ...], faults: tuple[Fault, ...], seconds: float | None
) -> None:
    assert Scenario(traffic=traffic, faults=faults).seconds() == seconds


def test_unknown_scenario_names_the_known_ones() -> None:
    with pytest.raises(TomlError, match="line3, star, walk"):
        find_scenario("circle")


def test_hops_count_the_relays_between() -> None:
    near = neighbors([("a", "r1"), ("r1", "r2"), ("r2", "b"), ("r1", "c"), ("c", "d")])
    assert hops("a", near, ["r1", "r2"]) == {"a": 0, "r1": 0, "r2": 1, "c": 1, "b": 2}
    assert hops("x", near, ["r1"]) == {"x": 0}
