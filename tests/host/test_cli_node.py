"""`bitrelay node`, as scripts use it: three nodes on loopback, and commands to them."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bitrelay.errors import ExitCode
from tests.host.command import ask, finish, run, start


class Node:
    """A node that runs until it is told to end. up: its first line."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.folder = str(folder)
        options = ("--listen", "udp://127.0.0.1:0", "--state", self.folder, "--difficulty", "8", "--json", *args)
        self.process = start("node", "run", *options)
        self.up = self.line()

    def line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def until(self, event: str) -> Any:
        """The next line with this event; a node that tells nothing more is ended by the test's own timeout."""
        while (line := self.line()).get("event") != event:
            pass
        return line

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = finish(self.process)
        return self.process.returncode, err


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Three that have joined; the first is the others' first node."""
    folder = tmp_path_factory.mktemp("nodes")
    started: list[Node] = []
    try:
        started.append(Node(folder / "a"))
        peers = folder / "peers"
        peers.write_text(f"{started[0].up['udp']}  # the first\n")
        started.append(Node(folder / "b", "--bootstrap", started[0].up["udp"]))
        started.append(Node(folder / "c", "--peers", str(peers)))
        for node in started:
            node.until("joined")
        yield started
    finally:
        for node in started:
            if node.process.poll() is None:
                node.end(signal.SIGKILL)


def test_the_first_line_says_who_and_where(nodes: list[Node]) -> None:
    for node in nodes:
        assert {"id", "listen", "udp"} <= node.up.keys()
        assert re.fullmatch(r"[0-9a-f]{64}", node.up["id"])
        assert re.fullmatch(r"udp://127\.0\.0\.1:[1-9]\d*", node.up["udp"])
        assert node.up["listen"] == node.up["udp"]


@pytest.mark.requirement("DHT-17", "DHT-18")
def test_what_one_puts_another_gets(nodes: list[Node]) -> None:
    ada, bob, eve = nodes
    done = ask("node", "put", "greeting", "hello, wörld", "--state", bob.folder)
    assert done["stored"] == 3
    done = ask("node", "get", "greeting", "--state", eve.folder)
    assert [bytes.fromhex(value["data"]).decode() for value in done["values"]] == ["hello, wörld"]
    assert run("node", "put", "bytes", "00ff", "--hex", "--state", ada.folder).stdout.startswith("3 nodes keep it")
    assert run("node", "get", "bytes", "--state", eve.folder).stdout.split()[-1] == "00ff"


def test_bytes_that_are_no_text_are_put_as_they_were_typed(nodes: list[Node]) -> None:
    folder = nodes[0].folder
    assert ask("node", "put", "typed", os.fsdecode(b"\xff"), "--state", folder)["stored"] == 3
    assert run("node", "get", "typed", "--state", folder).stdout.split()[-1] == "ff"
    assert run("node", "put", os.fsdecode(b"\xff"), "x", "--state", folder).returncode == ExitCode.BAD_DATA


def test_what_is_too_long_is_told(nodes: list[Node]) -> None:
    for name, value, why in (("x", "v" * 5000, "5000 bytes"), ("x" * 65, "v", "name"), ("x" * 9000, "v", "long")):
        done = run("node", "put", name, value, "--state", nodes[0].folder, "--json")
        assert (done.returncode, why in json.loads(done.stdout)["error"]) == (ExitCode.BAD_DATA, True), done.stdout


def test_a_value_that_is_not_there_is_exit_code_1(nodes: list[Node]) -> None:
    done = run("node", "get", "nothing", "--state", nodes[0].folder, "--json")
    assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (ExitCode.CHECK_FAILED, ExitCode.CHECK_FAILED)


def test_the_others_are_seen_and_looked_up(nodes: list[Node]) -> None:
    ada, others = nodes[0], {node.up["id"] for node in nodes[1:]}
    lines = run("node", "peers", "--state", ada.folder, "--json").stdout.splitlines()
    assert {json.loads(line)["id"] for line in lines} == others
    *steps, done = map(
        json.loads, run("node", "lookup", "ab" * 32, "--trace", "--state", ada.folder, "--json").stdout.splitlines()
    )
    assert {found["id"] for found in done["closest"]} == others
    assert len(steps) == done["messages"]
    *found, done = map(
        json.loads,
        run("node", "crawl", "--interval", "0.05", "--state", ada.folder, "--json").stdout.splitlines(),
    )
    assert ({peer["id"] for peer in found}, done["left"]) == (others, 0)
    assert ask("node", "status", "--state", ada.folder)["id"] == ada.up["id"]


@pytest.mark.parametrize("command", ["peers", "status", "crawl", "lookup"])
def test_for_people_there_are_tables(nodes: list[Node], command: str) -> None:
    more = ("ab" * 32, "--trace") if command == "lookup" else ("--interval", "0.05") if command == "crawl" else ()
    done = run("node", command, *more, "--state", nodes[0].folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert nodes[1].up["id"][:16] in done.stdout or nodes[0].up["id"] in done.stdout


def test_where_no_node_runs_it_says_so(tmp_path: Path) -> None:
    for command in (("put", "a", "b"), ("peers",)):
        done = run("node", *command, "--state", str(tmp_path / "none"), "--json")
        assert done.returncode == ExitCode.NO_DEVICE
        assert "no node runs" in json.loads(done.stdout)["error"]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("run", "--listen", "tcp://127.0.0.1:0"), ExitCode.BAD_DATA),
        (("run", "--bootstrap", "udp://:"), ExitCode.BAD_DATA),
        (("run", "--peers", "/nowhere"), ExitCode.BAD_DATA),
        (("run", "--difficulty", "7"), ExitCode.USAGE),
        (("put", "a", "x", "--hex"), ExitCode.BAD_DATA),
        (("crawl", "--interval", "0"), ExitCode.USAGE),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, args: tuple[str, ...], code: ExitCode) -> None:
    assert run("node", *args, "--state", str(tmp_path / "none")).returncode == code


@pytest.mark.requirement("DHT-23")
def test_it_ends_cleanly_and_comes_back_as_itself(tmp_path: Path) -> None:
    first = Node(tmp_path / "a")
    assert run("node", "run", "--state", first.folder, "--listen", "127.0.0.1:0").returncode == ExitCode.PORT_BUSY
    assert first.end(signal.SIGINT) == (ExitCode.INTERRUPTED, "")
    assert not (tmp_path / "a" / "control.sock").exists()
    again = Node(tmp_path / "a")
    assert again.up["id"] == first.up["id"]
    again.end(signal.SIGKILL)
    third = Node(tmp_path / "a")
    assert third.end(signal.SIGTERM) == (ExitCode.INTERRUPTED, "")


def test_a_reader_that_does_not_read_holds_up_nothing(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    try:
        while True:
            os.write(writes, b"\n" * 1024)
    except BlockingIOError:
        os.set_blocking(writes, True)
    folder = str(tmp_path / "a")
    options = ("--listen", "127.0.0.1:0", "--state", folder, "--difficulty", "8", "--json")
    process = start("node", "run", *options, stdout=writes)
    os.close(writes)
    try:
        # It is up when it takes commands; nobody has read its first line.
        while run("node", "status", "--state", folder).returncode == ExitCode.NO_DEVICE:
            pass
        with open(reads, encoding="utf-8") as lines:
            assert "id" in json.loads(next(line for line in lines if line.strip()))
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == ExitCode.INTERRUPTED
    finally:
        process.kill()
        finish(process)


def test_the_reader_of_its_lines_may_go(tmp_path: Path) -> None:
    node = Node(tmp_path / "a")
    assert node.process.stdout is not None
    node.until("joined")
    node.process.stdout.close()
    # It has to tell of the other one, who may find it gone before it could join.
    other = Node(tmp_path / "b", "--bootstrap", node.up["udp"])
    try:
        assert node.process.wait(timeout=30) == ExitCode.OUTPUT_CLOSED
    finally:
        node.process.kill()
        assert other.end(signal.SIGINT)[0] == ExitCode.INTERRUPTED
    assert node.process.stderr is not None
    node.process.stderr.close()


@pytest.mark.requirement("DSC-33")
def test_what_is_between_here_and_the_internet_is_told_by_the_nodes_that_a_node_knows(nodes: list[Node]) -> None:
    found = ask("node", "nat", "--state", nodes[0].folder)
    assert (found["kind"], found["seen"]) == ("none", [found["local"]])
    assert set(found["asked"]) <= {node.up["udp"] for node in nodes}
    assert "none: this host is reached" in run("node", "nat", "--stun", nodes[1].up["udp"]).stdout


def test_without_anybody_to_ask_it_is_said_what_to_do_and_nobody_has_seen_it(tmp_path: Path) -> None:
    alone = Node(tmp_path)
    try:
        done = run("node", "nat", "--state", alone.folder, "--json")
        assert done.returncode == ExitCode.NO_DEVICE
        assert "--stun" in json.loads(done.stdout)["hint"]
        assert re.search(r"others see it at +not known yet", run("node", "status", "--state", alone.folder).stdout)
        assert ask("node", "status", "--state", alone.folder)["udp"] == [alone.up["udp"]]
    finally:
        alone.end(signal.SIGKILL)
