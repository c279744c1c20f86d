"""`bitrelay gateway`, as scripts and systemd use it: one gateway whose relays are not there, and one between two."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from bitrelay.dht.control import request
from bitrelay.errors import ExitCode
from shared_protocol import frame
from tests.gateway.relays import HearingRelay
from tests.host.command import DEADLINE_S, ask, finish, run, start
from tests.host.fake_relay import PtyRelay

CONFIG = """
name = "{name}"
state = "state"
difficulty = 8

[[mesh]]
name = "west"
relays = ["{west}"]
downlink = true

[[mesh]]
name = "east"
relays = ["{east}"]
downlink = true
frames_per_minute = 60

[federation]
open = {open}
trust = [{trust}]
peers = ["tcp://127.0.0.1:1"]

[metrics]
listen = "127.0.0.1:0"
"""


class Gateway:
    """A gateway that runs until it is told to end. up: its first line."""

    def __init__(self, folder: Path, **values: str) -> None:
        self.file = folder / "gateway.toml"
        self.values = {
            "name": "tower",
            "open": "false",
            "trust": "",
            "west": str(folder / "no-west"),
            "east": str(folder / "no-east"),
        } | values
        self.state = str(folder / "state")
        self.write()
        self.process = start("gateway", "run", "--config", str(self.file), "--json")
        self.up = self.line()

    def write(self, **values: str) -> None:
        self.file.write_text(CONFIG.format(**self.values | values))

    def line(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return json.loads(line)

    def until(self, event: str) -> Any:
        """The next line with this event; a gateway that tells nothing more is ended by the test's own timeout."""
        while (line := self.line()).get("event") != event:
            pass
        return line

    def ask(self, command: str) -> Any:
        return ask("gateway", command, "--state", self.state)

    def watch(self, command: str) -> Any:
        """The same without a process of its own, for who asks again and again."""

        async def told() -> Any:
            socket = Path(self.state) / "control.sock"
            return [answer async for answer in request(socket, {"do": command}, server="gateway")][-1]

        return asyncio.run(told())

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = finish(self.process)
        return self.process.returncode, err


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One whose relays are not plugged in."""
    started = Gateway(tmp_path_factory.mktemp("gateway"))
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.end(signal.SIGKILL)


def test_it_runs_without_its_relays_and_tells_that_they_are_missing(gateway: Gateway) -> None:
    assert gateway.up["name"] == "tower"
    assert gateway.up["meshes"] == ["west", "east"]
    assert gateway.up["listen"] == []
    lost = [gateway.until("relay_lost") for _ in range(2)]
    assert {each["mesh"]: each["relay"] for each in lost} == {
        "west": gateway.values["west"],
        "east": gateway.values["east"],
    }
    assert all("no such port" in each["why"] for each in lost)


@pytest.mark.requirement("GWY-01")
def test_it_says_who_it_is_and_how_it_goes(gateway: Gateway) -> None:
    status = gateway.ask("status")
    assert (status["id"], status["name"], status["engine"]) == (gateway.up["id"], "tower", "links")
    assert [(mesh["name"], mesh["downlink"], mesh["relays"][0]["up"]) for mesh in status["meshes"]] == [
        ("west", True, False),
        ("east", True, False),
    ]
    assert status["gateways"] == 0
    assert status["relayed"] == {"up": 0, "down": 0, "dropped": 0, "recorded": 0}
    assert status["bandwidth"] == {
        "local_mbps": 0.0,
        "internet_mbps": 0.0,
        "local_limit_mbps": 10.0,
        "internet_limit_mbps": 100.0,
    }
    assert list(status["not_linked"]) == ["tcp://127.0.0.1:1"]
    assert run("gateway", "peers", "--state", gateway.state, "--json").stdout == ""
    assert gateway.ask("traffic")["delay_ms"]["count"] == 0


@pytest.mark.parametrize("command", ["status", "peers", "traffic"])
def test_for_people_there_are_tables(gateway: Gateway, command: str) -> None:
    done = run("gateway", command, "--state", gateway.state)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"status": gateway.up["id"], "peers": "latency", "traffic": "interactive"}[command] in done.stdout


def test_prometheus_scrapes_it(gateway: Gateway) -> None:
    with urlopen(gateway.up["metrics"], timeout=DEADLINE_S) as answer:
        text = answer.read().decode()
    assert "bitrelay_gateway_up 1.0" in text
    assert f'bitrelay_gateway_relay_up{{mesh="west",relay="{gateway.values["west"]}"}} 0.0' in text


def test_sighup_has_it_read_its_file_again(gateway: Gateway) -> None:
    gateway.write(name="lighthouse", open="true", trust=f'"{bytes(32).hex()}"', west=str(gateway.file.parent / "other"))
    gateway.process.send_signal(signal.SIGHUP)
    told = gateway.until("reloaded")
    assert told["changed"] == ["name", "federation.trust"]
    assert told["restart"] == ["federation.open", "mesh west: relays"]
    assert gateway.ask("status")["name"] == "lighthouse"
    gateway.file.write_text(gateway.file.read_text().replace("frames_per_minute = 60", "frames_per_minute = 0"))
    gateway.process.send_signal(signal.SIGHUP)
    refused = gateway.until("reload_refused")
    line = gateway.file.read_text().splitlines().index("frames_per_minute = 0") + 1
    assert f"{gateway.file}:{line}: frames_per_minute" in refused["error"]
    assert gateway.ask("status")["name"] == "lighthouse"


def test_two_cannot_have_one_folder(gateway: Gateway) -> None:
    gateway.write()
    done = run("gateway", "run", "--config", str(gateway.file))
    assert done.returncode == ExitCode.PORT_BUSY
    assert "a gateway runs in" in done.stderr


def test_mistakes_are_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('name = "a"\n[[mesh]]\nname = "west"\nrelays = ["x"]\ndownlnk = true\n')
    done = run("gateway", "run", "-c", str(tmp_path / "bad.toml"), "--json")
    assert done.returncode == ExitCode.BAD_DATA
    assert json.loads(done.stdout)["device"] == f"{tmp_path / 'bad.toml'}:5"
    assert "downlink" in json.loads(done.stdout)["hint"]
    done = run("gateway", "run", "-c", str(tmp_path / "none.toml"))
    assert (done.returncode, done.stdout) == (ExitCode.BAD_DATA, "")


def test_where_no_gateway_runs_it_says_so(tmp_path: Path) -> None:
    done = run("gateway", "status", "--state", str(tmp_path), "--json")
    assert done.returncode == ExitCode.NO_DEVICE
    told = json.loads(done.stdout)
    assert ("no gateway runs" in told["error"], "`bitrelay gateway run`" in told["hint"]) == (True, True)


@pytest.mark.requirement("GWY-02", "GWY-12")
def test_what_one_relay_hears_the_other_says_and_sigterm_ends_it_well(tmp_path: Path) -> None:
    heard = frame.encode(frame.TYPE_MESSAGE, 7, time.time_ns() // 1_000_000, b"somebody", b"hello" * 20)
    west, east = HearingRelay(heard), HearingRelay()
    served = [PtyRelay(west), PtyRelay(east)]
    try:
        gateway = Gateway(tmp_path, west=served[0].port, east=served[1].port)
        try:
            said = east.said.get(timeout=DEADLINE_S)
            assert said == heard[: frame.TTL] + bytes((6,)) + heard[frame.TTL + 1 :]
            # Its bandwidth is measured once a second.
            while not (traffic := gateway.watch("traffic"))["bandwidth"]["local_mbps"]:
                pass
            assert traffic["bandwidth"]["internet_mbps"] == 0
            assert [sum(traffic["frames"][way].values()) for way in ("up", "down")] == [1, 1]
            assert traffic["bytes"]["down"]["interactive"] == len(heard)
            assert traffic["delay_ms"]["count"] == 1
            assert [mesh["relays"][0]["up"] for mesh in gateway.watch("status")["meshes"]] == [True, True]
            first, recorded = gateway.up["id"], gateway.watch("status")["relayed"]["recorded"]
            assert recorded == 1
        finally:
            gateway.end(signal.SIGKILL)
        # It comes back as itself, and remembers what it has said.
        gateway = Gateway(tmp_path, west=served[0].port, east=served[1].port)
        try:
            assert gateway.up["id"] == first
            while not gateway.watch("traffic")["drops"]["down"]:
                pass
            assert west.said.empty() and east.said.empty()
            assert gateway.end(signal.SIGTERM) == (ExitCode.OK, "")
        finally:
            gateway.end(signal.SIGKILL)
    finally:
        for each in served:
            each.close()
    assert not (tmp_path / "state" / "control.sock").exists()


def test_ctrl_c_interrupts_it(gateway: Gateway) -> None:
    assert gateway.end(signal.SIGINT)[0] == ExitCode.INTERRUPTED
