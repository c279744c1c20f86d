"""`bitrelay gateway init`, `check` and `fleet-key`: what they write is in order, and what is there stays."""

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from bitrelay.cli import gateway_config
from bitrelay.gateway.config import (
    DhtConfig,
    DownlinkConfig,
    FederationConfig,
    GatewayConfig,
    LedgerConfig,
    MeshConfig,
    MqttConfig,
    PeerConfig,
    StoreConfig,
)
from bitrelay.gateway.config_file import load_config
from bitrelay.gateway.config_init import Answers, Where, render
from bitrelay.ports import Device
from bitrelay.transports.address import Serial, Tcp, Udp

app = typer.Typer()
app.command("check")(gateway_config.check)
app.command("init")(gateway_config.init)
app.command("fleet-key")(gateway_config.fleet_key)

USB = Device("/dev/ttyUSB0", "usb", "ttyUSB0", "CP210x")
LISTEN, DHT = Tcp("0.0.0.0", 8765), Udp("0.0.0.0", 8766)
VIRTUAL = Device("/dev/pts/7", "virtual", "relay1", "ESP32 of a running lab")

# Keys that are called otherwise, or are tables of their own.
RENAMED = {"is_open": "open", "enabled": "downlink", "password": "password_file"}
TABLES = {"meshes", "federation", "mqtt", "dht", "store", "ledger", "metrics", "downlink"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITRELAY_HOME", str(tmp_path / "home"))
    # No lab that runs beside the tests has a relay1 for them.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))


def devices(monkeypatch: pytest.MonkeyPatch, *found: Device) -> None:
    monkeypatch.setattr(gateway_config, "list_devices", lambda: list(found))


def run(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=typed)


@pytest.mark.parametrize(
    ("where", "listen", "peers", "dht"),
    [
        (Where(), (LISTEN,), (), None),
        (Where(mesh="east"), (LISTEN,), (), DhtConfig((DHT,), lan=True, find=("east",))),
        (Where(None, "east", "udp://h:1"), (LISTEN,), (), DhtConfig((DHT,), (Udp("h", 1),), True, ("east",))),
        (Where("tcp://192.0.2.9:1"), (), (PeerConfig(Tcp("192.0.2.9", 1)),), None),
    ],
)
def test_what_is_written_says_what_was_answered_and_else_the_defaults(
    tmp_path: Path, where: Where, listen: Any, peers: Any, dht: Any
) -> None:
    path = tmp_path / "g.toml"
    path.write_text(render(Answers('a "quoted" name', "west\\east", "relay1", where)))
    mesh = MeshConfig("west\\east", (Serial("relay1"),))
    federation = FederationConfig(listen=listen, peers=peers)
    assert load_config(path) == GatewayConfig('a "quoted" name', (mesh,), federation=federation, dht=dht)


def test_every_key_is_in_it_and_defaults_are_what_they_are_said_to_be(tmp_path: Path) -> None:
    text = re.sub(r"^# (?=\[|[a-z_]+ = )", "", render(Answers("n", "m", "r", Where("tcp://h:1"))), flags=re.M)
    values = tomllib.loads(text)
    mesh = values["mesh"][0]
    for kind, given in (
        (GatewayConfig, values),
        (MeshConfig, mesh),
        (DownlinkConfig, mesh),
        (FederationConfig, values["federation"]),
        (MqttConfig, values["mqtt"]),
        (DhtConfig, values["dht"]),
        (StoreConfig, values["store"]),
    ):
        keys = {RENAMED.get(field.name, field.name) for field in dataclasses.fields(kind)} - TABLES | (
            {"downlink"} if kind is DownlinkConfig else set()
        )
        assert keys <= given.keys(), kind
    assert values["ledger"].keys() == {field.name for field in dataclasses.fields(LedgerConfig)}

    for name, mode in (("ca.pem", 0o644), ("broker.password", 0o600), ("fleet.key", 0o600)):
        (tmp_path / name).write_text("0f" * 32)
        (tmp_path / name).chmod(mode)
    path = tmp_path / "g.toml"
    path.write_text(text.replace("tls = false", "tls = true"))
    config = load_config(path)
    fresh = GatewayConfig("n", (MeshConfig("m", (Serial("r"),)),))
    examples = {"state", "meshes", "federation", "mqtt", "dht"}
    for field in dataclasses.fields(GatewayConfig):
        assert field.name in examples or getattr(config, field.name) == getattr(fresh, field.name), field.name
    down = DownlinkConfig(author_per_minute=15, gateway_per_minute=30)
    assert config.meshes == (dataclasses.replace(fresh.meshes[0], geohash="u33d", downlink=down),)
    shown = {"listen": config.federation.listen, "peers": config.federation.peers}
    assert config.federation == FederationConfig(**shown, announce=(Tcp("192.0.2.1", 8765),))


def test_three_questions_are_asked_and_wrong_answers_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices(monkeypatch, USB, VIRTUAL)
    monkeypatch.setattr(gateway_config, "_somebody_is_there", lambda: True)
    result = run("init", typed="a/b\nwest\ntcp://x:1\n3\n2\nh:8765\nnone\n")
    assert result.exit_code == 0, result.output
    assert "'a/b' is no name of a mesh" in result.output and "leads to no relay" in result.output
    assert "there is no number 3 in the list" in result.output
    assert "2  relay1  ESP32 of a running lab" in result.output and "'h:8765' could be an address" in result.output
    config = load_config(tmp_path / "gateway.toml")
    assert config.meshes == (MeshConfig("west", (Serial("relay1"),)),)
    assert config.federation.listen == (LISTEN,) and config.dht is None


def test_a_gateway_that_is_to_be_found_by_name_needs_a_first_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_config, "_somebody_is_there", lambda: True)
    result = run("init", "--mesh", "west", "--relay", "r", typed="east\ntcp://192.0.2.1:1\n192.0.2.1:8766\n")
    assert result.exit_code == 0, result.output
    assert "It takes udp:// alone" in result.output and "bootstrap" not in result.stdout
    config = load_config(tmp_path / "gateway.toml")
    assert config.dht == DhtConfig((DHT,), (Udp("192.0.2.1", 8766),), True, ("east",))
    # Scripts are not asked, and are told what is missing.
    result = run("init", "g.toml", "--yes", "--mesh", "west", "--relay", "r", "--peer", "east")
    assert "put a first node of the DHT into bootstrap" in result.output
    assert "put the address at which others reach this one into announce" in result.output


def test_scripts_are_asked_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices(monkeypatch, USB)
    result = run("init", "g.toml", "--yes", "--json")
    assert json.loads(result.stdout)["relay"] == "/dev/ttyUSB0"
    config = load_config(tmp_path / "g.toml")
    assert config.meshes == (MeshConfig("mesh", (Serial("/dev/ttyUSB0"),)),) and config.dht is None
    given = run("init", "h.toml", "--mesh", "west", "--relay", "relay7", "--peer", "tcp://192.0.2.1:8765")
    assert given.exit_code == 0 and "set downlink = true in h.toml" in given.output
    assert load_config(tmp_path / "h.toml").federation.peers == (PeerConfig(Tcp("192.0.2.1", 8765)),)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--mesh", "west"], 2, "there is nobody to ask"),
        (["--yes", "--mesh", "a/b"], 2, "'a/b' is no name of a mesh"),
        (["--yes", "--relay", "tcp://h:1"], 2, "leads to no relay"),
        (["--yes", "--relay", "r", "--peer", "a/b"], 2, "'a/b' is no address"),
        (["--yes", "--relay", "r", "--peer", "192.0.2.1"], 2, "'192.0.2.1' could be an address or the name of a mesh"),
        (["--yes", "--relay", "r", "--bootstrap", "udp://h:1"], 2, "goes with the name of a mesh"),
        (["--yes"], 66, "2 relays found: /dev/ttyUSB0, relay1. Choose one with --relay"),
    ],
)
def test_what_cannot_be_written_is_told_and_no_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
) -> None:
    devices(monkeypatch, USB, VIRTUAL)
    result = run("init", *arguments)
    assert result.exit_code == code
    assert says in " ".join(re.sub("[│╭╮╰╯─]", " ", result.output).split())
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_there_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("mine")
    for command in (["init", "--yes", "--relay", "r"], ["fleet-key", "gateway.toml"]):
        result = run(*command)
        assert result.exit_code == 65 and "exists already, and is left as it is" in result.output
    assert (tmp_path / "gateway.toml").read_text() == "mine"


def test_what_init_writes_passes_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def opened(port: str) -> None:
        assert port == "relay1"

    monkeypatch.setattr("bitrelay.gateway.check._why_not_opened", opened)
    monkeypatch.setattr("bitrelay.gateway.check._why_not_bound", lambda address: None)
    assert run("init", "--mesh", "west", "--relay", "relay1", "--peer", "none").exit_code == 0
    result = run("check", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["ok"]) == (0, True)
    assert {finding["kind"] for finding in told["findings"]} == {"note"}
    assert "gateway.toml is in order." in run("check").output


def test_check_tells_all_and_ends_with_the_code_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text('name = "n"\n[[mesh]]\nname = 3\nrelays = []\n')
    result = run("check", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["exit_code"], told["ok"]) == (65, 65, False)
    assert told["error"] == "2 things to mend in gateway.toml"
    assert [finding["line"] for finding in told["findings"]] == [3, 4]
    assert "gateway.toml:4: relays in [[mesh]]: 0 of them" in run("check").output


def test_a_fleet_key_is_private_and_new_each_time(tmp_path: Path) -> None:
    assert run("fleet-key", "a").exit_code == run("fleet-key", "b").exit_code == 0
    first, second = (tmp_path / "a").read_text(), (tmp_path / "b").read_text()
    assert re.fullmatch("[0-9a-f]{64}\n", first) and first != second
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
